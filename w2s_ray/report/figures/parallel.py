"""The trials of a search as lines over parallel axes: one axis for each setting and the objective.

Owns the figure, and the place of a value on its axis. The values are those of the store's trials.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
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
)
from w2s_ray.report.figures.figure_rows import FigureData
from w2s_ray.report.figures.search import axis_value, is_log, without

_OBJECTIVE = "objective"
_STEP, _WIDEST = 150, 1050
"""Distance of the axes, and the largest width of a panel."""
_CHOICES = 12
"""Most values of a setting of names that are labelled."""


def figures(data: FigureData, trials: Rows) -> Iterator[Figure]:
    """`parallel-METHOD`, a panel for each study with at least two trials."""
    for method in distinct(trials, "method"):
        rows = [
            point
            for study in distinct(trials, "study")
            for point in points(data, [t for t in trials if t["study"] == study])
            if point["method"] == method
        ]
        if rows:
            make = partial(_parallel, method=method)
            yield from by_task(rows, make, panels=combinations(rows, "study"))


def points(data: FigureData, trials: Rows) -> list[dict[str, Any]]:
    """A row for each trial and axis, with `at` from 0 to 1, and a row for each tick of an axis.

    None for a study of one trial. `at` is null where the trial does not have the setting.
    """
    names = list(dict.fromkeys(name for trial in trials for name in trial["settings"]))
    if len(trials) < 2 or not names:
        return []
    place = ("task", "weak", "strong", "method", "study", "panel")
    shared = {name: trials[0][name] for name in place}
    rows = []
    for name in (*names, _OBJECTIVE):
        values = [_value(trial, name) for trial in trials]
        log = name != _OBJECTIVE and is_log(data, shared["study"], name)
        at, ticks = _axis([value for value in values if value is not None], log=log)
        for trial, value in zip(trials, values, strict=True):
            rows.append(
                {
                    **without(trial, "settings"),
                    "axis": name,
                    "value": value,
                    "at": None if value is None else at(value),
                }
            )
        rows += [
            {**shared, "axis": name, "at": at(value), "tick": text, "runs": shared["study"]}
            for value, text in ticks
        ]
    return rows


def _value(trial: Mapping[str, Any], name: str) -> Any:
    return trial["objective"] if name == _OBJECTIVE else axis_value(trial["settings"].get(name))


def _axis(
    values: Sequence[Any], *, log: bool
) -> tuple[Callable[[Any], float], list[tuple[Any, str]]]:
    """The place of a value on its axis, from 0 to 1, and the axis' ticks with their texts."""
    if all(isinstance(value, int | float) and not isinstance(value, bool) for value in values):
        scale = math.log if log else float
        low, high = (scale(f(values)) for f in (min, max)) if values else (0.0, 0.0)
        ends = sorted({min(values), max(values)}) if values else []
        return (
            lambda value: (scale(value) - low) / (high - low) if high > low else 0.5,
            [(value, f"{value:.3g}") for value in ends],
        )
    names = sorted({str(value) for value in values})
    places = {name: (i + 0.5) / len(names) for i, name in enumerate(names)}
    labelled = names if len(names) <= _CHOICES else (names[0], names[-1])
    return lambda value: places[str(value)], [(name, name) for name in labelled]


def _parallel(rows: Rows, *, method: str) -> Figure:
    charts = [_panel(rows, panel) for panel in distinct(rows, "panel")]
    return Figure(
        f"parallel-{unique_slug(method)}",
        f"Settings and objective of each trial of the search of {method}",
        "A line for each trial, over an axis for each setting and the objective; axes go from the "
        "smallest to the largest value tried. Dashed: pruned, at its last evaluation. Faint, "
        "without an objective: failed. Thick: the winner.",
        alt.vconcat(*charts, spacing=28),
        rows,
    )


def _panel(rows: Rows, panel: str) -> Any:
    here = [row for row in rows if row["panel"] == panel]
    axes = distinct(here, "axis")
    metric = next(row["metric"] for row in here if "metric" in row)
    objectives = [row["objective"] for row in here if row.get("objective") is not None]
    x = alt.X(
        "axis:N",
        sort=axes,
        title=None,
        scale=alt.Scale(type="point", padding=0.3),
        axis=alt.Axis(
            labelAngle=0, labelExpr=theme.wrapped(18), domain=False, ticks=False, grid=False
        ),
    )
    y = alt.Y("at:Q", axis=None, scale=alt.Scale(domain=[0, 1], nice=False, padding=8))
    colour = alt.Color(
        "objective:Q",
        title=f"objective ({metric})",
        scale=alt.Scale(domain=[min(objectives), max(objectives)] if objectives else [0, 1]),
        legend=alt.Legend(format=theme.NUMBER, tickCount=4, gradientLength=110),
    )
    tooltip = [
        *(alt.Tooltip(f"{name}:N") for name in ("panel", "number", "state", "axis", "value")),
        alt.Tooltip("objective:Q", format=".4f"),
        *(alt.Tooltip(f"{name}:N") for name in ("reason", "runs")),
    ]
    trials = layer().transform_filter("isValid(datum.number)")
    measured = trials.transform_filter("isValid(datum.objective)")

    def lines(of: alt.Chart, **style: Any) -> alt.Chart:
        return of.mark_line(**style).encode(x, y, detail="number:N")

    layers = [
        lines(
            trials.transform_filter("!isValid(datum.objective)"),
            style="reference",
            opacity=0.5,
        ),
        lines(
            measured.transform_filter("datum.state == 'pruned'"), strokeDash=[4, 3], opacity=0.8
        ).encode(colour),
        lines(
            measured.transform_filter("datum.state != 'pruned' && !datum.is_winner"), opacity=0.85
        ).encode(colour),
        lines(trials.transform_filter("datum.is_winner"), strokeWidth=4).encode(colour),
        layer().transform_filter("isValid(datum.tick)").mark_rule(style="reference").encode(x),
        trials.mark_circle(size=60, opacity=0).encode(x, y, tooltip=tooltip),
        layer()
        .transform_filter("isValid(datum.tick)")
        .mark_text(style="ink-text", align="left", dx=5, fontSize=11)
        .encode(x, y, text="tick:N"),
    ]
    title = alt.TitleParams(panel, fontSize=12, offset=10, anchor="start")
    return (
        alt.layer(*layers)
        .transform_filter(f"datum.panel == {quoted(panel)}")
        .properties(width=min(_STEP * len(axes), _WIDEST), height=190, title=title)
    )
