"""Grids of PGR as sheets, and as CSV and JSON with every digit.

Owns the texts of a grid: its title, its cells and the notes below. It computes nothing.
"""

from __future__ import annotations

import io
import json
from collections.abc import Iterable
from dataclasses import asdict, fields

from w2s_ray.report.csv_text import Writer
from w2s_ray.report.pivot import Entry, Grid
from w2s_ray.report.sheet import Notes, Sheet, number

_KEYS = ("sweep", "task", "method")


def sheets(grids: Iterable[Grid]) -> list[Sheet]:
    """A sheet for each grid: PGR, with its 95 % interval in brackets."""
    return [_sheet(grid) for grid in grids]


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


def _sheet(grid: Grid) -> Sheet:
    notes = Notes()
    what = "median PGR over tasks" if grid.task is None else f"PGR on {grid.task}"
    bounded = any(entry.pgr_low is not None for entry in grid.entries)
    return Sheet(
        title=f"{grid.sweep}, {grid.method}: {what}{' [95 % interval]' if bounded else ''}",
        columns=("weak ↓ strong →", *grid.strong),
        lines=tuple(
            (weak, *(_cell(grid.at(weak, strong), notes) for strong in grid.strong))
            for weak in grid.weak
        ),
        numbers=frozenset(grid.strong),
        notes=notes.lines,
    )


def _cell(entry: Entry | None, notes: Notes) -> str:
    if entry is None:
        return ""
    oracle = "chosen by ground truth of the pair itself" if entry.objective == "oracle" else ""
    note = "; ".join(text for text in (entry.reason, oracle) if text)
    return number(entry.pgr, low=entry.pgr_low, high=entry.pgr_high) + notes.mark(note)
