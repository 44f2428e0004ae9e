"""Figures of each run on its task's test rows, and of a student compared with its supervisor.

Owns the computation of a table of figures from stored predictions, one row per run: the rows that a
run is measured on, and the supervisor that it is compared with. Computed rows are cached in the
store, since a run never changes. `report.measures` and `report.pair_measures` define the figures.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from dataclasses import asdict
from functools import partial
from itertools import groupby
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from w2s_ray.report.statistics.eval_sets import (
    READERS,
    EvalPredictions,
    EvalSet,
    NoClasses,
    eval_set,
    predictions_of,
    probabilities,
)
from w2s_ray.store import Record, Store, StoreError
from w2s_ray.store.damage import none_if_damaged
from w2s_ray.store.tables import from_rows, nullable_field

if TYPE_CHECKING:
    from w2s_ray.report.measures import Agreement

_log = logging.getLogger(__name__)

BATCH_FITS = 256
"""Fits whose predictions are in memory together."""
_TABLE = "scores-4"
"""Name of the cached table; change its number when the definition of a figure changes."""


_TEXT, _REAL, _WHOLE = pa.string(), pa.float64(), pa.int64()

SCORES = pa.schema(
    [
        nullable_field("run_id", _TEXT, "the fit"),
        nullable_field("task", _TEXT, "the task whose test rows these are"),
        nullable_field("model", _TEXT, "the trained model"),
        nullable_field("method", _TEXT, "how a student was trained; null for other fits"),
        nullable_field("seed", _WHOLE, "the fit's seed"),
        nullable_field(
            "supervisor", _TEXT, "id of the run whose labels it was trained on; null: ground truth"
        ),
        nullable_field("n", _WHOLE, "number of test examples"),
        nullable_field(
            "accuracy", _REAL, "share of examples with the correct class or answer predicted"
        ),
        nullable_field(
            "auc",
            _REAL,
            "area under the ROC curve, of several classes the mean over pairs of them (Hand and "
            "Till 2001); null if all examples have one class, and for answers",
        ),
        nullable_field(
            "log_loss", _REAL, "mean cross-entropy with the labels, in nats; null for answers"
        ),
        nullable_field(
            "ece",
            _REAL,
            "expected calibration error of the predicted class's probability, in 15 bins of equal "
            "width over 0 to 1 (Guo et al. 2017); null for answers",
        ),
        nullable_field(
            "agreement",
            _REAL,
            "share of examples on which its prediction is its supervisor's",
        ),
        nullable_field(
            "agreement_where_right",
            _REAL,
            "agreement on the examples on which the supervisor is right",
        ),
        nullable_field(
            "agreement_where_wrong",
            _REAL,
            "agreement on the examples on which the supervisor is wrong",
        ),
        nullable_field(
            "capa",
            _REAL,
            "chance-adjusted probabilistic agreement with its supervisor: 1 = equal and certain, "
            "0 = as independent models of these accuracies (Goel et al. 2025); null for answers",
        ),
        nullable_field(
            "error_correlation", _REAL, "correlation of its errors with its supervisor's (phi)"
        ),
        nullable_field(
            "misfit",
            _REAL,
            "mean squared difference of its and its supervisor's probabilities (half the sum over "
            "the classes), the gain that theory predicts (Charikar et al. 2024); null for answers",
        ),
        nullable_field(
            "misfit_gain", _REAL, "realized gain: the supervisor's Brier score minus its own"
        ),
        nullable_field(
            "misfit_nats",
            _REAL,
            "the same with the divergence of cross-entropy: mean KL(student || supervisor) in nats "
            "(Mulgund and Pabbaraju 2025)",
        ),
        nullable_field(
            "misfit_nats_gain", _REAL, "realized gain: the supervisor's log loss minus its own"
        ),
        nullable_field(
            "uncertain",
            _REAL,
            "share of examples on which its supervisor gives no class more than 0.75",
        ),
        nullable_field(
            "blind_spots",
            _REAL,
            "share of examples on which, besides, it is wrong with more than 0.75 (Osooli et al. "
            "2026)",
        ),
    ]
)
"""`scores`: one row per done fit. The calibration error is of the predicted class's confidence
(Guo et al. 2017, arXiv 1706.04599); agreement is of classes or completions, not of probabilities,
and null without a supervisor or without an example to count. Completions have no classes, so
figures of their probabilities are null."""

RELIABILITY = pa.schema(
    [
        nullable_field("low", _REAL, "lower bound of the confidence, exclusive"),
        nullable_field("high", _REAL, "upper bound of the confidence, inclusive"),
        nullable_field("count", _WHOLE, "number of test examples in the bin"),
        nullable_field(
            "confidence", _REAL, "mean probability of the predicted class; null if empty"
        ),
        nullable_field("accuracy", _REAL, "share of correct predictions; null if empty"),
    ]
)
"""One run's bins of similar confidence, in order."""


