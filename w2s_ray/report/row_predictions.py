"""The test rows on which supervisor, student and ceiling differ most, with their predictions.

Owns the choice of rows: of each cell and each pattern of right and wrong those with the largest
difference. `report.statistics.eval_sets` reads predictions, and `data.right` defines what is right.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from itertools import groupby, product

import numpy as np

from w2s_ray.data.right import right
from w2s_ray.report.statistics.eval_sets import (
    READERS,
    EvalPredictions,
    EvalSet,
    eval_set,
    predictions_of,
)
from w2s_ray.store import Cell, Record, Store
from w2s_ray.store.damage import none_if_damaged

ROLES = ("supervisor", "student", "ceiling")
MOST_ROWS = 2400
"""Most rows of a sweep, unless it has more cells and patterns."""
MOST_PER_PATTERN = 5
"""Most rows of a cell with one pattern."""
_PATTERNS = tuple(product((True, False), repeat=len(ROLES)))

_Place = tuple[str, str, str, str]


@dataclass(frozen=True)
class PredictedRow:
    """A test row with the predictions of a cell's three models, over the cell's seeds."""

    example_id: str
    truth: str
    """The class, or the right answer."""
    predicted: tuple[float | str, ...]
    """For each of `ROLES` the mean P(class 1), or the completion of the first seed."""
    right: tuple[bool, ...]
    """For each of `ROLES` whether the mean, or most completions, are right."""
    difference: float
    """Largest minus smallest of the three means of P(class 1), or of the shares of right seeds."""


@dataclass(frozen=True)
class CellRows:
    """The chosen rows of a task, a pair and a method."""

    task: str
    weak: str
    strong: str
    method: str
    split: str
    seeds: int
    has_classes: bool
    rows: tuple[PredictedRow, ...]
    """Those of the largest difference first."""
    counts: Mapping[tuple[bool, ...], int]
    """Pattern of right and wrong, in the order of `ROLES` -> the number of all its test rows."""


def cell_rows(store: Store, cells: Sequence[Cell]) -> list[CellRows]:
    """The rows of each task, pair and method, of the seeds whose three models have predictions.

    Controls and splits that can't be read are left out.
    """
    cells = [cell for cell in cells if not cell.control and len(cell.runs) == len(ROLES)]
    records = {record.id: record for record in store.latest({r for c in cells for r in c.runs})}
    by_split: dict[str, list[Cell]] = {}
    for cell in cells:
        split, *others = {_split(records.get(run)) for run in cell.runs}
        if split is not None and not others:
            by_split.setdefault(split, []).append(cell)
    places = {(split, _place(cell)) for split, some in by_split.items() for cell in some}
    each = max(1, min(MOST_PER_PATTERN, MOST_ROWS // (len(_PATTERNS) * max(1, len(places)))))
    known = set(store.splits.fingerprints()) if by_split else set()
    found: list[CellRows] = []
    with ThreadPoolExecutor(READERS) as readers:
        for split, some in by_split.items():
            read = partial(eval_set, store, split)
            test = none_if_damaged(read) if split in known else None
            if test is not None and len(test.ids):
                found += _of_split(store, split, test, some, records, readers, each=each)
    order = {place: i for i, place in enumerate(dict.fromkeys(map(_place, cells)))}
    return sorted(found, key=lambda one: order[one.task, one.weak, one.strong, one.method])


def _split(record: Record | None) -> str | None:
    is_done = record is not None and record.kind == "fit" and record.status == "done"
    return record.recipe.get("split") if record is not None and is_done else None


def _place(cell: Cell) -> _Place:
    return cell.task, cell.weak, cell.strong, cell.method


def _of_split(
    store: Store,
    split: str,
    test: EvalSet,
    cells: Sequence[Cell],
    records: Mapping[str, Record],
    readers: Executor,
    *,
    each: int,
) -> Iterator[CellRows]:
    runs = dict.fromkeys(run for cell in cells for run in cell.runs)
    found = predictions_of(store, test, (records[run] for run in runs), readers)
    for place, group in groupby(sorted(cells, key=_place), key=_place):
        trios = [[found[str(getattr(cell, role))] for role in ROLES] for cell in group]
        usable = [
            [one for one in trio if not isinstance(one, str)]
            for trio in trios
            if not any(isinstance(one, str) for one in trio)
        ]
        if usable:
            rows, counts = _chosen(test, usable, each=each)
            of_cell = {"seeds": len(usable), "has_classes": test.truth.labels_N is not None}
            yield CellRows(*place, split=split, rows=rows, counts=counts, **of_cell)


def _chosen(
    test: EvalSet, trios: Sequence[Sequence[EvalPredictions]], *, each: int
) -> tuple[tuple[PredictedRow, ...], dict[tuple[bool, ...], int]]:
    """The `each` rows of the largest difference for each pattern, and every pattern's count."""
    truth, labels_N = test.truth, test.truth.labels_N
    by_role = list(zip(*trios, strict=True))
    share_RN = np.array(
        [
            np.mean([right(one.probabilities_N, one.answers, truth) for one in some], axis=0)
            for some in by_role
        ]
    )
    if labels_N is None:
        measure_RN, right_RN = share_RN, share_RN > 0.5
    else:
        measure_RN = np.array([np.mean([p.probabilities_N for p in some], 0) for some in by_role])
        right_RN = (measure_RN > 0.5) == (labels_N == 1)
    difference_N = np.ptp(measure_RN, axis=0)
    places, counts = list[int](), dict[tuple[bool, ...], int]()
    for pattern in _PATTERNS:
        with_it = np.flatnonzero((right_RN == np.array(pattern)[:, None]).all(axis=0))
        counts[pattern] = len(with_it)
        places += with_it[np.argsort(-difference_N[with_it], kind="stable")[:each]].tolist()
    places.sort(key=lambda n: (-difference_N[n], n))
    ids = test.ids.take(places).to_pylist()
    return tuple(
        PredictedRow(
            example_id=id_,
            truth=str(labels_N[n]) if labels_N is not None else (truth.compared or ())[n],
            predicted=tuple(
                float(measure_RN[role, n])
                if labels_N is not None
                else (some[0].answers or ())[n] or ""
                for role, some in enumerate(by_role)
            ),
            right=tuple(map(bool, right_RN[:, n])),
            difference=float(difference_N[n]),
        )
        for id_, n in zip(ids, places, strict=True)
    ), counts


def texts_of(store: Store, split: str, ids: Iterable[str]) -> dict[str, str]:
    """The texts of rows of a split by their ids; both texts of a pair."""
    wanted = set(ids)
    rows = store.splits.rows(split).select(["example_id", "text", "second"])
    columns = (rows[name].to_pylist() for name in rows.column_names)
    return {
        id_: text if second is None else f"{text}\n\n{second}"
        for id_, text, second in zip(*columns, strict=True)
        if id_ in wanted
    }
