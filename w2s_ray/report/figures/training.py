"""Validation curves of students: with ground truth, and with the weak labels for training.

Owns the reading of these curves and two figures. If agreement with weak labels rises while accuracy
falls, a student learns its supervisor's errors.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import altair as alt

from w2s_ray.report.figures import theme
from w2s_ray.report.figures.figure import (
    Figure,
    Rows,
    by_task,
    combinations,
    layer,
    panels,
)
from w2s_ray.report.figures.figure_rows import FigureData, figure, pair

_METRICS = ("accuracy", "agreement", "loss", "log_loss")
_ORACLE = "oracle/test_accuracy"


def figures(data: FigureData) -> Iterator[Figure]:
    """`training` and `training-loss`, of the done students."""
    rows = curves(data)
    count = combinations(rows, "task", "pair", "method")
    for make, fields in ((_accuracy, ("accuracy", "agreement")), (_loss, ("log_loss", "loss"))):
        complete = [row for row in rows if all(row[name] is not None for name in fields)]
        if combinations(complete, "runs", "step") > combinations(complete, "runs"):
            yield from by_task(complete, make, panels=count)


def curves(data: FigureData) -> list[dict[str, Any]]:
    """One row for each evaluation of each student, with the store's values.

    `is_kept` marks the step of the final weights, `is_oracle` the step at which ground truth would
    have stopped.
    """
    cells = {cell.student: cell for cell in data.cells if cell.student}
    measured: dict[str, dict[int, dict[str, float]]] = {}
    for run, step, metric, value in data.metrics(sorted(cells)):
        measured.setdefault(run, {}).setdefault(step, {})[metric] = value
    rows = []
    for run, cell in cells.items():
        steps = measured.get(run, {})
        kept = figure(data.records.get(run), "best_step")
        oracle = max((step for step, found in steps.items() if _ORACLE in found), default=None)
        for step, found in sorted(steps.items()):
            values = {name: found.get(f"validation/{name}") for name in _METRICS}
            if any(value is not None for value in values.values()):
                rows.append(
                    {
                        **cell.model_dump(include={"task", "weak", "strong", "method", "seed"}),
                        "pair": pair(cell.weak, cell.strong),
                        "panel": f"{cell.task}: {pair(cell.weak, cell.strong)}",
                        "runs": run,
                        "step": step,
                        **values,
                        "is_kept": step == kept,
                        "is_oracle": step == oracle,
                    }
                )
    return rows


def _accuracy(rows: Rows) -> Figure:
    names = {"accuracy": "accuracy (ground truth)", "agreement": "agreement (weak labels)"}
    return Figure(
        "training",
        "Ground truth and weak labels during training",
        f"On validation rows, a line for each seed. {_MARKS} If agreement rises while accuracy "
        "falls, the student learns its supervisor's errors.",
        _chart(rows, names, truth="accuracy", title="share of validation rows", format=theme.SHARE),
        rows,
    )


def _loss(rows: Rows) -> Figure:
    names = {"log_loss": "log loss (ground truth)", "loss": "loss (weak labels)"}
    return Figure(
        "training-loss",
        "Loss on ground truth and on weak labels during training",
        f"On validation rows, a line for each seed. {_MARKS}",
        _chart(rows, names, truth="log_loss", title="nats per validation row", format=theme.NUMBER),
        rows,
    )


_MARKS = (
    "Dots: the final weights. Diamonds: where ground truth would have stopped training; this "
    "did not affect training."
)


def _chart(rows: Rows, names: dict[str, str], *, truth: str, title: str, format: str) -> Any:
    """Both measures in a panel for each pair and method."""
    domain = list(names)
    label = f"{{{', '.join(f'{key!r}: {value!r}' for key, value in names.items())}}}[datum.label]"
    legend = alt.Legend(title=None, labelExpr=label, symbolSize=300, symbolType="stroke")
    colour = theme.colour("measure", domain, title="").legend(legend)
    dash = theme.dash("measure", domain, title="").legend(legend)
    x = alt.X("step:Q", title="optimizer step", axis=alt.Axis(tickCount=4, grid=False))
    y = alt.Y(
        "value:Q",
        title=title,
        scale=alt.Scale(zero=False, padding=6),
        axis=alt.Axis(format=format, tickCount=5),
    )
    tooltip = [
        *(alt.Tooltip(f"{name}:N") for name in ("task", "pair", "method", "seed", "measure")),
        alt.Tooltip("step:Q"),
        alt.Tooltip("value:Q", format=".4f"),
        alt.Tooltip("runs:N", title="run"),
    ]
    layers = [
        layer()
        .mark_line(strokeWidth=1.6, opacity=0.85)
        .encode(x, y, colour, dash, detail="runs:N"),
        layer().mark_circle(size=60, opacity=0).encode(x, y, tooltip=tooltip),
        layer()
        .mark_point(filled=True, size=45, opacity=1)
        .transform_filter("datum.is_kept")
        .encode(x, y, colour, tooltip=tooltip),
        layer()
        .mark_point(style="ceiling", shape="diamond", size=90, strokeWidth=1.5, opacity=1)
        .transform_filter(f"datum.is_oracle && datum.measure == '{truth}'")
        .encode(x, y, tooltip=tooltip),
    ]
    size = {"width": 230, "height": 150}
    layered = alt.layer(*layers).properties(**size)
    panelled = panels(layered, rows=rows, row="panel", column="method", **size)
    return panelled.transform_fold(domain, as_=["measure", "value"])
