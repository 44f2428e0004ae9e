"""How good each run is on its task's test rows, and how far a student follows its supervisor.

Owns the way from stored predictions to a table of figures, one row per run: which rows a run is
measured on, and against which supervisor. What is computed once is kept in the store, for a run
never changes. What the figures mean is said in `report.measures`.
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
    EvalSet,
    Told,
    eval_set,
    predictions,
    probabilities,
)
from w2s_ray.store import Record, Store, StoreError
from w2s_ray.store.damage import unless_damaged
from w2s_ray.store.tables import from_rows, nullable_field

if TYPE_CHECKING:
    from w2s_ray.report.measures import Agreement

_log = logging.getLogger(__name__)

AT_ONCE = 256
"""Fits whose predictions are in memory together."""
_KEPT = "scores-1"
"""Where the store keeps what was computed; another number where a figure's definition changes."""


_TEXT, _REAL, _WHOLE = pa.string(), pa.float64(), pa.int64()

SCORES = pa.schema(
    [
        nullable_field("run_id", _TEXT, "the fit"),
        nullable_field("task", _TEXT, "the task whose test rows these are"),
        nullable_field("model", _TEXT, "the model that was trained"),
        nullable_field("method", _TEXT, "how a student was trained; null for other fits"),
        nullable_field("seed", _WHOLE, "the fit's seed"),
        nullable_field(
            "supervisor", _TEXT, "id of the run whose labels it learned; null: ground truth"
        ),
        nullable_field("n", _WHOLE, "test examples"),
        nullable_field(
            "accuracy", _REAL, "share of examples predicted right: the class, or the answer"
        ),
        nullable_field(
            "auc", _REAL, "area under the ROC curve; null where all are of one class, or none"
        ),
        nullable_field(
            "log_loss", _REAL, "mean cross-entropy with the labels, in nats; null of answers"
        ),
        nullable_field(
            "ece",
            _REAL,
            "expected calibration error of the predicted class's probability, in 15 bins of equal "
            "width over 0 to 1 (Guo et al. 2017); null of answers",
        ),
        nullable_field(
            "agreement", _REAL, "share of examples on which it predicts its supervisor's"
        ),
        nullable_field(
            "agreement_where_right", _REAL, "the same of those that the supervisor gets right"
        ),
        nullable_field(
            "agreement_where_wrong", _REAL, "the same of those that the supervisor gets wrong"
        ),
    ]
)
"""`scores`: one row per done fit. The calibration error is that of the predicted class's confidence
(Guo et al. 2017, arXiv 1706.04599); agreement is of classes or completions, not of probabilities,
and null without a supervisor or where no example is counted. Completions have no classes, so their
AUC, log loss and calibration are null."""

RELIABILITY = pa.schema(
    [
        nullable_field("low", _REAL, "lower bound of the confidence, itself not in the bin"),
        nullable_field("high", _REAL, "upper bound of the confidence, in the bin"),
        nullable_field("count", _WHOLE, "test examples in the bin"),
        nullable_field(
            "confidence", _REAL, "mean probability of the predicted class; null if empty"
        ),
        nullable_field("accuracy", _REAL, "share of right predictions; null if empty"),
    ]
)
"""One run's bins of like confidence, in order."""


def scores(store: Store, *, sweep: str | None = None) -> pa.Table:
    """The scores of a sweep's supervisors, ceilings and students, or of every fit: `SCORES`.

    A fit without predictions for each test row of its split has no row.

    Raises:
        StoreError: no store, or no such sweep.
    """
    store.check_readable()
    wanted = store.all_done() if sweep is None else store.done(_ids(store, sweep))
    table = _kept(store)
    new = list(_computed(store, wanted - set(table["run_id"].to_pylist())))
    if new:
        table = pa.concat_tables([table, from_rows(new, SCORES)]).sort_by("run_id")
        _keep(store, table)
    if wanted >= set(table["run_id"].to_pylist()):
        return table
    return from_rows((row for row in table.to_pylist() if row["run_id"] in wanted), SCORES)


def reliability(store: Store, run_id: str) -> pa.Table:
    """One run's confidence on test against how often it is right: `RELIABILITY`.

    Raises:
        StoreError: no such run, or it has no predictions for its split's test rows.
    """
    from w2s_ray.report import measures

    record = store.record(run_id)
    test = eval_set(store, str(record.recipe.get("split")))
    found = probabilities(store, test, record)
    if isinstance(found, str):
        raise StoreError(f"{found}; delete its folder in {store.uri} to train it again")
    assert test.truth.labels_N is not None
    bins = measures.reliability(found, labels_N=test.truth.labels_N)
    return from_rows(map(asdict, bins), RELIABILITY)


