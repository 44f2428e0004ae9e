"""A chart with a mark for each seed: shares of test rows, in panels by task and measure.

Owns the layout that figures of agreement and of the four cells share.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import altair as alt

from w2s_ray.report.figures import theme
from w2s_ray.report.figures.figure import Rows, layer, panels
from w2s_ray.report.figures.figure_rows import by_size

LINES_OF_A_PANEL = 3
"""Number of lines with the height of a panel of other figures."""


def seed_marks(
    rows: Rows,
    *,
    models: Sequence[str],
    methods: Sequence[str],
    title: str,
    examples: str,
    width: int = 230,
) -> Any:
    """Marks for the `value` of each seed, a line for each pair and method, joined over seeds.

    Args:
        rows: with task, pair, method, seed, measure, value, examples and runs.
        models: smallest first.
        methods: in their order.
        title: what `value` is.
        examples: what `examples` counts.
        width: of a panel.
    """
    domain = list(methods)
    offset = alt.YOffset("method:N", sort=domain, scale=alt.Scale(domain=domain, paddingOuter=0.3))
    colour = theme.colour("method", methods, title="method")
    shape = theme.shape("method", methods, title="method")
    y = alt.Y(
        "pair:N",
        sort=by_size(rows, models),
        title=None,
        axis=alt.Axis(labelExpr=theme.WRAPPED, grid=False, ticks=False),
        scale=alt.Scale(paddingInner=0.15, paddingOuter=0.1),
    )
    axis = {"scale": alt.Scale(zero=False), "axis": alt.Axis(format=theme.SHARE, tickCount=4)}
    layers = [
        layer()
        .mark_rule(strokeWidth=1.8)
        .encode(alt.X("min(value):Q", **axis), alt.X2("max(value):Q"), offset, colour),
        layer()
        .mark_point(filled=True, size=45, opacity=0.9)
        .encode(alt.X("value:Q", title=title, **axis), offset, colour, shape)
        .encode(
            tooltip=[
                *(alt.Tooltip(f"{name}:N") for name in ("task", "pair", "method", "seed")),
                alt.Tooltip("measure:N"),
                alt.Tooltip("value:Q", title=title, format=".2%"),
                alt.Tooltip("examples:Q", title=examples),
                alt.Tooltip("runs:N", title="run"),
            ]
        ),
    ]
    line = 16 if len(methods) > 1 else 24
    height = alt.Step(line, **{"for": "offset"})
    sized = alt.layer(*layers).encode(y=y).properties(width=width, height=height)
    least = line * len(methods) * len(by_size(rows, models))
    return panels(sized, rows=rows, row="task", column="measure", width=width, height=least)
