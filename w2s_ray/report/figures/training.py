"""Students through training: ground truth beside the weak labels that they learn from.

Owns the reading of these curves and two figures. Where agreement with weak labels goes on rising
while accuracy falls, a student learns its supervisor's errors.
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
from w2s_ray.report.figures.figure_rows import Facts, figure, pair

_METRICS = ("accuracy", "agreement", "loss", "log_loss")
_ORACLE = "oracle/test_accuracy"


def figures(facts: Facts) -> Iterator[Figure]:
    """`training` and `training-loss`, of the students that are done."""
    rows = curves(facts)
    count = combinations(rows, "task", "pair", "method")
    for make, fields in ((_accuracy, ("accuracy", "agreement")), (_loss, ("log_loss", "loss"))):
        given = [row for row in rows if all(row[name] is not None for name in fields)]
        if given:
            yield from by_task(given, make, panels=count)


def curves(facts: Facts) -> list[dict[str, Any]]:
    """One row for each evaluation of each student, with the store's values.

    `is_kept` marks the weights that were kept, `is_oracle` where ground truth would have stopped.
    """
    cells = {cell.student: cell for cell in facts.cells if cell.student}
    measured: dict[str, dict[int, dict[str, float]]] = {}
    for run, step, metric, value in facts.metrics(sorted(cells)):
        measured.setdefault(run, {}).setdefault(step, {})[metric] = value
    rows = []
    for run, cell in cells.items():
        steps = measured.get(run, {})
        kept = figure(facts.records.get(run), "best_step")
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
        "Ground truth and weak labels through training",
        f"On validation rows, a line for each seed. {_MARKS} Where agreement rises while accuracy "
        "falls, the student learns its supervisor's errors.",
        _chart(rows, names, truth="accuracy", title="share of validation rows", format=".0%"),
        rows,
    )


def _loss(rows: Rows) -> Figure:
    names = {"log_loss": "log loss (ground truth)", "loss": "loss (weak labels)"}
    return Figure(
        "training-loss",
        "Loss on ground truth and on weak labels through training",
        f"On validation rows, a line for each seed. {_MARKS}",
        _chart(rows, names, truth="log_loss", title="nats per validation row", format=".2~f"),
        rows,
    )


_MARKS = (
    "Dots: the weights that were kept. Diamonds: where ground truth would have stopped, "
    "which steered nothing."
)


def _chart(rows: Rows, names: dict[str, str], *, truth: str, title: str, format: str) -> Any:
    """Both measures in a panel for each pair and method."""
    domain = list(names)
    told = f"{{{', '.join(f'{key!r}: {value!r}' for key, value in names.items())}}}[datum.label]"
    shown = alt.Legend(title=None, labelExpr=told, symbolSize=300, symbolType="stroke")
    colour = theme.colour("measure", domain, title="").legend(shown)
    dash = theme.dash("measure", domain, title="").legend(shown)
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
    layered = alt.layer(*layers).properties(width=230, height=150)
    panelled = panels(layered, rows=rows, row="panel", column="method")
    return panelled.transform_fold(domain, as_=["measure", "value"])
