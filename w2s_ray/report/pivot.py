"""The PGR table as grids: a row per weak model, a column per strong one, for each task and method.

Owns the place of each PGR in a grid, and the median over tasks of each pair, as in the paper's
figures. A median leaves out rows whose own ground truth chose their settings if there are others,
as the table does. It renders nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from statistics import median

from w2s_ray.report.row_groups import group_of
from w2s_ray.report.statistics import Bootstrap, Interval, MedianOf
from w2s_ray.report.table_rows import PgrTable, Row, SeedRow
from w2s_ray.store import Objective, Store


@dataclass(frozen=True)
class Entry:
    """One pair of a grid."""

    weak: str
    strong: str
    objective: Objective
    pgr: float | None
    pgr_low: float | None
    """Lower bound of the 95 % interval, or None. The interval of a median is for these tasks."""
    pgr_high: float | None
    reason: str | None
    """Why there is no PGR, or which tasks a median leaves out."""
    tasks: int
    """Number of tasks in the figure."""


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

    Args:
        table: the PGR table.
        store: its store; medians have intervals if it is given.
        models: sweep -> its models in the order of rows and columns, weakest first; other models
            follow in the order of the table.
    """
    order = models or {}
    found: dict[tuple[str, str | None, str], list[Entry]] = {}
    for row in table.rows:
        found.setdefault((row.sweep, row.task, row.method), []).append(_entry(row))
    medians = list(_medians(table))
    for one, within in zip(medians, _bounds(medians, table, store), strict=True):
        place = (one.first.sweep, None, one.first.method)
        found.setdefault(place, []).append(one.entry(within))
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
    """The rows of one pair and method, one per task."""

    rows: tuple[Row, ...]

    @property
    def first(self) -> Row:
        return self.rows[0]

    @property
    def counted(self) -> Sequence[Row]:
        """Rows whose objective is not `oracle`; all rows if there are no others."""
        return [row for row in self.rows if row.objective != "oracle"] or self.rows

    @property
    def with_pgr(self) -> Sequence[Row]:
        return [row for row in self.counted if row.pgr is not None]

    def entry(self, within: Interval | None) -> Entry:
        values = [row.pgr for row in self.counted if row.pgr is not None]
        left_out = {
            "without a PGR": len(self.counted) - len(values),
            "left out (their own ground truth was searched)": len(self.rows) - len(self.counted),
        }
        reasons = "; ".join(f"{count} {why}" for why, count in left_out.items() if count)
        return Entry(
            weak=self.first.weak,
            strong=self.first.strong,
            objective=self.counted[0].objective,
            pgr=median(values) if values else None,
            pgr_low=within.low if within else None,
            pgr_high=within.high if within else None,
            reason=f"of {len(self.rows)} tasks {reasons}" if reasons else None,
            tasks=len(values),
        )


def _medians(table: PgrTable) -> Iterator[_Median]:
    """The medians of every sweep with several tasks, method by method."""
    by_pair: dict[tuple[str, str, str, str], list[Row]] = {}
    tasks: dict[str, set[str]] = {}
    for row in table.rows:
        by_pair.setdefault((row.sweep, row.method, row.weak, row.strong), []).append(row)
        tasks.setdefault(row.sweep, set()).add(row.task)
    return (_Median(tuple(rows)) for (sweep, *_), rows in by_pair.items() if len(tasks[sweep]) > 1)


def _bounds(
    medians: Sequence[_Median], table: PgrTable, store: Store | None
) -> Sequence[Interval | None]:
    """The interval of each median; all None without a store."""
    if store is None or not medians:
        return [None] * len(medians)
    seeds: dict[tuple[str, ...], list[SeedRow]] = {}
    for seed in table.by_seed:
        if seed.is_complete:
            seeds.setdefault(_place(seed), []).append(seed)
    requests = [
        MedianOf(tuple(group_of(seeds[_place(row)]) for row in one.with_pgr)) for one in medians
    ]
    runs = {run for one in requests for group in one.groups for run in group.runs}
    return Bootstrap(store, {record.id: record for record in store.latest(runs)}).medians(requests)


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
        reason=row.reason,
        tasks=1,
    )
