"""The trials of a search: the objective by each setting, and the progress of each study.

Owns the reading of a store's trials and these figures, for every study that chose a setting of the
sweep. It runs no search.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from typing import Any

import altair as alt

from w2s_ray.report.figures import theme
from w2s_ray.report.figures.figure import (
    Figure,
    Rows,
    by_task,
    combinations,
    distinct,
    layer,
    quoted,
    unique_slug,
    wrapped_panels,
)
from w2s_ray.report.figures.figure_rows import FigureData, pair
from w2s_ray.store import Cell

_STATES = ("complete", "pruned", "failed")
_WHOLE = "datum.value % 1 ? '' : datum.label"
"""Labels of whole numbers only: of few trials, an axis has ticks between them too."""
_SHAPES = ("circle", "triangle-down", "M-1,-1L1,1M-1,1L1,-1")
_COLUMNS = 4
"""Panels side by side."""
_READ = (
    "Round: complete. Triangle: pruned, at its last evaluation. Cross: failed, without a value. "
    "Ring: the winner."
)


def figures(data: FigureData, all_trials: Rows) -> Iterator[Figure]:
    """`search-METHOD`, a panel for each study and setting, and `study-history`."""
    for method in distinct(all_trials, "method"):
        settings = [
            {**row, "setting": name, "tried": axis_value(value)}
            for row in all_trials
            if row["method"] == method
            for name, value in row["settings"].items()
        ]
        if settings:
            yield from by_task(
                [without(row, "settings") for row in settings],
                partial(_slices, data, method=method),
                panels=combinations(settings, "panel", "setting"),
            )
    if len(all_trials) > 1:
        history = [without(row, "settings") for row in all_trials]
        yield from by_task(history, _history, panels=combinations(history, "panel"))


_MAGNITUDES = 20
"""Ratio of the largest to the smallest choice from which an axis is logarithmic."""


def trials(data: FigureData) -> list[dict[str, Any]]:
    """One row for each trial of the sweep's studies, in their order.

    `objective` is the trial's value; for a pruned trial, its last evaluation. `best` is the best
    value of complete trials so far.
    """
    of_study: dict[str, list[Cell]] = {}
    for cell in data.cells:
        for study in cell.studies:
            of_study.setdefault(study, []).append(cell)
    rows = []
    for study, cells in of_study.items():
        record, best, subject = data.records.get(study), None, _subject(study, cells)
        recipe, about = (record.recipe, record.about) if record else ({}, {})
        better = min if recipe.get("metric") == "log_loss" else max
        for trial in data.store.trials(study):
            value = trial.get("value")
            if trial["state"] == "complete" and value is not None:
                best = value if best is None else better(best, value)
            last = trial.get("intermediate") or [None]
            rows.append(
                {
                    **_place(cells),
                    "method": subject,
                    "study": study,
                    "panel": f"{subject} {_searched(study, cells, about)} ({study[:8]})",
                    "metric": recipe.get("metric", "accuracy"),
                    "number": trial["number"],
                    "state": trial["state"],
                    "objective": last[-1] if value is None else value,
                    "best": best,
                    "is_winner": trial["number"] == about.get("winner"),
                    "reason": trial.get("reason"),
                    "settings": trial["settings"],
                    "runs": " ".join([study, *trial.get("fits", ())]),
                }
            )
    return rows


def _place(cells: Sequence[Cell]) -> dict[str, str | None]:
    """The task and models that use a study's setting; None for several."""

    def only(values: set[str]) -> str | None:
        return values.pop() if len(values) == 1 else None

    return {
        "task": only({cell.task for cell in cells}),
        "weak": only({cell.weak for cell in cells}),
        "strong": only({cell.strong for cell in cells}),
    }


def _subject(study: str, cells: Sequence[Cell]) -> str:
    """The method, or else the roles, whose settings the study chooses."""
    if cells[0].study == study:
        return cells[0].method
    roles = {
        "supervisor": any(cell.supervisor_study == study for cell in cells),
        "ceiling": any(cell.ceiling_study == study for cell in cells),
    }
    return " and ".join(role for role, is_searched in roles.items() if is_searched)


def _searched(study: str, cells: Sequence[Cell], about: Mapping[str, Any]) -> str:
    """What a study trained, from its record or else from the cells: the pairs of models or the
    model, and the task.
    """
    if cells[0].study != study:
        model = cells[0].weak if cells[0].supervisor_study == study else cells[0].strong
        return f"{model} on {about.get('task') or cells[0].task}"
    found = [pair(*each) for each in about.get("pairs", ())] or sorted(
        {pair(cell.weak, cell.strong) for cell in cells}
    )
    return f"on {about.get('task') or cells[0].task} {', '.join(found)}"


def _slices(data: FigureData, rows: Rows, *, method: str) -> Figure:
    """A row of panels for each study, a column for each setting."""
    names = distinct(rows, "setting")
    across = [
        alt.concat(
            *(_slice(data, rows, panel, name) for name in names), columns=_COLUMNS, spacing=24
        )
        for panel in distinct(rows, "panel")
    ]
    return Figure(
        f"search-{unique_slug(method)}",
        f"Trials of the search of {method}",
        f"The objective of each trial by each setting. {_READ}",
        alt.vconcat(*across, spacing=24),
        rows,
    )


