"""Each method's medians over tasks and pairs, with their intervals.

Owns which rows a median is over: the headline figures are over the rows that every method has, and
each method's median over its own rows stands beside them. Intervals are for these tasks and pairs,
or for new tasks. It renders nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from itertools import chain
from statistics import median

from w2s_ray.report.common_rows import (
    common,
    counted_by_method,
    has_pgr,
    is_complete,
    on_all_tasks,
)
from w2s_ray.report.statistics import Bootstrap, Group, Interval, MedianIntervals, MedianOf
from w2s_ray.report.statistics.new_tasks import Over, median_interval
from w2s_ray.report.table_rows import MethodRow, PgrTable, Row

Within = Callable[[Sequence[Sequence[Row]]], Sequence[MedianIntervals]]
"""Rows of each median -> the intervals of these medians."""


def medians(
    rows: Sequence[Row], groups: Sequence[Group | None], *, bootstrap: Bootstrap | None
) -> tuple[MethodRow, ...]:
    """Each method's medians: over the rows that all methods have, and over its own.

    Controls are no methods. `groups`: the runs of each row.
    """
    group_of = dict(zip(map(id, rows), groups, strict=True))

    def within(of_medians: Sequence[Sequence[Row]]) -> Sequence[MedianIntervals]:
        if bootstrap is None:
            return [MedianIntervals()] * len(of_medians)
        return bootstrap.medians(
            [
                MedianOf(tuple(group for row in rows if (group := group_of[id(row)])))
                for rows in of_medians
            ]
        )

    return _medians(rows, within)


def medians_over_tasks(table: PgrTable) -> PgrTable:
    """The table with intervals of medians for new tasks: whole tasks are resampled.

    The median of one task has none.
    """
    sweeps = dict.fromkeys(row.sweep for row in table.rows)
    of_sweeps = (
        _medians([row for row in table.rows if row.sweep == sweep], _over_tasks, over="tasks")
        for sweep in sweeps
    )
    return replace(table, by_method=tuple(chain.from_iterable(of_sweeps)))


def _over_tasks(of_medians: Sequence[Sequence[Row]]) -> Sequence[MedianIntervals]:
    def one(rows: Sequence[Row], figure: str) -> Interval | None:
        known = [(value, row.task) for row in rows if (value := getattr(row, figure)) is not None]
        return median_interval(*map(list, zip(*known, strict=True))) if known else None

    figures = ("student_accuracy", "gain", "pgr")
    return [MedianIntervals(*(one(rows, figure) for figure in figures)) for rows in of_medians]


def _medians(
    rows: Sequence[Row], within: Within, *, over: Over | None = None
) -> tuple[MethodRow, ...]:
    rows = [row for row in rows if not row.control]
    counted = counted_by_method(rows)
    methods = on_all_tasks(rows)
    shared = common(counted, usable=has_pgr, methods=methods)
    complete = common(counted, usable=is_complete, methods=methods)
    of_medians = [
        [shared[method], [row for row in of_method if has_pgr(row)], complete[method]]
        for method, of_method in counted.items()
    ]
    found = iter(zip(*[iter(within([*chain.from_iterable(of_medians)]))] * 3, strict=True))
    return tuple(
        _method_row([r for r in rows if r.method == method], of_method, each, bounds, over=over)
        for (method, of_method), each, bounds in zip(
            counted.items(), of_medians, found, strict=True
        )
    )


def _method_row(
    rows: Sequence[Row],
    counted: Sequence[Row],
    of_medians: Sequence[Sequence[Row]],
    within: Sequence[MedianIntervals],
    *,
    over: Over | None,
) -> MethodRow:
    """A method's medians, of the shared rows with a PGR, its own, and shared complete rows."""
    shared, own, complete = of_medians
    in_shared, in_own, in_complete = within
    of_rows = "seeds and examples" if any(row.seeds > 1 for row in counted) else "examples"
    return MethodRow(
        sweep=rows[0].sweep,
        method=rows[0].method,
        objective=counted[0].objective,
        **_median("median_pgr", "median", (row.pgr for row in shared), in_shared.pgr),
        cells=len(shared),
        **_median("own_median_pgr", "own_median", (row.pgr for row in own), in_own.pgr),
        own_cells=len(own),
        **_median("median_gain", "median_gain", (row.gain for row in complete), in_complete.gain),
        **_median(
            "median_accuracy",
            "median_accuracy",
            (row.student_accuracy for row in complete),
            in_complete.student,
        ),
        complete_cells=len(complete),
        undefined=sum(row.pgr is None and row.seeds > 0 for row in counted),
        small_gaps=sum(row.pgr_caution is not None for row in counted),
        missing=sum(row.seeds == 0 for row in counted),
        left_out=len(rows) - len(counted),
        intervals_over=(over or of_rows) if any(map(any, within)) else None,
    )


def _median(
    name: str, bounds: str, values: Iterable[float | None], within: Interval | None
) -> dict[str, float | None]:
    """The columns of a median and of its interval."""
    known = [value for value in values if value is not None]
    return {
        name: median(known) if known else None,
        f"{bounds}_low": within.low if within else None,
        f"{bounds}_high": within.high if within else None,
    }
