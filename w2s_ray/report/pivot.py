"""The PGR table as grids: a row per weak model, a column per strong one, for each task and method.

Owns the place of each PGR in a grid, and the median over tasks of each pair, as in the paper's
figures. A median is over the tasks that every method has at that pair, and leaves out rows that
aren't honest if there are others, as the table does. It renders nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import product
from statistics import median

from w2s_ray.report.common_rows import (
    common,
    counted_by_method,
    has_pgr,
    is_complete,
    on_all_tasks,
)
from w2s_ray.report.objectives import LEFT_OUT, RowObjective
from w2s_ray.report.row_groups import group_of
from w2s_ray.report.statistics import Bootstrap, MedianIntervals, MedianOf
from w2s_ray.report.table_rows import PgrTable, Row, SeedRow
from w2s_ray.store import Store


@dataclass(frozen=True)
class Entry:
    """One pair of a grid."""

    weak: str
    strong: str
    objective: RowObjective
    pgr: float | None
    pgr_low: float | None
    """Lower bound of the 95 % interval, or None. The interval of a median is for these tasks."""
    pgr_high: float | None
    pgr_caution: str | None
    """Why the PGR says little."""
    pgr_estimate: float | None
    """A point estimate where few seeds leave no PGR."""
    is_of_one_seed: bool
    """Whether the intervals are about the runs of one seed alone."""
    gain: float | None
    """Student minus supervisor."""
    gain_low: float | None
    gain_high: float | None
    student_accuracy: float | None
    student_low: float | None
    student_high: float | None
    reason: str | None
    """Why there is no PGR, or which tasks a median leaves out."""
    tasks: int
    """Number of tasks in the PGR."""
    complete_tasks: int
    """Number of tasks in gain and accuracy."""


@dataclass(frozen=True)
class Grid:
    """The PGR of one method for each pair."""

    sweep: str
    task: str | None
    """None: medians over tasks."""
    method: str
    weak: tuple[str, ...]
    """The grid's rows, weakest first."""
    strong: tuple[str, ...]
    """The grid's columns, weakest first."""
    entries: tuple[Entry, ...]
    """The sweep's pairs; some places of the grid may have none."""

    def at(self, weak: str, strong: str) -> Entry | None:
        """The entry of a pair; None if the sweep doesn't have the pair."""
        return next((e for e in self.entries if (e.weak, e.strong) == (weak, strong)), None)


def pivot(
    table: PgrTable,
    *,
    store: Store | None = None,
    models: Mapping[str, Sequence[str]] | None = None,
) -> tuple[Grid, ...]:
    """The grids of each sweep: every task and method, then medians if there are several tasks.

    Controls have no grids.

    Args:
        table: the PGR table.
        store: its store; medians have intervals if it is given.
        models: sweep -> its models in the order of rows and columns, weakest first; other models
            follow in the order of the table.
    """
    order = models or {}
    found: dict[tuple[str, str | None, str], list[Entry]] = {}
    table = replace(table, rows=tuple(row for row in table.rows if not row.control))
    for row in table.rows:
        found.setdefault((row.sweep, row.task, row.method), []).append(_entry(row))
    medians = list(_medians(table))
    for one, within in zip(medians, _bounds(medians, table, store), strict=True):
        place = (one.first.sweep, None, one.first.method)
        found.setdefault(place, []).append(one.entry(*within))
    sweeps, tasks, methods = (
        dict.fromkeys(getattr(row, name) for row in table.rows)
        for name in ("sweep", "task", "method")
    )
    return tuple(
        _grid(*place, found[place], order.get(place[0], ()))
        for place in product(sweeps, (*tasks, None), methods)
        if place in found
    )


