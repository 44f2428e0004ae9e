"""What a student takes from its supervisor and has of its own: three figures of stored predictions.

Owns the figures of the four cells of right and wrong, of the gain against the similarity of
supervisor and ceiling, and of the gain against the misfit. `report.pair_measures` defines these.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from statistics import fmean
from typing import Any

import altair as alt

from w2s_ray.report.cell_scores import cell_scores
from w2s_ray.report.figures import theme
from w2s_ray.report.figures.by_seed import LINES_OF_A_PANEL, seed_marks
from w2s_ray.report.figures.figure import Figure, Rows, by_task, combinations, layer
from w2s_ray.report.figures.figure_rows import FigureData, pair
from w2s_ray.report.scores import scores

_QUADRANTS = {
    "both_right": "supervisor and ceiling right",
    "only_weak_right": "only the supervisor right",
    "only_ceiling_right": "only the ceiling right",
    "both_wrong": "both wrong",
}
FEWEST = 3
"""Smallest number of marks of a figure that shows how two figures are related."""
_PLACE = ("task", "weak", "strong", "method")


def figures(data: FigureData) -> Iterator[Figure]:
    """`four-cells`, `similarity` and `misfit`, of students with predictions on test rows."""
    cells = [
        {**row, "pair": pair(row["weak"], row["strong"]), "runs": row["student"]}
        for row in cell_scores(data.store, sweep=data.sweep).to_pylist()
        if row["method"] in data.methods
    ]
    four = [
        {
            **{name: row[name] for name in (*_PLACE, "pair", "seed", "runs")},
            "measure": title,
            "value": row[f"student_{name}"],
            "examples": row[f"n_{name}"],
        }
        for row in cells
        for name, title in _QUADRANTS.items()
        if row[f"student_{name}"] is not None
    ]
    if four:
        make = partial(_four_cells, models=data.models, methods=data.methods)
        count = combinations(four, "task", "pair", "method") // LINES_OF_A_PANEL
        yield from by_task(four, make, panels=count)
    similar = _means(cells, "weak_ceiling_capa", "gain", "union_ceiling")
    if len(similar) >= FEWEST:
        yield _similarity(similar, methods=data.methods)
    by_run = {row["run_id"]: row for row in scores(data.store, sweep=data.sweep).to_pylist()}
    names = ("misfit", "misfit_gain")
    fitted = _means(
        [
            {**row, **{name: score[name] for name in names}}
            for row in cells
            if (score := by_run.get(row["student"])) is not None
        ],
        *names,
    )
    if len(fitted) >= FEWEST:
        yield _misfit(fitted, methods=data.methods)


def _means(rows: Rows, *names: str) -> list[dict[str, Any]]:
    """A row for each task, pair and method: means over the seeds that have all of `names`."""
    groups: dict[tuple[Any, ...], list[Mapping[str, Any]]] = {}
    for row in rows:
        if all(row[name] is not None for name in names):
            groups.setdefault(tuple(row[name] for name in (*_PLACE, "pair")), []).append(row)
    return [
        {
            **dict(zip((*_PLACE, "pair"), place, strict=True)),
            **{name: fmean(row[name] for row in group) for name in names},
            "seeds": len(group),
            "runs": " ".join(row["runs"] for row in group),
        }
        for place, group in groups.items()
    ]


def _four_cells(rows: Rows, *, models: Sequence[str], methods: Sequence[str]) -> Figure:
    return Figure(
        "four-cells",
        "Students where supervisor and ceiling are right or wrong",
        "Accuracy of the student on test rows, in four groups. A mark for each seed; lines span "
        "the seeds. Where only the ceiling is right: knowledge that was elicited. Where only the "
        "supervisor is right: knowledge that the student took over.",
        seed_marks(
            rows,
            models=models,
            methods=methods,
            title="student's accuracy",
            examples="test rows of this group",
            width=170,
        ),
        rows,
    )


def _similarity(rows: Rows, *, methods: Sequence[str]) -> Figure:
    return Figure(
        "similarity",
        "Gain by the similarity of supervisor and ceiling",
        "Student's minus supervisor's accuracy, a mark for each task, pair and method (means over "
        "seeds). CAPA: 1 = equal and certain predictions, 0 = errors as of independent models. "
        "Goel et al. 2025 found larger gains for less similar models.",
        _marks(
            rows,
            methods=methods,
            x=("weak_ceiling_capa", "CAPA of supervisor and ceiling", theme.NUMBER),
            y=("gain", "student − supervisor", theme.SHARE),
            tooltip=[alt.Tooltip("union_ceiling:Q", title="union ceiling", format=".2%")],
        ),
        rows,
    )


def _misfit(rows: Rows, *, methods: Sequence[str]) -> Figure:
    highest = max(max(row["misfit"], row["misfit_gain"]) for row in rows)
    diagonal = (
        layer()
        .mark_line(style="reference", strokeDash=[4, 3])
        .transform_calculate(end="sequence(2)")
        .transform_flatten(["end"])
        .transform_calculate(at=f"datum.end * {highest}")
        .encode(alt.X("at:Q"), alt.Y("at:Q"))
    )
    return Figure(
        "misfit",
        "Realized gain by predicted gain",
        "Mean squared difference of student and supervisor (misfit), and how much the squared "
        "error fell; a mark for each task, pair and method (means over seeds). Dashed: equal. In "
        "theory the gain is at least the misfit (Charikar et al. 2024); marks below are students "
        "that differ from their supervisor without a gain.",
        _marks(
            rows,
            methods=methods,
            x=("misfit", "misfit (predicted gain)", theme.NUMBER),
            y=("misfit_gain", "realized gain", theme.NUMBER),
            below=[diagonal],
        ),
        rows,
    )


def _marks(
    rows: Rows,
    *,
    methods: Sequence[str],
    x: tuple[str, str, str],
    y: tuple[str, str, str],
    tooltip: Sequence[alt.Tooltip] = (),
    below: Sequence[alt.Chart] = (),
) -> Any:
    """Marks by method; `x` and `y`: field, title and number format. The line is a gain of 0."""
    zero = layer().mark_rule(style="reference").encode(alt.YDatum(0, type="quantitative"))
    scale = alt.Scale(zero=False)
    at = alt.X(f"{x[0]}:Q", title=x[1], scale=scale, axis=alt.Axis(format=x[2], tickCount=6))
    height = alt.Y(f"{y[0]}:Q", title=y[1], scale=scale, axis=alt.Axis(format=y[2]))
    marks = (
        layer()
        .mark_point(filled=True, size=70, opacity=0.9)
        .encode(
            at,
            height,
            theme.colour("method", methods, title="method"),
            theme.shape("method", methods, title="method"),
            tooltip=[
                *(alt.Tooltip(f"{name}:N") for name in ("task", "pair", "method")),
                alt.Tooltip(f"{x[0]}:Q", title=x[1], format=".3f"),
                alt.Tooltip(f"{y[0]}:Q", title=y[1], format=".3f"),
                *tooltip,
                *(alt.Tooltip(f"{name}:N") for name in ("seeds", "runs")),
            ],
        )
    )
    return alt.layer(marks, zero, *below).properties(width=420, height=300)