def _slice(data: FigureData, rows: Rows, panel: str, name: str) -> Any:
    found = [row for row in rows if row["panel"] == panel and row["setting"] == name]
    values = [row["tried"] for row in found]
    if all(isinstance(value, int | float) and not isinstance(value, bool) for value in values):
        log = bool(found) and is_log(data, found[0]["study"], name)
        kind = "log" if log else "linear"
        scale = alt.Scale(type=kind, zero=False, nice=False, padding=12)
        axis = alt.Axis(tickCount=4, format="~e" if log else theme.NUMBER, grid=False)
        x = alt.X("tried:Q", title=name, scale=scale, axis=axis)
    else:
        x = alt.X("tried:N", title=name, axis=alt.Axis(labelAngle=0, labelExpr=theme.WRAPPED))
    here = {"panel": panel, "setting": name}
    title = alt.TitleParams(panel, fontSize=12, offset=6) if name == rows[0]["setting"] else ""
    return (
        alt.layer(*_marks(x, metric=found[0]["metric"] if found else ""))
        .transform_filter(
            " && ".join(f"datum.{field} == {quoted(value)}" for field, value in here.items())
        )
        .properties(width=190, height=160, title=title)
    )


def axis_value(value: Any) -> Any:
    """A setting's value as a point on an axis."""
    return ", ".join(map(str, value)) if isinstance(value, list) else value


def is_log(data: FigureData, study: str, name: str) -> bool:
    """Whether the study's space has the setting, or that setting of one kind, on a log scale.

    Choices are, if they are positive numbers of different magnitudes.
    """
    record = data.records.get(study)
    space = record.recipe.get("space", {}) if record else {}
    if name in space:
        return _has_magnitudes(space[name])
    parent, _, last = name.rpartition(".")
    kinds = space.get(parent, {}).get("one_of") or ()
    return any(isinstance(kind.get(last), dict) and _has_magnitudes(kind[last]) for kind in kinds)


def _has_magnitudes(declared: Mapping[str, Any]) -> bool:
    values = declared.get("choice") or ()
    numbers = [v for v in values if isinstance(v, int | float) and not isinstance(v, bool)]
    if declared.get("loguniform") or not numbers or len(numbers) < len(values):
        return bool(declared.get("loguniform"))
    return min(numbers) > 0 and max(numbers) >= _MAGNITUDES * min(numbers)


def _marks(x: alt.X, *, metric: str) -> list[alt.Chart]:
    """Marks of trials by state; failed trials without a value are at the bottom of the panel."""
    y = alt.Y(
        "objective:Q",
        title=f"objective ({metric})",
        scale=alt.Scale(zero=False, padding=8),
        axis=alt.Axis(tickCount=5, format=theme.NUMBER),
    )
    scale = alt.Scale(domain=list(_STATES), range=list(_SHAPES))
    shape = alt.Shape("state:N", scale=scale, title="trial")
    colour = alt.Color("state:N", scale=alt.Scale(domain=list(_STATES)), title="trial")
    points = layer().mark_point(size=60, strokeWidth=1.8, opacity=1)
    return [
        points.transform_filter("isValid(datum.objective)").encode(
            x, y, shape, colour, tooltip=_TRIAL_TOOLTIP
        ),
        points.transform_filter("!isValid(datum.objective)").encode(
            x, shape, colour, y=alt.value("height"), tooltip=_TRIAL_TOOLTIP
        ),
        layer()
        .mark_point(style="ceiling", size=220, strokeWidth=1.5, opacity=1)
        .transform_filter("datum.is_winner")
        .encode(x, y, tooltip=_TRIAL_TOOLTIP),
    ]


def _history(rows: Rows) -> Figure:
    """Each study's trials in their order, and the best complete one so far."""
    x = alt.X(
        "number:Q",
        title="trial",
        scale=alt.Scale(nice=False, padding=12),
        axis=alt.Axis(grid=False, format="d", labelExpr=_WHOLE),
    )
    best = (
        layer()
        .mark_line(style="ceiling", interpolate="step-after", strokeWidth=1.5)
        .transform_filter("isValid(datum.best)")
        .encode(x, alt.Y("best:Q"))
    )
    metrics = "/".join(distinct(rows, "metric"))
    layered = alt.layer(best, *_marks(x, metric=metrics)).properties(width=280, height=170)
    chart = wrapped_panels(layered, rows=rows, by="panel", columns=3)
    chart = chart.resolve_scale(x="independent", y="independent")
    return Figure(
        "study-history",
        "Progress of each study",
        f"The objective of each trial in the order of trials. Line: the best complete one so far. "
        f"{_READ}",
        chart,
        rows,
    )


_TRIAL_TOOLTIP = [
    *(alt.Tooltip(f"{name}:N") for name in ("panel", "number", "state", "reason")),
    alt.Tooltip("objective:Q", format=".4f"),
    alt.Tooltip("best:Q", title="best so far", format=".4f"),
    alt.Tooltip("tried:N"),
    alt.Tooltip("runs:N"),
]


def without(row: Mapping[str, Any], name: str) -> dict[str, Any]:
    """`row` without one of its values."""
    return {key: value for key, value in row.items() if key != name}
