"""PGR as a grid of supervisors and students, for each task and method, and the median over tasks.

Owns the content of a cell: the number, its interval, or why there is none. It computes no figures.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from functools import partial
from typing import Any

import altair as alt

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
    sentence,
)
from w2s_ray.report.figures.theme import wrapped
from w2s_ray.report.pivot import Entry, Grid

_CELL = (84, 44)
_NO_GAP, _MISSING = "no clear gap", "missing"
_VOID, _NUMBER = "!isValid(datum.pgr)", "isValid(datum.pgr)"
_READ = (
    "Shades go from 0 to 1; values beyond have the shade of the nearer end.",
    "Hatched: no PGR.",
)
_BRACKETS = "Brackets: 95 % interval."


def figures(rows: Rows, grids: Sequence[Grid], *, models: Sequence[str]) -> Iterator[Figure]:
    """`pgr-grid`, and `pgr-grid-median` if there are several tasks."""
    if not rows:
        return
    medians = [grid for grid in grids if grid.task is None]
    if medians:
        yield _medians(rows, medians, models=models)
    count = combinations(rows, "task", "method")
    yield from by_task(rows, partial(_of_tasks, models=models), panels=count)


def _of_tasks(rows: Rows, *, models: Sequence[str]) -> Figure:
    shown = [{**row, "void": _void(row), "spread": _spread(row)} for row in rows]
    return Figure(
        "pgr-grid",
        "PGR by supervisor and student",
        sentence((*_READ, if_drawn(_BRACKETS, shown, "spread"))),
        _chart(shown, models=models, tooltip=ROW_TOOLTIP, row="task"),
        shown,
    )


def _medians(rows: Rows, grids: Sequence[Grid], *, models: Sequence[str]) -> Figure:
    """One grid for each method: medians over tasks."""
    by_cell: dict[tuple[str, str, str], list[Mapping[str, Any]]] = {}
    for row in rows:
        by_cell.setdefault((row["weak"], row["strong"], row["method"]), []).append(row)
    shown = [
        _median(entry, by_cell[entry.weak, entry.strong, grid.method])
        for grid in grids
        for entry in grid.entries
    ]
    tooltip = [
        *(alt.Tooltip(f"{name}:N") for name in ("weak", "strong", "method")),
        alt.Tooltip("pgr:Q", title="median PGR", format=".3f"),
        alt.Tooltip("pgr_low:Q", title="from", format=".3f"),
        alt.Tooltip("pgr_high:Q", title="to", format=".3f"),
        alt.Tooltip("tasks:Q", title="tasks with a PGR"),
        *(alt.Tooltip(f"{name}:N") for name in ("reason", "objective", "runs")),
    ]
    return Figure(
        "pgr-grid-median",
        "Median PGR over tasks by supervisor and student",
        sentence((*_READ, if_drawn(_BRACKETS, shown, "spread"))),
        _chart(shown, models=models, tooltip=tooltip, row="over"),
        shown,
    )


def _median(entry: Entry, group: Rows) -> dict[str, Any]:
    """A cell over tasks; `group` has the rows of its tasks."""
    has_seeds = any(row["seeds"] for row in group)
    return {
        **{name: group[0][name] for name in ("weak", "strong", "method", "pair")},
        "over": "all tasks",
        **{name: getattr(entry, name) for name in ("pgr", "pgr_low", "pgr_high")},
        "tasks": entry.tasks,
        "reason": entry.reason,
        "objective": entry.objective,
        "void": None if entry.tasks else _NO_GAP if has_seeds else _MISSING,
        "spread": _spread(asdict(entry)),
        "runs": " ".join(dict.fromkeys(run for row in group for run in row["runs"].split())),
    }


def _void(row: Mapping[str, Any]) -> str | None:
    """Why a cell is hatched, as a short label; the full reason is in the tooltip."""
    if row["pgr"] is not None:
        return None
    return _NO_GAP if row["seeds"] else _MISSING


def _spread(row: Mapping[str, Any]) -> str | None:
    low, high = row.get("pgr_low"), row.get("pgr_high")
    return None if None in (low, high, row["pgr"]) else f"[{low:.2f}, {high:.2f}]"


def _hatch() -> str:
    """A cell's hatching as an SVG path; 1 is half of its height."""
    up, across = 0.95, 0.95 * _CELL[0] / _CELL[1]
    lines = []
    for number in range(-6, 7):
        left, right = max(-across, number * 0.45 - up), min(across, number * 0.45 + up)
        lines.append(
            f"M{left:.2f},{left - number * 0.45:.2f}L{right:.2f},{right - number * 0.45:.2f}"
        )
    return "".join(lines)


def _chart(rows: Rows, *, models: Sequence[str], tooltip: list[alt.Tooltip], row: str) -> Any:
    width, height = _CELL
    of = {name: [m for m in models if m in distinct(rows, name)] for name in ("weak", "strong")}
    plain = {"labelAngle": 0, "grid": False, "ticks": False, "domain": False}
    of_cell = alt.Axis(labelExpr=wrapped(12), **plain)
    x = alt.X("strong:N", sort=of["strong"], title="student", axis=of_cell)
    beside = alt.Axis(labelExpr=wrapped(), **plain)
    y = alt.Y("weak:N", sort=of["weak"], title="supervisor", axis=beside)
    shade = alt.Color(
        "pgr:Q",
        title="PGR",
        scale=alt.Scale(domain=[0, 1], clamp=True),
        legend=alt.Legend(gradientLength=140, tickCount=5),
    )
    on_shade = alt.condition("datum.pgr > 0.5", alt.value("#000000"), alt.value("#ffffff"))

    def text(test: str, *, up: int, size: int, **style: Any) -> alt.Chart:
        return layer().mark_text(dy=up, fontSize=size, **style).transform_filter(test)

    layers = [
        layer().mark_rect().transform_filter(_NUMBER).encode(x, y, shade, tooltip=tooltip),
        layer().mark_rect(style="void").transform_filter(_VOID).encode(x, y, tooltip=tooltip),
        layer()
        .mark_point(style="hatch", shape=_hatch(), size=height**2, filled=False)
        .transform_filter(_VOID)
        .encode(x, y, tooltip=tooltip),
        text(_VOID, up=0, size=11, style="ink-text").encode(x, y, text="void:N"),
        text(f"{_NUMBER} && !isValid(datum.spread)", up=0, size=14).encode(
            x, y, alt.Text("pgr:Q", format=".2f"), color=on_shade
        ),
        text(f"{_NUMBER} && isValid(datum.spread)", up=-6, size=14).encode(
            x, y, alt.Text("pgr:Q", format=".2f"), color=on_shade
        ),
        text(f"{_NUMBER} && isValid(datum.spread)", up=10, size=10).encode(
            x, y, text="spread:N", color=on_shade
        ),
    ]
    sized = alt.layer(*layers).properties(width=alt.Step(width), height=alt.Step(height))
    return panels(
        sized,
        rows=rows,
        row=row,
        column="method",
        width=width * len(of["strong"]),
        height=height * len(of["weak"]),
    )