def scores(store: Store, *, sweep: str | None = None) -> pa.Table:
    """The table `SCORES` of a sweep's supervisors, ceilings and students, or of every fit.

    A fit without predictions for each test row of its split has no row.

    Raises:
        StoreError: no store, or no such sweep.
    """
    store.check_readable()
    ids = store.all_done() if sweep is None else store.done(_ids(store, sweep))
    table = _read_cache(store)
    new = list(_compute(store, ids - set(table["run_id"].to_pylist())))
    if new:
        table = pa.concat_tables([table, from_rows(new, SCORES)]).sort_by("run_id")
        _write_cache(store, table)
    if ids >= set(table["run_id"].to_pylist()):
        return table
    return from_rows((row for row in table.to_pylist() if row["run_id"] in ids), SCORES)


def reliability(store: Store, run_id: str) -> pa.Table:
    """The table `RELIABILITY` of one run's confidence and accuracy on test rows.

    Raises:
        StoreError: no such run, or it has no predictions for its split's test rows.
    """
    from w2s_ray.report import measures

    record = store.record(run_id)
    test = eval_set(store, str(record.recipe.get("split")))
    found = probabilities(store, test, record)
    if isinstance(found, NoClasses):
        raise StoreError(f"{found}; name another run")
    if isinstance(found, str):
        raise StoreError(f"{found}; delete its folder in {store.uri} to train it again")
    bins = measures.reliability(found, labels_N=test.classes_N)
    return from_rows(map(asdict, bins), RELIABILITY)


def _read_cache(store: Store) -> pa.Table:
    table = store.cache.read(_TABLE)
    if table is not None and table.schema.equals(SCORES):
        return table
    return pa.Table.from_batches([], schema=SCORES)


def _write_cache(store: Store, table: pa.Table) -> None:
    """Write the rows to the store, if it is writable."""
    try:
        store.cache.write(_TABLE, table)
    except (OSError, StoreError) as error:
        _log.debug("scores are not cached: %s", error)


def _ids(store: Store, sweep: str) -> set[str]:
    return {run for cell in store.manifests.latest(sweep).cells for run in cell.runs}


def _compute(store: Store, ids: Iterable[str]) -> Iterator[Mapping[str, Any]]:
    """A row of `SCORES` for each of `ids` that can be scored.

    Fits are sorted by split and supervisor, so that a split is read once and a supervisor rarely
    twice; several files are read concurrently.
    """
    fits = [record for record in store.records(ids) if record.kind == "fit"]
    fits.sort(key=lambda fit: (str(fit.recipe.get("split")), fit.labels or ""))
    known = set(store.splits.fingerprints()) if fits else set()
    with ThreadPoolExecutor(READERS) as readers:
        for split, of_split in groupby(fits, key=lambda fit: str(fit.recipe.get("split"))):
            test = none_if_damaged(partial(eval_set, store, split)) if split in known else None
            if test is not None:
                for batch in _batches(list(of_split)):
                    yield from _score(store, test, batch, readers)


def _score(
    store: Store, test: EvalSet, fits: Sequence[Record], readers: Executor
) -> Iterator[Mapping[str, Any]]:
    """A row for each fit with a prediction for every row of `test`."""
    records = {fit.id: fit for fit in fits}
    weak = {supervisor for fit in fits for supervisor in fit.labelled_by} - records.keys()
    records |= {record.id: record for record in store.records(weak)}
    found = predictions_of(store, test, records.values(), readers)
    for fit in fits:
        own, weak = found[fit.id], [found.get(id_, "missing") for id_ in fit.labelled_by]
        if not isinstance(own, str):
            yield _row(fit, own, weak=_mean(weak, test.classes), test=test)


