"""Methods side by side: PGR and the student's accuracy with intervals, and each method's median.

Owns these three figures; every mark is a row of the PGR table or of its table of methods.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any

import altair as alt

from w2s_ray.report.figures import theme
from w2s_ray.report.figures.figure import (
    ROW_TOOLTIP,
    Figure,
    Rows,
    by_task,
    distinct,
    if_drawn,
    layer,
    sentence,
    wrapped_panels,
)
from w2s_ray.report.figures.figure_rows import by_size
from w2s_ray.report.figures.span import span

_LINES_OF_A_PANEL = 3
"""Number of lines with the height of a panel of other figures."""
_INTERVALS = "Lines: 95 % intervals."
_CONTROLS = "A method shows something only if it is above the controls, which are last."


def figures(
    rows: Rows, controls: Rows, medians: Rows, *, models: Sequence[str], methods: Sequence[str]
) -> Iterator[Figure]:
    """`methods`, `methods-pgr` and `methods-accuracy`; only the last one has controls.

    Their PGRs are far below 0 and would compress those of methods.
    """
    reached, of_controls = (
        [row for row in some if row["student_accuracy"] is not None] for some in (rows, controls)
    )
    order = {"models": models, "methods": methods}
    if any(row["pgr"] is not None for row in rows):
        yield _overview(rows, medians, methods=methods)
    if reached:
        yield from by_task(reached, partial(_pgr, **order), panels=len(rows) // _LINES_OF_A_PANEL)
        shown = [*reached, *of_controls]
        order["methods"] = [*methods, *distinct(of_controls, "method")]
        yield from by_task(
            shown, partial(_accuracy, **order), panels=len(shown) // _LINES_OF_A_PANEL
        )


def _overview(rows: Rows, medians: Rows, *, methods: Sequence[str]) -> Figure:
    """A line for each method: its median, and its rows."""
    shown = [{**row, "is_median": False} for row in rows if row["pgr"] is not None]
    shown += [
        {**row, "is_median": True, "pgr": row["median_pgr"]}
        for row in medians
        if row["median_pgr"] is not None
    ]
    y = alt.Y("method:N", sort=list(methods), title=None, axis=alt.Axis(labelExpr=theme.WRAPPED))
    axis = span(shown, bounds=("median_low", "median_high"))
    x = _x("pgr", title="PGR", format=theme.NUMBER, scale=axis.scale)
    colour = theme.colour("method", methods, title="method").legend(None)
    median = "datum.is_median"
    layers = [
        *axis.references("x"),
        layer()
        .mark_tick(thickness=1.5, opacity=0.45)
        .transform_filter(f"!{median}")
        .encode(x, y, colour, tooltip=ROW_TOOLTIP),
        _interval("median_low", "median_high").encode(y, colour),
        *axis.arrows("x", y, colour),
        layer()
        .mark_point(filled=True, size=110, opacity=1)
        .transform_filter(median)
        .encode(
            x,
            y,
            colour,
            theme.shape("method", methods, title="method").legend(None),
            tooltip=[
                alt.Tooltip("method:N"),
                alt.Tooltip("median_pgr:Q", title="median PGR", format=".3f"),
                alt.Tooltip("median_low:Q", title="from", format=".3f"),
                alt.Tooltip("median_high:Q", title="to", format=".3f"),
                alt.Tooltip("cells:Q", title="rows"),
                alt.Tooltip("undefined:Q", title="rows without a gap"),
                alt.Tooltip("left_out:Q", title="rows left out"),
                alt.Tooltip("objective:N"),
            ],
        ),
    ]
    chart = alt.layer(*layers).properties(width=520, height=alt.Step(46))
    return Figure(
        "methods",
        "PGR by method, over tasks and pairs",
        sentence(
            (
                "Ticks: tasks and pairs. Marks: their median.",
                if_drawn(_INTERVALS, shown, "median_low"),
                axis.caption,
                _REFERENCES,
            )
        ),
        chart,
        shown,
    )


_REFERENCES = "0: no better than the supervisor; 1 (dashed): as good as the ceiling."


def _pgr(rows: Rows, *, models: Sequence[str], methods: Sequence[str]) -> Figure | None:
    defined = [row for row in rows if row["pgr"] is not None]
    if not defined:
        return None
    axis, without = span(defined), len(rows) - len(defined)
    x = _x("pgr", title="PGR", format=theme.NUMBER, scale=axis.scale)
    colour = theme.colour("method", methods, title="method")
    lines = [
        *_dots(x, "pgr_low", "pgr_high", methods=methods),
        *axis.arrows("x", colour, _offset(methods)),
    ]
    left_out = f"{without} rows without a PGR are left out." if without else None
    return Figure(
        "methods-pgr",
        "PGR of each pair by method",
        sentence((_REFERENCES, if_drawn(_INTERVALS, rows, "pgr_low"), axis.caption, left_out)),
        _chart(lines, defined, models=models, methods=methods, across=axis.references("x")),
        defined,
    )


def _accuracy(rows: Rows, *, models: Sequence[str], methods: Sequence[str]) -> Figure:
    title = "student's accuracy on test"
    ends = [
        layer()
        .mark_tick(style=style, thickness=2.5, size=12, opacity=1)
        .encode(_x(f"{role}_accuracy", title=title, format=theme.SHARE), _offset(methods))
        .encode(tooltip=ROW_TOOLTIP)
        for role, style in (("weak", "reference"), ("ceiling", "ceiling"))
    ]
    x = _x("student_accuracy", title=title, format=theme.SHARE)
    dots = _dots(x, "student_low", "student_high", methods=methods)
    return Figure(
        "methods-accuracy",
        "Student's accuracy of each pair by method",
        sentence(
            (
                "Short vertical bars: the supervisor (paler) and the ceiling (darker).",
                if_drawn(_INTERVALS, rows, "student_low"),
                _CONTROLS if any(row["control"] for row in rows) else None,
            )
        ),
        _chart([*ends, *dots], rows, models=models, methods=methods),
        rows,
    )


def _dots(x: alt.X, low: str, high: str, *, methods: Sequence[str]) -> list[alt.Chart]:
    """A dot and its interval for each method, one below the other."""
    offset = _offset(methods)
    colour = theme.colour("method", methods, title="method")
    shape = theme.shape("method", methods, title="method")
    return [
        _interval(low, high).encode(colour, offset),
        layer()
        .mark_point(filled=True, size=60, opacity=1)
        .encode(x, offset, colour, shape, tooltip=ROW_TOOLTIP),
    ]


def _offset(methods: Sequence[str]) -> alt.YOffset:
    domain = list(methods)
    return alt.YOffset("method:N", sort=domain, scale=alt.Scale(domain=domain, paddingOuter=0.3))


def _interval(low: str, high: str) -> alt.Chart:
    return (
        layer()
        .mark_rule(strokeWidth=1.8, clip=True)
        .transform_filter(f"isValid(datum.{low}) && isValid(datum.{high})")
        .encode(alt.X(f"{low}:Q"), alt.X2(f"{high}:Q"))
    )


def _x(field: str, *, title: str, format: str, scale: alt.Scale | None = None) -> alt.X:
    scale, axis = scale or alt.Scale(zero=False), alt.Axis(format=format, tickCount=5)
    return alt.X(f"{field}:Q", title=title, scale=scale, axis=axis)


def _y(pairs: Sequence[str]) -> alt.Y:
    axis = alt.Axis(labelExpr=theme.WRAPPED, grid=False, ticks=False)
    scale = alt.Scale(paddingInner=0.15, paddingOuter=0.1)
    return alt.Y("pair:N", sort=list(pairs), title=None, axis=axis, scale=scale)


def _chart(
    lines: Sequence[alt.Chart],
    rows: Rows,
    *,
    models: Sequence[str],
    methods: Sequence[str],
    across: Sequence[alt.Chart] = (),
) -> Any:
    """A panel for each task, a line for each pair and method; `across` spans all lines."""
    y = _y(by_size(rows, models))
    step = alt.Step(16 if len(methods) > 1 else 24, **{"for": "offset"})
    # Lines first: Vega-Lite reads the height of a line from the first layer.
    layers = (*(each.encode(y=y) for each in lines), *across)
    sized = alt.layer(*layers).properties(width=300, height=step)
    return wrapped_panels(sized, rows=rows, by="task", columns=3)
