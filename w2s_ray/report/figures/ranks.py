"""Mean ranks of the methods with intervals and Nemenyi's critical difference.

Owns this figure and the groups of methods that do not differ. `report.rank` computes the ranks.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict
from typing import Any

import altair as alt

from w2s_ray.report.figures import theme
from w2s_ray.report.figures.figure import Figure, if_drawn, layer, sentence
from w2s_ray.report.figures.figure_rows import FigureData
from w2s_ray.report.ranking import MethodRank, Ranking

_WIDTH = 460
_BETWEEN_BARS = 11


def figures(data: FigureData, rankings: Sequence[Ranking]) -> Iterator[Figure]:
    """`ranks`, if at least two methods have a row in common."""
    for ranking in rankings:
        if ranking.methods:
            yield _ranks(ranking.methods, methods=data.methods)


def groups(ranks: Sequence[MethodRank]) -> list[tuple[str, str]]:
    """The first and the last method of each largest group within the critical difference.

    `ranks` are sorted by mean rank. A group of one is none.
    """
    found: list[tuple[int, int]] = []
    for first, one in enumerate(ranks):
        within = [
            last
            for last, other in enumerate(ranks)
            if other.mean_rank - one.mean_rank < one.critical_difference
        ]
        if within[-1] > first and (not found or within[-1] > found[-1][1]):
            found.append((first, within[-1]))
    return [(ranks[first].method, ranks[last].method) for first, last in found]


def _ranks(ranks: Sequence[MethodRank], *, methods: Sequence[str]) -> Figure:
    first = ranks[0]
    rows = [asdict(one) for one in ranks]
    bars = groups(ranks)
    rows += [
        {"method": start, "mean_rank": None, "end": end, "bar": number}
        for number, (start, end) in enumerate(bars)
    ]
    order = [one.method for one in ranks]
    y = alt.Y(
        "method:N",
        sort=order,
        title=None,
        axis=alt.Axis(labelExpr=theme.WRAPPED, grid=False, ticks=False),
        scale=alt.Scale(domain=order),
    )
    scale = alt.Scale(domain=[1, first.methods], nice=False, zero=False, padding=8)
    axis = alt.Axis(format=theme.NUMBER, tickCount=6)
    x = alt.X("mean_rank:Q", title="mean rank (1 = best)", scale=scale, axis=axis)
    colour = theme.colour("method", methods, title="method").legend(None)
    layers = [
        layer()
        .mark_rule(strokeWidth=1.8)
        .transform_filter("isValid(datum.mean_rank_low)")
        .encode(
            alt.X("mean_rank_low:Q", scale=scale, axis=axis), alt.X2("mean_rank_high:Q"), y, colour
        ),
        layer()
        .mark_point(filled=True, size=90, opacity=1)
        .transform_filter("isValid(datum.mean_rank)")
        .encode(
            x,
            y,
            colour,
            theme.shape("method", methods, title="method").legend(None),
            tooltip=[
                alt.Tooltip("method:N"),
                alt.Tooltip("mean_rank:Q", title="mean rank", format=".2f"),
                alt.Tooltip("mean_rank_low:Q", title="from", format=".2f"),
                alt.Tooltip("mean_rank_high:Q", title="to", format=".2f"),
                alt.Tooltip("p_best:Q", title="probability of being best", format=".2f"),
                alt.Tooltip("best_rows:Q", title="best in rows"),
                *(alt.Tooltip(f"{name}:N") for name in ("rows", "tasks", "objective")),
            ],
        ),
        *(_bar(number, y) for number in range(len(bars))),
    ]
    chart = alt.layer(*layers).properties(width=_WIDTH, height=alt.Step(34))
    drawn = if_drawn(f"Lines: 95 % intervals over {first.intervals_over}.", rows, "mean_rank_low")
    return Figure(
        "ranks",
        "Mean ranks of methods",
        sentence(
            (
                f"By student accuracy, over {first.rows} rows (tasks and pairs) of {first.tasks} "
                f"{'task' if first.tasks == 1 else 'tasks'}.",
                drawn,
                "Vertical bars join methods whose mean ranks differ by less than the critical "
                f"difference, {first.critical_difference:.2f} (Nemenyi's test at 5 % over tasks).",
            )
        ),
        chart,
        rows,
    )


def _bar(number: int, y: alt.Y) -> Any:
    """A vertical bar right of the chart, from the first to the last method of a group."""
    return (
        layer()
        .mark_rule(style="ceiling", strokeWidth=4, strokeCap="round")
        .transform_filter(f"datum.bar === {number}")
        .encode(alt.XValue(_WIDTH + 14 + _BETWEEN_BARS * number), y, alt.Y2("end:N"))
    )