def _mean(
    supervisors: Sequence[EvalPredictions | str], classes: tuple[str, ...]
) -> EvalPredictions | None:
    """The mean predictions of supervisors; None if there are none, or one can't be read."""
    import numpy as np

    known = [each for each in supervisors if not isinstance(each, str)]
    if not known or len(known) < len(supervisors):
        return None
    mean_N = np.mean([each.probabilities_N for each in known], axis=0)
    each_NC = [each.distribution_NC for each in known if each.distribution_NC is not None]
    if len(each_NC) < len(known):
        return EvalPredictions(mean_N, known[0].answers)
    mean_NC = np.mean(each_NC, axis=0)
    answers = tuple(classes[i] for i in mean_NC.argmax(axis=1))
    return EvalPredictions(mean_NC.max(axis=1), answers, mean_NC)


def _batches(fits: Sequence[Record]) -> Iterator[Sequence[Record]]:
    return (fits[start : start + BATCH_FITS] for start in range(0, len(fits), BATCH_FITS))


def _row(
    fit: Record, own: EvalPredictions, *, weak: EvalPredictions | None, test: EvalSet
) -> Mapping[str, Any]:
    row = {
        **{name: fit.about.get(name) for name in ("task", "model", "method")},
        "run_id": fit.id,
        "seed": fit.recipe.get("seed"),
        "supervisor": fit.labels if fit.labelled_by else None,
        "n": len(own.probabilities_N),
        **_figures(own, test),
    }
    return row if weak is None else {**row, **_compared(own, weak, test)}


def _compared(own: EvalPredictions, weak: EvalPredictions, test: EvalSet) -> Mapping[str, Any]:
    """The columns that compare a student with its supervisor."""
    from w2s_ray.data.right import right
    from w2s_ray.report import pair_measures

    own_N, weak_N = (right(run.probabilities_N, run.answers, test.truth) for run in (own, weak))
    agreement = _agreement(own, weak, test)
    found = {
        "agreement": agreement.overall,
        "agreement_where_right": agreement.where_right,
        "agreement_where_wrong": agreement.where_wrong,
        "error_correlation": pair_measures.error_correlation(own_N, weak_N),
    }
    p_NC, q_NC = own.of_classes(test), weak.of_classes(test)
    if p_NC is None or q_NC is None:
        return found
    labels_N = test.classes_N
    misfit = pair_measures.misfit(p_NC, supervisor_NC=q_NC, labels_N=labels_N)
    spots = pair_measures.blind_spots(p_NC, supervisor_NC=q_NC, labels_N=labels_N)
    return found | {
        "capa": pair_measures.capa(p_NC, q_NC, labels_N=labels_N),
        "misfit": misfit.squared,
        "misfit_gain": misfit.squared_gain,
        "misfit_nats": misfit.nats,
        "misfit_nats_gain": misfit.nats_gain,
        "uncertain": spots.uncertain,
        "blind_spots": spots.blind,
    }


def capa_of(one: EvalPredictions, other: EvalPredictions, test: EvalSet) -> float | None:
    """The chance-adjusted agreement of two runs; None where rows have no classes."""
    from w2s_ray.report import pair_measures

    one_NC, other_NC = one.of_classes(test), other.of_classes(test)
    if one_NC is None or other_NC is None:
        return None
    return pair_measures.capa(one_NC, other_NC, labels_N=test.classes_N)


def _figures(own: EvalPredictions, test: EvalSet) -> Mapping[str, float | None]:
    from w2s_ray.data.right import right
    from w2s_ray.report import measures

    p_N = own.probabilities_N
    found: dict[str, float | None]
    found = {"accuracy": float(right(p_N, own.answers, test.truth).mean())}
    p_NC = own.of_classes(test)
    if p_NC is None:
        return found
    labels_N = test.classes_N
    if own.distribution_NC is not None:
        auc = measures.auc_of_classes(p_NC, labels_N=labels_N)
    else:  # 1 - p has fewer digits than p
        auc = measures.auc(p_N, labels_N=labels_N)
    return found | {
        "auc": auc,
        "log_loss": measures.log_loss(p_NC, labels_N=labels_N),
        "ece": measures.calibration_error(p_NC, labels_N=labels_N),
    }


def _agreement(own: EvalPredictions, weak: EvalPredictions, test: EvalSet) -> Agreement:
    from w2s_ray.data.right import alike, right
    from w2s_ray.report import measures

    labels_N = test.truth.labels_N
    if labels_N is not None:
        return measures.agreement(
            own.probabilities_N, supervisor_N=weak.probabilities_N, labels_N=labels_N
        )
    return measures.agreement_shares(
        alike(own.answers or (), weak.answers or ()),
        right_N=right(weak.probabilities_N, weak.answers, test.truth),
    )
