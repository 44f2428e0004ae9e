"""Accuracy and PGR by the student's size, one line for each supervisor (the paper's Fig. 3).

Owns these two figures: every mark is a row of the PGR table at the size of its model.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import partial
from statistics import fmean
from typing import Any

import altair as alt

from w2s_ray.report.figures import theme
from w2s_ray.report.figures.figure import (
    ROW_TOOLTIP,
    Figure,
    Rows,
    by_task,
    combinations,
    distinct,
    if_drawn,
    layer,
    panels,
    quoted,
    sentence,
)
from w2s_ray.report.figures.figure_rows import XAxis
from w2s_ray.report.figures.span import span

_TITLES = {
    "parameters": "parameters of the base model (log scale)",
    "flops": "training compute of the run in FLOPs (log scale)",
}
_LABELS = {
    "parameters": "replace(format(datum.value, '.3~s'), 'G', 'B')",
    "flops": "format(datum.value, '.3~e')",
}
_TICKS = 8
"""Most sizes that are ticks themselves; of more, the axis has round ticks."""
_ASIDE = "Marks of one size are drawn side by side."
_INTERVALS = "Vertical lines: 95 % intervals."
_CONTROLS = (
    "Grey bars: controls, means over supervisors; one of them learns few rows of ground truth."
)
_SIZE = {"width": 250, "height": 210}


def figures(rows: Rows, controls: Rows, *, models: Sequence[str], x: XAxis) -> Iterator[Figure]:
    """`accuracy` and `pgr-by-size`; rows of models of unknown size are left out.

    `pgr-by-size` has lines alone: the marks of supervisors with students of two sizes. Only
    `accuracy` has controls: their PGRs are far below 0 and would compress those of methods.
    """
    sized = [row for row in rows if row["student_x"] and row["weak_x"] and row["ceiling_x"]]

    count = combinations(sized, "task", "method")
    if sized:
        accuracy = partial(_accuracy, controls=controls, models=models, x=x)
        yield from by_task(sized, accuracy, panels=count)
        yield from by_task(sized, partial(_pgr, models=models, x=x), panels=count)


def _accuracy(rows: Rows, *, controls: Rows, models: Sequence[str], x: XAxis) -> Figure:
    marks, of_controls = _Marks(rows, models=models, x=x), list(_controls(controls, rows))
    y = alt.Scale(zero=False)
    accuracy = {"title": "accuracy on test", "scale": y, "axis": alt.Axis(format=theme.SHARE)}
    layers = [
        layer()
        .mark_rule(strokeDash=[1, 3], strokeWidth=1.5, opacity=0.7)
        .encode(
            marks.x("weak_x"),
            alt.X2("student_x:Q"),
            alt.Y("weak_accuracy:Q", **accuracy),
            marks.colour,
        ),
        marks.interval("weak_x", "weak_low", "weak_high"),
        layer()
        .mark_point(size=70, filled=False, strokeWidth=1.5, opacity=1)
        .encode(marks.x("weak_x"), alt.Y("weak_accuracy:Q", **accuracy), marks.colour, marks.shape)
        .encode(tooltip=ROW_TOOLTIP),
        layer()
        .mark_rule(
            style="ceiling", strokeWidth=1.5, opacity=marks.faint, xOffset=marks.aside_of_ceiling
        )
        .transform_filter("isValid(datum.ceiling_low) && isValid(datum.ceiling_high)")
        .encode(marks.x("ceiling_x"), alt.Y("ceiling_low:Q"), alt.Y2("ceiling_high:Q")),
        layer()
        .mark_line(style="ceiling", strokeWidth=1.5, xOffset=marks.aside_of_ceiling)
        .encode(marks.x("ceiling_x"), alt.Y("mean(ceiling_accuracy):Q", **accuracy)),
        layer()
        .mark_point(
            style="ceiling-point",
            shape="diamond",
            size=70,
            filled=True,
            opacity=1,
            xOffset=marks.aside_of_ceiling,
        )
        .encode(marks.x("ceiling_x"), alt.Y("ceiling_accuracy:Q", **accuracy))
        .encode(tooltip=ROW_TOOLTIP),
        *marks.lines("student_accuracy", "student_low", "student_high", y=accuracy),
        *(_control_lines(marks, y=accuracy) if of_controls else ()),
    ]
    shown = [*rows, *of_controls]
    return Figure(
        "accuracy",
        "Test accuracy by student size",
        sentence(
            (
                "Lines: students, one line for each supervisor.",
                "Hollow mark and dotted line: the supervisor itself, at its own size.",
                "Diamonds: ceiling, the student's model trained on ground truth.",
                if_drawn(_INTERVALS, rows, "weak_low", "student_low", "ceiling_low"),
                _ASIDE,
                _CONTROLS if of_controls else None,
            )
        ),
        _chart(layers, shown),
        shown,
    )


def _controls(controls: Rows, rows: Rows) -> Iterator[dict[str, Any]]:
    """Each control's mean over supervisors, at each student's size, for each panel in `rows`."""
    panels_of = dict.fromkeys((row["task"], row["method"]) for row in rows)
    places: dict[tuple[str, str, float], list[float]] = {}
    for row in controls:
        if row["student_accuracy"] is not None and row["ceiling_x"]:
            place = row["task"], row["method"], row["ceiling_x"]
            places.setdefault(place, []).append(row["student_accuracy"])
    for task, method in panels_of:
        for (of_task, control, size), accuracies in places.items():
            if of_task == task:
                yield {
                    "task": task,
                    "method": method,
                    "control_name": control,
                    "control_x": size,
                    "control_accuracy": fmean(accuracies),
                }


def _control_lines(marks: _Marks, *, y: dict[str, Any]) -> list[alt.Chart]:
    """A grey line for each control, and a short bar at each student's size."""
    at, height = marks.x("control_x"), alt.Y("control_accuracy:Q", **y)
    name = alt.Detail("control_name:N")
    tooltip = [
        alt.Tooltip("control_name:N", title="control"),
        alt.Tooltip("control_accuracy:Q", title="accuracy", format=".2%"),
    ]
    return [
        layer().mark_line(style="reference", strokeWidth=1, opacity=0.7).encode(at, height, name),
        layer()
        .mark_tick(style="reference", size=18, thickness=1.5, orient="horizontal")
        .encode(at, height, name, tooltip=tooltip),
    ]


