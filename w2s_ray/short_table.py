"""A short table of text and counts, as plain text and as HTML, for Python prompts and notebooks.

Owns alignment and escaping. Values come from sweep files and stores, so they are data and become
neither control characters nor markup. It computes nothing.
"""

from __future__ import annotations

import html
from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from w2s_ray.printable import printable


@dataclass(frozen=True)
class ShortTable:
    """A title, column headings, rows of cells, and notes below."""

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str | int, ...], ...] = ()
    numbers: frozenset[str] = frozenset()
    """Columns of text that are aligned right; columns of whole numbers always are."""
    notes: tuple[str, ...] = ()

    def text(self) -> str:
        """The table as lines of text."""
        lines = [self.columns, *(tuple(map(str, row)) for row in self.rows)] if self.rows else []
        cells = [[printable(cell) for cell in line] for line in lines]
        widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
        shown = (
            "  ".join(
                cell.rjust(width) if right else cell.ljust(width)
                for cell, width, right in zip(line, widths, self._right, strict=True)
            ).rstrip()
            for line in cells
        )
        return "\n".join((printable(self.title), *shown, *map(printable, self.notes)))

    def html(self) -> str:
        """The table as HTML without scripts."""
        head, body = self._line("th", self.columns), [self._line("td", row) for row in self.rows]
        table = f"<table><thead>{head}</thead><tbody>{''.join(body)}</tbody></table>"
        notes = "".join(f"<div>{_escaped(note)}</div>" for note in self.notes)
        return f"<div><b>{_escaped(self.title)}</b>{table if body else ''}{notes}</div>"

    def _line(self, tag: str, cells: Sequence[str | int]) -> str:
        sides = ["right" if right else "left" for right in self._right]
        parts = (
            f'<{tag} style="text-align: {side}">{_escaped(str(cell))}</{tag}>'
            for cell, side in zip(cells, sides, strict=True)
        )
        return f"<tr>{''.join(parts)}</tr>"

    @property
    def _right(self) -> list[bool]:
        """For each column, whether it is aligned right."""
        right = []
        for place, name in enumerate(self.columns):
            are_counts = [isinstance(row[place], int) for row in self.rows]
            right.append(name in self.numbers or (bool(are_counts) and all(are_counts)))
        return right


class ShownAsTable(ABC):
    """A value that shows itself as a short table: as text at a prompt, as HTML in a notebook."""

    @abstractmethod
    def summary(self) -> ShortTable:
        """The table."""

    def __repr__(self) -> str:
        return self.summary().text()

    def _repr_html_(self) -> str:
        return self.summary().html()


def shortened(lines: Iterable[str], *, most: int) -> tuple[str, ...]:
    """At most `most` of `lines`, and a line that counts the others."""
    every = tuple(lines)
    rest = len(every) - most
    return every if rest <= 0 else (*every[:most], f"... and {rest} more")


def _escaped(text: str) -> str:
    return html.escape(printable(text))
