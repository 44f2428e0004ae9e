"""CSV whose cells are plain data: no spreadsheet formulas, no control characters of terminals.

Owns the writing of rows. A text that begins like a formula gets an apostrophe before it, so that
spreadsheets treat it as text; numbers are written unchanged.
"""

from __future__ import annotations

import csv
from collections.abc import Iterable, Mapping, Sequence
from numbers import Number
from typing import Any, TextIO

from w2s_ray.printable import printable

_FORMULA = ("=", "+", "-", "@", "\t", "\r", "＝", "＋", "－", "＠")
"""First characters of formulas (https://owasp.org/www-community/attacks/CSV_Injection)."""


class Writer:
    """Writes a header and rows to a file."""

    def __init__(self, file: TextIO, names: Sequence[str]) -> None:
        self._writer = csv.writer(file, lineterminator="\n")
        self._names = names
        self._writer.writerow(map(_cell, names))

    def write(self, rows: Iterable[Mapping[str, Any]]) -> None:
        """Write a line for each row; missing values are empty."""
        self._writer.writerows([_cell(row.get(name)) for name in self._names] for row in rows)


def _cell(value: Any) -> Any:
    if value is None or isinstance(value, Number):
        return value
    text = printable(str(value), keep="\n\t")
    return f"'{text}" if text.startswith(_FORMULA) else text
