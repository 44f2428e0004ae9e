"""Grids of one figure as sheets, and as CSV and JSON with every digit.

Owns the texts of a grid: its title, its cells and the notes below. It computes nothing.
"""

from __future__ import annotations

import io
import json
from collections.abc import Iterable, Iterator
from dataclasses import asdict, fields

from w2s_ray.report.csv_text import Writer
from w2s_ray.report.metric import LABELS, Metric, text
from w2s_ray.report.objectives import SAME_STUDENT
from w2s_ray.report.pivot import Entry, Grid
from w2s_ray.report.sheet import Notes, Sheet

_KEYS = ("sweep", "task", "method")
_CHOSEN_BY = {
    "oracle": "chosen by ground truth of the pair itself",
    SAME_STUDENT: "chosen by ground truth of the same task and strong model",
}
"""Objectives that a cell of a grid has a note for."""


def sheets(grids: Iterable[Grid], *, metric: Metric = "pgr") -> list[Sheet]:
    """A sheet for each grid: one figure, with its 95 % interval in brackets."""
    return [_sheet(grid, metric) for grid in grids]


def to_csv(grids: Iterable[Grid]) -> str:
    """One line per pair of each grid; a median over tasks has no task."""
    buffer = io.StringIO()
    names = [*_KEYS, *(field.name for field in fields(Entry))]
    writer = Writer(buffer, names)
    for grid in grids:
        keys = {name: getattr(grid, name) for name in _KEYS}
        writer.write({**keys, **asdict(entry)} for entry in grid.entries)
    return buffer.getvalue()


def to_json(grids: Iterable[Grid]) -> str:
    """The grids as a list."""
    return json.dumps([asdict(grid) for grid in grids], indent=1, allow_nan=False)


def _sheet(grid: Grid, metric: Metric) -> Sheet:
    notes, label = Notes(), LABELS[metric]
    what = f"median {label} over tasks" if grid.task is None else f"{label} on {grid.task}"
    cells = {
        (entry.weak, entry.strong): text(entry, metric) + notes.mark(_note(entry, metric))
        for entry in _in_order(grid)
    }
    bounded = any("[" in cell for cell in cells.values())
    return Sheet(
        title=f"{grid.sweep}, {grid.method}: {what}{' [95 % interval]' if bounded else ''}",
        columns=("weak ↓ strong →", *grid.strong),
        lines=tuple(
            (weak, *(cells.get((weak, strong), "") for strong in grid.strong)) for weak in grid.weak
        ),
        numbers=frozenset(grid.strong),
        notes=notes.lines,
    )


def _in_order(grid: Grid) -> Iterator[Entry]:
    """The entries from left to right and from top to bottom."""
    for weak in grid.weak:
        for strong in grid.strong:
            entry = grid.at(weak, strong)
            if entry is not None:
                yield entry


def _note(entry: Entry, metric: Metric) -> str:
    shown = metric == "pgr" or entry.student_accuracy is None
    about_pgr = (entry.reason, entry.pgr_caution) if shown else ()
    return "; ".join(text for text in (*about_pgr, _CHOSEN_BY.get(entry.objective)) if text)
