"""Tables of text for a terminal: laid out by rich, or, for many lines, one line per row.

Owns the choice between the two. Rich folds wide cells, and needs about a millisecond per line;
thousands of lines are read in a pager or a file, so their cells are not folded.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Sequence
from typing import TYPE_CHECKING

from w2s_ray.printable import printable

if TYPE_CHECKING:
    from rich.console import Console, ConsoleOptions, RenderableType
    from rich.segment import Segment


class Grey(str):
    """A cell's text that a terminal shows in grey."""


LONGEST_WORD = 24
"""Longer words are folded, too."""
_WORD = re.compile(r"\[[^\]]*\]|\S+")
MANY = 500
"""A table with at least this many lines is not folded."""


def table(
    columns: Sequence[str],
    lines: Sequence[Sequence[str]],
    *,
    right: Collection[str],
    folded: Collection[str],
    dim: Collection[str] = (),
    title: str | None = None,
) -> RenderableType:
    """A table without a frame.

    Args:
        right: columns that are aligned right.
        folded: columns that may be folded if the terminal is too narrow.
        dim: columns in a dim style.
    """
    if len(lines) >= MANY:
        return _Lines(columns, lines, right=right, title=title)
    from rich.table import Table
    from rich.text import Text

    rich_table = Table(title=title, title_justify="left", show_edge=False)
    for place, column in enumerate(columns):
        cells = [line[place] for line in lines]
        rich_table.add_column(
            Text(printable(column)),
            justify="right" if column in right else "left",
            no_wrap=column not in folded,
            min_width=_narrowest([column, *cells]) if column in folded else None,
            style="dim" if column in dim else "",
        )
    for line in lines:
        rich_table.add_row(
            *(
                Text(printable(cell, keep="\n"), style="dim" if isinstance(cell, Grey) else "")
                for cell in line
            )
        )
    return rich_table


def _narrowest(cells: Iterable[str]) -> int:
    """The width of a folded column's longest word; an interval in brackets is one word."""
    words = (len(word) for cell in cells for word in _WORD.findall(cell))
    return min(LONGEST_WORD, max(words, default=1))


class _Lines:
    """A table with one line of the terminal per row, however wide."""

    def __init__(
        self,
        columns: Sequence[str],
        lines: Sequence[Sequence[str]],
        *,
        right: Collection[str],
        title: str | None,
    ) -> None:
        self._title = None if title is None else printable(title)
        self._lines = [
            [printable(" ".join(cell.split())) for cell in line] for line in (columns, *lines)
        ]
        self._right = [column in right for column in columns]

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> Iterable[Segment]:
        from rich.cells import cell_len
        from rich.segment import Segment
        from rich.style import Style

        lengths = [[cell_len(cell) for cell in line] for line in self._lines]
        widths = [max(column) for column in zip(*lengths, strict=True)]
        head, *rest = (
            [
                " " * (width - length) + cell if right else cell + " " * (width - length)
                for cell, length, width, right in zip(*parts, widths, self._right, strict=True)
            ]
            for parts in zip(self._lines, lengths, strict=True)
        )
        if self._title is not None:
            yield Segment(f"{self._title}\n", Style(italic=True))
        yield Segment(f" {' ┃ '.join(head)}\n", Style(bold=True))
        yield Segment("━" + "━╇━".join("━" * width for width in widths) + "━\n")
        yield Segment("".join(f" {' │ '.join(line).rstrip()}\n" for line in rest))
