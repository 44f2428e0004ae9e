"""Measures of each cell: its student, supervisor and ceiling on the same test rows.

Owns the computation of a table with one row per cell from stored predictions. The measures of three
given runs never change and are cached in the store; `report.pair_measures` defines them. Figures of
single runs, and of a student and its labels alone, are in `report.scores`.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from dataclasses import dataclass, fields
from functools import partial
from itertools import groupby
from typing import Any

import numpy as np
import pyarrow as pa

from w2s_ray.data.right import right
from w2s_ray.report import pair_measures
from w2s_ray.report.columns import column, schema_of
from w2s_ray.report.scores import capa_of
from w2s_ray.report.statistics.eval_sets import (
    READERS,
    EvalPredictions,
    EvalSet,
    eval_set,
    predictions_of,
)
from w2s_ray.report.statistics.groups import Trio
from w2s_ray.store import Cell, Record, Store, StoreError
from w2s_ray.store.damage import none_if_damaged
from w2s_ray.store.tables import from_rows

_log = logging.getLogger(__name__)

BATCH_CELLS = 256
"""Cells whose predictions are in memory together."""
_TABLE = "cell-scores-2"
"""Name of the cached table; change its number when the definition of a measure changes."""
_RUNS = Trio._fields


@dataclass(frozen=True)
class Place:
    """A cell of a sweep."""

    sweep: str = column("the sweep's name")
    task: str = column("the task's name")
    weak: str = column("the supervisor's model")
    strong: str = column("the student's and the ceiling's model")
    method: str = column("how the student is trained")
    seed: int = column("the seed of all three fits")


@dataclass(frozen=True)
class CellScores:
    """The measures of a supervisor, a student and a ceiling; null where undefined."""

    supervisor: str = column("id of the supervisor's fit")
    student: str = column("id of the student's fit")
    ceiling: str = column("id of the ceiling's fit")
    n: int = column("number of test examples")
    gain: float = column("the student's accuracy minus the supervisor's")
    outperforming_ratio: float | None = column(
        "the student's accuracy over the supervisor's (Dong et al. 2025)"
    )
    weak_ceiling_capa: float | None = column(
        "chance-adjusted probabilistic agreement of supervisor and ceiling: 1 = equal and certain, "
        "0 = as independent models of these accuracies (Goel et al. 2025); null for answers"
    )
    weak_ceiling_error_correlation: float | None = column(
        "correlation of the supervisor's and the ceiling's errors (phi)"
    )
    union_ceiling: float = column(
        "share of examples on which the ceiling or the supervisor is right (Goel et al. 2025)"
    )
    n_both_right: int = column("number of examples on which supervisor and ceiling are right")
    n_only_weak_right: int = column("number of examples on which only the supervisor is right")
    n_only_ceiling_right: int = column("number of examples on which only the ceiling is right")
    n_both_wrong: int = column("number of examples on which both are wrong")
    student_both_right: float | None = column(
        "the student's accuracy where supervisor and ceiling are right"
    )
    student_only_weak_right: float | None = column(
        "the student's accuracy where only the supervisor is right"
    )
    student_only_ceiling_right: float | None = column(
        "the student's accuracy where only the ceiling is right"
    )
    student_both_wrong: float | None = column("the student's accuracy where both are wrong")


CELL_SCORES = pa.schema([*schema_of(Place), *schema_of(CellScores)])
"""`cell_scores`: one row per cell whose three fits have predictions for all test rows."""


def cell_scores(store: Store, *, sweep: str | None = None) -> pa.Table:
    """The table `CELL_SCORES` of one sweep, or of every sweep.

    Raises:
        StoreError: no store, or no such sweep.
    """
    store.check_readable()
    names = store.manifests.sweeps() if sweep is None else [sweep]
    trios = {
        _place(name, cell): Trio(cell.supervisor, cell.student, cell.ceiling)
        for name in names
        for cell in store.manifests.latest(name).cells
        if cell.supervisor is not None and cell.student is not None and cell.ceiling is not None
    }
    found = _read_cache(store)
    computed = dict(_compute(store, set(trios.values()) - found.keys()))
    if computed:
        found |= computed
        _write_cache(store, found)
    rows = ({**vars(at), **found[trio]} for at, trio in trios.items() if trio in found)
    return from_rows(rows, CELL_SCORES)


def _place(sweep: str, cell: Cell) -> Place:
    return Place(sweep, cell.task, cell.weak, cell.strong, cell.method, cell.seed)


def _read_cache(store: Store) -> dict[Trio, Mapping[str, Any]]:
    table = store.cache.read(_TABLE)
    if table is None or not table.schema.equals(schema_of(CellScores)):
        return {}
    return {Trio(*(row[name] for name in _RUNS)): row for row in table.to_pylist()}


def _write_cache(store: Store, found: Mapping[Trio, Mapping[str, Any]]) -> None:
    """Write the rows to the store, if it is writable."""
    try:
        store.cache.write(_TABLE, from_rows(found.values(), schema_of(CellScores)))
    except (OSError, StoreError) as error:
        _log.debug("scores of cells are not cached: %s", error)


def _compute(store: Store, trios: Iterable[Trio]) -> Iterator[tuple[Trio, Mapping[str, Any]]]:
    """The measures of each trio whose runs are done and measured on the same test rows.

    Trios are sorted by split and supervisor, so that a split is read once and a run rarely twice.
    """
    trios = set(trios)
    if not trios:
        return
    done = {r.id: r for r in store.records({run for trio in trios for run in trio})}
    known = set(store.splits.fingerprints())

    def split(trio: Trio) -> str | None:
        splits = {str(done[run].recipe.get("split")) if run in done else None for run in trio}
        return splits.pop() if len(splits) == 1 else None

    by_split = sorted((of, trio) for trio in trios if (of := split(trio)) in known and of)
    with ThreadPoolExecutor(READERS) as readers:
        for of, group in groupby(by_split, key=lambda pair: pair[0]):
            test = none_if_damaged(partial(eval_set, store, of))
            of_split = [trio for _, trio in group] if test is not None else []
            for start in range(0, len(of_split), BATCH_CELLS):
                assert test is not None
                batch = of_split[start : start + BATCH_CELLS]
                yield from _measured(store, test, batch, done, readers)


def _measured(
    store: Store,
    test: EvalSet,
    trios: Sequence[Trio],
    records: Mapping[str, Record],
    readers: Executor,
) -> Iterator[tuple[Trio, Mapping[str, Any]]]:
    runs = {run for trio in trios for run in trio}
    found = predictions_of(store, test, [records[run] for run in sorted(runs)], readers)
    for trio in trios:
        weak, student, ceiling = (found[run] for run in trio)
        if not (isinstance(weak, str) or isinstance(student, str) or isinstance(ceiling, str)):
            yield trio, vars(_scores(trio, weak, student, ceiling, test=test))


def _scores(
    trio: Trio,
    weak: EvalPredictions,
    student: EvalPredictions,
    ceiling: EvalPredictions,
    *,
    test: EvalSet,
) -> CellScores:
    weak_N, student_N, ceiling_N = (
        right(run.probabilities_N, run.answers, test.truth) for run in (weak, student, ceiling)
    )
    four = pair_measures.quadrants(student_N, weak_N=weak_N, ceiling_N=ceiling_N)
    of_weak, of_student = float(np.mean(weak_N)), float(np.mean(student_N))
    names = [each.name for each in fields(four)]
    return CellScores(
        **trio._asdict(),
        n=len(student_N),
        gain=of_student - of_weak,
        outperforming_ratio=pair_measures.outperforming_ratio(of_student, weak=of_weak),
        weak_ceiling_capa=capa_of(weak, ceiling, test),
        weak_ceiling_error_correlation=pair_measures.error_correlation(weak_N, ceiling_N),
        union_ceiling=pair_measures.union_ceiling(weak_N, ceiling_N=ceiling_N),
        **{f"n_{name}": getattr(four, name).examples for name in names},
        **{f"student_{name}": getattr(four, name).accuracy for name in names},
    )
