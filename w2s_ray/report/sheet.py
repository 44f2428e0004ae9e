"""A table of text, and how it looks on a terminal and in Markdown.

Owns the shape that grids and comparisons are shown in, and the wording of figures. It computes
nothing and knows nothing of where its text comes from.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from w2s_ray.report import layout
from w2s_ray.report.markdown import escaped

if TYPE_CHECKING:
    from rich.console import Group, RenderableType

NONE = "–"
"""What stands where there is no figure."""


@dataclass(frozen=True)
class Sheet:
    """Lines of text under a title.

    Raises:
        ValueError: a line with more or fewer cells than there are columns.
    """

    title: str
    columns: tuple[str, ...]
    lines: tuple[tuple[str, ...], ...]
    numbers: frozenset[str] = frozenset()
    """Columns that are set to the right."""
    notes: tuple[str, ...] = ()
    """Below the table."""

    def __post_init__(self) -> None:
        for line in self.lines:
            if len(line) != len(self.columns):
                raise ValueError(
                    f"sheet {self.title!r}: a line of {len(line)} cells for "
                    f"{len(self.columns)} columns; give one for each"
                )


class Notes:
    """Notes below a sheet, numbered as they come; equal ones share a number."""

    def __init__(self) -> None:
        self._known: dict[str, int] = {}

    def mark(self, note: str | None) -> str:
        """What points to `note` from within a cell; nothing where there is no note."""
        return f" ({self._known.setdefault(note, len(self._known) + 1)})" if note else ""

    @property
    def lines(self) -> tuple[str, ...]:
        return tuple(f"({number}) {note}" for note, number in self._known.items())


def number(
    value: float | None,
    *,
    low: float | None = None,
    high: float | None = None,
    digits: int = 2,
    signed: bool = False,
) -> str:
    """A figure and, in brackets, its interval."""
    sign = "+" if signed else ""
    if value is None:
        return NONE
    bounds = (
        "" if low is None or high is None else f" [{low:{sign}.{digits}f}, {high:{sign}.{digits}f}]"
    )
    return f"{value:{sign}.{digits}f}{bounds}"


def to_rich(sheets: Iterable[Sheet]) -> Group:
    """What a terminal shows."""
    from rich.console import Group
    from rich.text import Text

    parts: list[RenderableType] = []
    for sheet in sheets:
        folded = [column for column in sheet.columns if column not in sheet.numbers]
        shown = layout.table(sheet.columns, sheet.lines, right=sheet.numbers, folded=folded)
        parts += [Text(sheet.title, style="italic"), shown, *map(Text, sheet.notes), ""]
    return Group(*parts[:-1])


def to_markdown(sheets: Iterable[Sheet]) -> str:
    """GitHub Markdown, a heading for each sheet."""
    return "\n\n".join(map(_markdown, sheets)) + "\n"


def _markdown(sheet: Sheet) -> str:
    rule = ["---:" if column in sheet.numbers else "---" for column in sheet.columns]
    lines = [_row(sheet.columns), f"| {' | '.join(rule)} |", *map(_row, sheet.lines)]
    parts = [f"### {escaped(sheet.title)}", "\n".join(lines), *map(escaped, sheet.notes)]
    return "\n\n".join(parts)


def _row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(map(escaped, cells))} |"