@dataclass(frozen=True)
class _Median:
    """The rows of one pair and method, one per task, and those that its medians are over."""

    rows: Sequence[Row]
    counted: Sequence[Row]
    with_pgr: Sequence[Row]
    """Counted rows with a PGR, on the tasks on which every method of the pair has one."""
    complete: Sequence[Row]
    """Counted rows on the tasks on which every method of the pair is complete."""
    tasks: int
    """Tasks of the pair; a method that is used on fewer has no median."""

    @property
    def first(self) -> Row:
        return self.rows[0]

    def entry(self, of_pgr: MedianIntervals, of_complete: MedianIntervals) -> Entry:
        own = [row for row in self.counted if has_pgr(row)]
        left_out = {
            "without a PGR": len(self.counted) - len(own),
            "without a PGR in another method": len(own) - len(self.with_pgr),
            LEFT_OUT: len(self.rows) - len(self.counted),
        }
        if len(self.rows) < self.tasks:
            left_out = {"without this method": self.tasks - len(self.rows)}
        reasons = "; ".join(f"{count} {why}" for why, count in left_out.items() if count)
        return Entry(
            weak=self.first.weak,
            strong=self.first.strong,
            objective=self.counted[0].objective,
            pgr=_median(row.pgr for row in self.with_pgr),
            pgr_low=of_pgr.pgr.low if of_pgr.pgr else None,
            pgr_high=of_pgr.pgr.high if of_pgr.pgr else None,
            pgr_caution=None,
            pgr_estimate=None,
            is_of_one_seed=False,
            gain=_median(row.gain for row in self.complete),
            gain_low=of_complete.gain.low if of_complete.gain else None,
            gain_high=of_complete.gain.high if of_complete.gain else None,
            student_accuracy=_median(row.student_accuracy for row in self.complete),
            student_low=of_complete.student.low if of_complete.student else None,
            student_high=of_complete.student.high if of_complete.student else None,
            reason=f"of {self.tasks} tasks {reasons}" if reasons else None,
            tasks=len(self.with_pgr),
            complete_tasks=len(self.complete),
        )


def _median(values: Iterable[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return median(known) if known else None


def _medians(table: PgrTable) -> Iterator[_Median]:
    """The medians of every sweep with several tasks, pair by pair."""
    by_pair: dict[tuple[str, str, str], list[Row]] = {}
    tasks: dict[str, set[str]] = {}
    for row in table.rows:
        by_pair.setdefault((row.sweep, row.weak, row.strong), []).append(row)
        tasks.setdefault(row.sweep, set()).add(row.task)
    for (sweep, *_), rows in by_pair.items():
        if len(tasks[sweep]) > 1:
            counted = counted_by_method(rows)
            methods = on_all_tasks(rows)
            with_pgr = common(counted, usable=has_pgr, methods=methods)
            complete = common(counted, usable=is_complete, methods=methods)
            for name, of_method in counted.items():
                every = [row for row in rows if row.method == name]
                of_pair = len({row.task for row in rows})
                yield _Median(every, of_method, with_pgr[name], complete[name], of_pair)


def _bounds(
    medians: Sequence[_Median], table: PgrTable, store: Store | None
) -> Sequence[tuple[MedianIntervals, MedianIntervals]]:
    """The intervals of each median: of its rows with a PGR, and of its complete ones."""
    if store is None or not medians:
        return [(MedianIntervals(), MedianIntervals())] * len(medians)
    seeds: dict[tuple[str, ...], list[SeedRow]] = {}
    for seed in table.by_seed:
        if seed.is_complete:
            seeds.setdefault(_place(seed), []).append(seed)
    requests = [
        MedianOf(tuple(group_of(seeds[_place(row)]) for row in over))
        for one in medians
        for over in (one.with_pgr, one.complete)
    ]
    runs = {run for one in requests for group in one.groups for run in group.runs}
    records = {record.id: record for record in store.latest(runs)}
    found = Bootstrap(store, records).medians(requests)
    return list(zip(found[::2], found[1::2], strict=True))


def _place(row: Row | SeedRow) -> tuple[str, ...]:
    return row.sweep, row.task, row.weak, row.strong, row.method


def _grid(
    sweep: str, task: str | None, method: str, entries: Sequence[Entry], models: Sequence[str]
) -> Grid:
    return Grid(
        sweep=sweep,
        task=task,
        method=method,
        weak=_ordered((entry.weak for entry in entries), models),
        strong=_ordered((entry.strong for entry in entries), models),
        entries=tuple(entries),
    )


def _ordered(names: Iterable[str], models: Sequence[str]) -> tuple[str, ...]:
    """Each name once: first the names in `models` in its order, then the others in theirs."""
    rank = {name: place for place, name in enumerate(models)}
    return tuple(sorted(dict.fromkeys(names), key=lambda name: rank.get(name, len(rank))))


def _entry(row: Row) -> Entry:
    return Entry(
        weak=row.weak,
        strong=row.strong,
        objective=row.objective,
        pgr=row.pgr,
        pgr_low=row.pgr_low,
        pgr_high=row.pgr_high,
        pgr_caution=row.pgr_caution,
        pgr_estimate=row.pgr_estimate,
        is_of_one_seed=row.is_of_one_seed,
        gain=row.gain,
        gain_low=row.gain_low,
        gain_high=row.gain_high,
        student_accuracy=row.student_accuracy,
        student_low=row.student_low,
        student_high=row.student_high,
        reason=row.reason,
        tasks=int(has_pgr(row)),
        complete_tasks=int(is_complete(row)),
    )