def _kept(store: Store) -> pa.Table:
    """The rows that were computed before."""
    table = store.cache.read(_KEPT)
    if table is not None and table.schema.equals(SCORES):
        return table
    return pa.Table.from_batches([], schema=SCORES)


def _keep(store: Store, table: pa.Table) -> None:
    """Put the rows into the store, if it can be written to."""
    try:
        store.cache.write(_KEPT, table)
    except (OSError, StoreError) as error:
        _log.debug("scores are not kept: %s", error)


def _ids(store: Store, sweep: str) -> set[str]:
    cells = store.manifests.latest(sweep).cells
    return {id_ for cell in cells for id_ in (cell.supervisor, cell.ceiling, cell.student) if id_}


def _computed(store: Store, ids: Iterable[str]) -> Iterator[Mapping[str, Any]]:
    """A row of `SCORES` for each of `ids` that can be scored.

    Fits of one split come together, and students of one supervisor, so that a split is read once
    and a supervisor seldom twice; several files are read at a time.
    """
    fits = [record for record in store.records(ids) if record.kind == "fit"]
    fits.sort(key=lambda fit: (str(fit.recipe.get("split")), fit.labels or ""))
    known = set(store.splits.fingerprints()) if fits else set()
    with ThreadPoolExecutor(READERS) as readers:
        for split, of_split in groupby(fits, key=lambda fit: str(fit.recipe.get("split"))):
            test = unless_damaged(partial(eval_set, store, split)) if split in known else None
            if test is not None:
                for some in _in_parts(list(of_split)):
                    yield from _scored(store, test, some, readers)


def _scored(
    store: Store, test: EvalSet, fits: Sequence[Record], readers: Executor
) -> Iterator[Mapping[str, Any]]:
    """Rows of those fits that predicted every row of `test`."""
    records = {fit.id: fit for fit in fits}
    weak = {supervisor for fit in fits for supervisor in fit.labelled_by} - records.keys()
    records |= {record.id: record for record in store.records(weak)}
    read = readers.map(lambda record: predictions(store, test, record), records.values())
    found = dict(zip(records, read, strict=True))
    for fit in fits:
        own, taught = found[fit.id], [found.get(id_, "missing") for id_ in fit.labelled_by]
        if not isinstance(own, str):
            yield _row(fit, own, weak=_mean(taught), test=test)


def _mean(taught: Sequence[Told | str]) -> Told | None:
    """What supervisors predict together; None where there are none, or one can't be read."""
    import numpy as np

    known = [each for each in taught if not isinstance(each, str)]
    if not known or len(known) < len(taught):
        return None
    return Told(np.mean([each.probabilities_N for each in known], axis=0), known[0].answers)


def _in_parts(fits: Sequence[Record]) -> Iterator[Sequence[Record]]:
    return (fits[start : start + AT_ONCE] for start in range(0, len(fits), AT_ONCE))


def _row(fit: Record, own: Told, *, weak: Told | None, test: EvalSet) -> Mapping[str, Any]:
    row = {
        **{name: fit.about.get(name) for name in ("task", "model", "method")},
        "run_id": fit.id,
        "seed": fit.recipe.get("seed"),
        "supervisor": fit.labels if fit.labelled_by else None,
        "n": len(own.probabilities_N),
        **_measured(own, test),
    }
    if weak is None:
        return row
    followed = _followed(own, weak, test)
    return {
        **row,
        "agreement": followed.overall,
        "agreement_where_right": followed.where_right,
        "agreement_where_wrong": followed.where_wrong,
    }


def _measured(own: Told, test: EvalSet) -> Mapping[str, float | None]:
    from w2s_ray.data.right import right
    from w2s_ray.report import measures

    labels_N, p_N = test.truth.labels_N, own.probabilities_N
    if labels_N is None:
        return {"accuracy": float(right(p_N, own.answers, test.truth).mean())}
    return {
        "accuracy": measures.accuracy(p_N, labels_N=labels_N),
        "auc": measures.auc(p_N, labels_N=labels_N),
        "log_loss": measures.log_loss(p_N, labels_N=labels_N),
        "ece": measures.calibration_error(p_N, labels_N=labels_N),
    }


def _followed(own: Told, weak: Told, test: EvalSet) -> Agreement:
    import numpy as np

    from w2s_ray.data.right import right
    from w2s_ray.report import measures

    labels_N = test.truth.labels_N
    if labels_N is not None:
        return measures.agreement(
            own.probabilities_N, supervisor_N=weak.probabilities_N, labels_N=labels_N
        )
    pairs = zip(own.answers or (), weak.answers or (), strict=True)
    return measures.followed(
        np.array([a == b for a, b in pairs], dtype=bool),
        right_N=right(weak.probabilities_N, weak.answers, test.truth),
    )
