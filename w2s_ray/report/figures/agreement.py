"""Student-supervisor agreement: overall, where the supervisor is right and where it is wrong.

Owns the figure of agreement, and of agreement by the student's size (the paper's inverse scaling:
larger students repeat fewer of their supervisors' errors). `report.measures` defines agreement.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any

import altair as alt

from w2s_ray.report.figures import theme
from w2s_ray.report.figures.by_seed import LINES_OF_A_PANEL, seed_marks
from w2s_ray.report.figures.figure import (
    Figure,
    Rows,
    by_task,
    combinations,
    distinct,
    layer,
    panels,
)
from w2s_ray.report.figures.figure_rows import FigureData, XAxis, pair
from w2s_ray.report.figures.size import joined, sizes_axis
from w2s_ray.report.scores import scores

_MEASURES = {
    "agreement": "all test rows",
    "agreement_where_right": "where the supervisor is right",
    "agreement_where_wrong": "where the supervisor is wrong",
}


def figures(data: FigureData, *, x: XAxis) -> Iterator[Figure]:
    """`agreement` and `agreement-by-size`, of students with predictions on test rows."""
    rows = agreement(data, x=x)
    if rows:
        make = partial(_agreement, models=data.models, methods=data.methods)
        count = combinations(rows, "task", "pair", "method") // LINES_OF_A_PANEL
        yield from by_task(rows, make, panels=count)
        split = [row for row in rows if row["measure"] != _MEASURES["agreement"] and row["size"]]
        split = joined(split, "size")
        if split:
            sized = partial(_by_size, models=data.models, x=x)
            count = combinations(split, "task", "measure", "method")
            yield from by_task(split, sized, panels=count)


def agreement(data: FigureData, *, x: XAxis = "parameters") -> list[dict[str, Any]]:
    """One row for each student, task and measure, with the value of `report.scores`.

    `size` is the student's base model's parameters, or the FLOPs of its training.
    """
    found = scores(data.store, sweep=data.sweep).to_pylist()
    by_run = {row["run_id"]: row for row in found}
    return [
        {
            **cell.model_dump(include={"task", "weak", "strong", "method", "seed"}),
            "pair": pair(cell.weak, cell.strong),
            "runs": cell.student,
            "measure": measure,
            "value": value,
            "examples": score["n"],
            "size": data.x_of(cell.student, cell.strong, x=x),
        }
        for cell in data.cells
        if (score := by_run.get(cell.student or "")) is not None
        for name, measure in _MEASURES.items()
        if (value := score[name]) is not None
    ]


def _agreement(rows: Rows, *, models: Sequence[str], methods: Sequence[str]) -> Figure:
    chart = seed_marks(
        rows,
        models=models,
        methods=methods,
        title="same class as the supervisor",
        examples="test rows in all",
    )
    return Figure(
        "agreement",
        "Agreement of students with their supervisors",
        "Share of test rows on which a student predicts its supervisor's class. A mark for each "
        "seed; lines span the seeds. Agreement that is lower where the supervisor is wrong than "
        "where it is right is generalization.",
        chart,
        rows,
    )


def _by_size(rows: Rows, *, models: Sequence[str], x: XAxis) -> Figure:
    weak = [model for model in models if model in set(distinct(rows, "weak"))]
    several = combinations(rows, "method") > 1
    rows = [
        {**row, "panel": f"{row['task']}: {row['method']}" if several else row["task"]}
        for row in rows
    ]
    at, y = (
        sizes_axis("size", [row["size"] for row in rows], x=x),
        {"scale": alt.Scale(zero=False), "axis": alt.Axis(format=theme.SHARE)},
    )
    height = {"title": "same class as the supervisor", **y}
    colour = theme.colour("weak", weak, title="supervisor", ordered=True)
    layers = [
        layer()
        .mark_line(strokeWidth=2)
        .encode(at, alt.Y("mean(value):Q", **height), colour, theme.dash("weak", weak)),
        layer()
        .mark_point(filled=True, size=60, opacity=0.9)
        .encode(at, alt.Y("value:Q", **height), colour)
        .encode(theme.shape("weak", weak, title="supervisor"))
        .encode(
            tooltip=[
                *(alt.Tooltip(f"{name}:N") for name in ("task", "pair", "method", "seed")),
                alt.Tooltip("measure:N"),
                alt.Tooltip("value:Q", title="agreement", format=".2%"),
                alt.Tooltip("runs:N", title="run"),
            ]
        ),
    ]
    size = {"width": 250, "height": 150}
    chart = alt.layer(*layers).properties(**size)
    return Figure(
        "agreement-by-size",
        "Agreement with the supervisor by student size",
        "Share of test rows on which a student predicts its supervisor's class, where the "
        "supervisor is right and where it is wrong; lines are means over seeds. If agreement "
        "with errors falls with size, imitation shows inverse scaling.",
        panels(chart, rows=rows, row="panel", column="measure", **size),
        rows,
    )
