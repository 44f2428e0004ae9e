"""Each method's medians over tasks and pairs, with their intervals.

Owns which rows a median is over: the headline figures are over the rows that every method has, and
each method's median over its own rows stands beside them. It renders nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from statistics import median

from w2s_ray.report.common_rows import common, counted_by_method, has_pgr, is_complete
from w2s_ray.report.statistics import Bootstrap, Group, Interval, MedianIntervals, MedianOf
from w2s_ray.report.table_rows import MethodRow, Row


def medians(
    rows: Sequence[Row], groups: Sequence[Group | None], *, bootstrap: Bootstrap | None
) -> tuple[MethodRow, ...]:
    """Each method's medians: over the rows that all methods have, and over its own.

    Controls are no methods.
    """
    group_of = dict(zip(map(id, rows), groups, strict=True))
    rows = [row for row in rows if not row.control]
    counted = counted_by_method(rows)
    shared, complete = common(counted, usable=has_pgr), common(counted, usable=is_complete)
    over = [
        [shared[method], [row for row in of_method if has_pgr(row)], complete[method]]
        for method, of_method in counted.items()
    ]
    requests = [
        MedianOf(tuple(group for row in rows_of_one if (group := group_of[id(row)])))
        for each in over
        for rows_of_one in each
    ]
    found = bootstrap.medians(requests) if bootstrap else [MedianIntervals()] * len(requests)
    within = iter(zip(*[iter(found)] * 3, strict=True))
    return tuple(
        _method_row([row for row in rows if row.method == method], of_method, each, bounds)
        for (method, of_method), each, bounds in zip(counted.items(), over, within, strict=True)
    )


def _method_row(
    rows: Sequence[Row],
    counted: Sequence[Row],
    over: Sequence[Sequence[Row]],
    within: Sequence[MedianIntervals],
) -> MethodRow:
    """A method's medians; `over`: shared rows with a PGR, its own, and shared complete rows."""
    shared, own, complete = over
    in_shared, in_own, in_complete = within
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
