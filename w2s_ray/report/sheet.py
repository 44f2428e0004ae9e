"""Tables of text with notes: built from declared columns, rendered for a terminal and Markdown.

Owns the format of figures. It computes none.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Generic, TypeVar

from w2s_ray.report import layout
from w2s_ray.report.markdown import escaped
from w2s_ray.short_table import ShortTable

if TYPE_CHECKING:
    from rich.console import Group, RenderableType

NONE = "–"
"""The text of a missing figure."""
NOTE = "note"
"""Heading of the column of notes."""

Row = TypeVar("Row")
Row_contra = TypeVar("Row_contra", contravariant=True)


@dataclass(frozen=True)
class Sheet:
    """Lines of text with a title, column headings and notes.

    Raises:
        ValueError: a line with more or fewer cells than there are columns.
    """

    title: str
    columns: tuple[str, ...]
    lines: tuple[tuple[str, ...], ...]
    numbers: frozenset[str] = frozenset()
    """Columns that are aligned right."""
    notes: tuple[str, ...] = ()
    """Lines below the table."""

    def __post_init__(self) -> None:
        for line in self.lines:
            if len(line) != len(self.columns):
                raise ValueError(
                    f"sheet {self.title!r}: a line of {len(line)} cells for "
                    f"{len(self.columns)} columns; give one for each"
                )

    def short_table(self) -> ShortTable:
        """The sheet for a Python prompt or a notebook."""
        return ShortTable(self.title, self.columns, self.lines, self.numbers, self.notes)


@dataclass(frozen=True)
class SheetColumn(Generic[Row_contra]):
    """A column of a sheet: its heading, the text of a row's cell, and its alignment."""

    heading: str
    text: Callable[[Row_contra], str]
    is_number: bool = False
    field: str | None = None
    """The field of a row by which the page sorts; by default the field named like the heading."""


def make_sheet(
    title: str,
    columns: Sequence[SheetColumn[Row]],
    rows: Iterable[Row],
    *,
    notes: Callable[[Row], Sequence[str]] | None = None,
    below: Sequence[str] = (),
) -> Sheet:
    """A line for each row; `notes` adds a last column with the numbers of the notes below.

    That column is left out where no row has a note.
    """
    numbered, rows = Notes(), list(rows)
    lines = [tuple(column.text(row) for column in columns) for row in rows]
    headings = tuple(column.heading for column in columns)
    if notes is not None:
        marks = [" ".join(numbered.mark(note).strip() for note in notes(row)) for row in rows]
        if any(marks):
            lines = [(*line, mark) for line, mark in zip(lines, marks, strict=True)]
            headings = (*headings, NOTE)
    return Sheet(
        title=title,
        columns=headings,
        lines=tuple(lines),
        numbers=frozenset(column.heading for column in columns if column.is_number),
        notes=(*numbered.lines, *below),
    )


class Notes:
    """Notes below a sheet, numbered in order of appearance; equal notes share a number."""

    def __init__(self) -> None:
        self._numbers: dict[str, int] = {}

    def mark(self, note: str | None) -> str:
        """The number of `note` for a cell; empty where there is no note."""
        return f" ({self._numbers.setdefault(note, len(self._numbers) + 1)})" if note else ""

    @property
    def lines(self) -> tuple[str, ...]:
        return tuple(f"({number}) {note}" for note, number in self._numbers.items())


def number(
    value: float | None,
    *,
    low: float | None = None,
    high: float | None = None,
    digits: int = 2,
    signed: bool = False,
    about: str | None = None,
) -> str:
    """A figure, with its interval in brackets, which also have what the interval is about."""
    sign = "+" if signed else ""
    if value is None:
        return NONE
    shown = f"{value:{sign}.{digits}f}"
    if low is None or high is None:
        return shown
    end = f"; {about}" if about else ""
    return f"{shown} [{low:{sign}.{digits}f}, {high:{sign}.{digits}f}{end}]"


def percent(
    value: float | None,
    *,
    low: float | None = None,
    high: float | None = None,
    signed: bool = False,
    about: str | None = None,
) -> str:
    """A share as a percentage, with its interval in brackets."""
    scaled = [None if share is None else 100 * share for share in (value, low, high)]
    return number(scaled[0], low=scaled[1], high=scaled[2], digits=1, signed=signed, about=about)


def to_rich(sheets: Iterable[Sheet]) -> Group:
    """Sheets for a terminal."""
    from rich.console import Group
    from rich.text import Text

    parts: list[RenderableType] = []
    for sheet in sheets:
        folded = [column for column in sheet.columns if column not in sheet.numbers]
        shown = layout.table(sheet.columns, sheet.lines, right=sheet.numbers, folded=folded)
        parts += [Text(sheet.title, style="italic"), shown, *map(Text, sheet.notes), ""]
    return Group(*parts[:-1])


def to_markdown(sheets: Iterable[Sheet]) -> str:
    """Sheets as GitHub Markdown, each under a heading."""
    return "\n\n".join(map(_markdown, sheets)) + "\n"


def _markdown(sheet: Sheet) -> str:
    return "\n\n".join(
        (f"### {escaped(sheet.title)}", markdown_table(sheet), *map(escaped, sheet.notes))
    )


def markdown_table(sheet: Sheet) -> str:
    """The lines of a sheet as a Markdown table, without title and notes."""
    rule = ["---:" if column in sheet.numbers else "---" for column in sheet.columns]
    return "\n".join((_row(sheet.columns), f"| {' | '.join(rule)} |", *map(_row, sheet.lines)))


def _row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(map(escaped, cells))} |"