def _pgr(rows: Rows, *, models: Sequence[str], x: XAxis) -> Figure | None:
    defined = joined([row for row in rows if row["pgr"] is not None], "student_x")
    if not defined:
        return None
    marks, axis = _Marks(defined, models=models, x=x), span(defined)
    y = {"title": "PGR", "scale": axis.scale, "axis": alt.Axis(format=theme.NUMBER)}
    layers = [
        *axis.references("y"),
        *marks.lines("pgr", "pgr_low", "pgr_high", y=y),
        *axis.arrows("y", marks.x("student_x"), marks.colour, xOffset=marks.aside),
    ]
    without = len(rows) - len(defined)
    left_out = f"{without} rows without a PGR, or without a line, are left out."
    return Figure(
        "pgr-by-size",
        "Performance gap recovered by student size",
        sentence(
            (
                "0: no better than the supervisor; 1 (dashed): as good as the ceiling.",
                if_drawn(_INTERVALS, rows, "pgr_low"),
                axis.caption,
                _ASIDE,
                left_out if without else None,
            )
        ),
        _chart(layers, defined),
        defined,
    )


def joined(rows: Rows, size: str) -> Rows:
    """The rows of supervisors with students of several sizes, whose marks a line joins."""
    sizes: dict[tuple[str, ...], set[float]] = {}
    for row in rows:
        sizes.setdefault(_line(row), set()).add(row[size])
    return [row for row in rows if len(sizes[_line(row)]) > 1]


def _line(row: Mapping[str, Any]) -> tuple[str, ...]:
    return row["task"], row["method"], row["weak"]


def sizes_axis(field: str, sizes: Iterable[float], *, x: XAxis) -> alt.X:
    """The axis of models' sizes, with ticks at `sizes` where they are few."""
    ticks = _apart(sizes)
    return alt.X(
        f"{field}:Q",
        title=_TITLES[x],
        scale=alt.Scale(type="log", nice=False, padding=16),
        axis=alt.Axis(
            labelExpr=_LABELS[x],
            grid=False,
            labelSeparation=8,
            labelOverlap="greedy",
            tickCount=4,
            values=ticks if len(ticks) <= _TICKS else alt.Undefined,
        ),
    )


def _apart(sizes: Iterable[float]) -> list[float]:
    """The different sizes, without those that have the label of the one before."""
    found: list[float] = []
    for size in sorted(set(sizes)):
        if not found or size > 1.02 * found[-1]:
            found.append(size)
    return found


class _Marks:
    """Marks of both figures, with one scale for supervisors."""

    def __init__(self, rows: Rows, *, models: Sequence[str], x: XAxis) -> None:
        weak = [model for model in models if model in set(distinct(rows, "weak"))]
        self.of: XAxis = x
        self.sizes = [row[f"{role}_x"] for row in rows for role in ("weak", "student", "ceiling")]
        self.colour = theme.colour("weak", weak, title="supervisor", ordered=True)
        self.shape = theme.shape("weak", weak, title="supervisor")
        is_crowded = len(weak) > 4
        self.faint = 0.4 if is_crowded else 0.8
        step, known = 2 if is_crowded else 7, ", ".join(map(quoted, weak))
        left = step * len(weak) / 2
        self.aside = alt.ExprRef(f"{step} * indexof([{known}], datum.weak) - {left}")
        self.aside_of_ceiling = left
        self.dash = theme.dash("weak", weak)

    def x(self, field: str) -> alt.X:
        return sizes_axis(field, self.sizes, x=self.of)

    def interval(self, at: str, low: str, high: str, **style: Any) -> alt.Chart:
        return (
            layer()
            .mark_rule(strokeWidth=1.5, opacity=self.faint, clip=True, **style)
            .transform_filter(f"isValid(datum.{low}) && isValid(datum.{high})")
            .encode(self.x(at), alt.Y(f"{low}:Q"), alt.Y2(f"{high}:Q"), self.colour)
        )

    def lines(self, field: str, low: str, high: str, *, y: dict[str, Any]) -> list[alt.Chart]:
        """Students: a line for each supervisor, its points, and their intervals."""
        at, height = self.x("student_x"), alt.Y(f"{field}:Q", **y)
        return [
            self.interval("student_x", low, high, xOffset=self.aside),
            layer()
            .mark_line(strokeWidth=2, xOffset=self.aside)
            .encode(at, height, self.colour, self.dash),
            layer()
            .mark_point(size=70, filled=True, opacity=1, xOffset=self.aside)
            .encode(at, height, self.colour, self.shape)
            .encode(tooltip=ROW_TOOLTIP),
        ]


def _chart(layers: Sequence[Any], rows: Rows) -> Any:
    layered = alt.layer(*layers).properties(**_SIZE)
    return panels(layered, rows=rows, row="task", column="method", **_SIZE)
