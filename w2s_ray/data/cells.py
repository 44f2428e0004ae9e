"""Cells of a table: what counts as a text, a number, a label or a missing value.

Owns the one rule for every reader: a text is a string, UTF-8 bytes, or a plain value such as a
number; a list or a mapping is never turned into text. None, NaN and the empty string are missing.
It knows no files and no tasks.
"""

from __future__ import annotations

import math
import re
import unicodedata
from collections.abc import Iterable, Iterator, Mapping
from datetime import date, time, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

from w2s_ray.errors import InputError

_SHOWN = 60
_NAMES_SHOWN = 12
_INTEGRAL = re.compile(r"([+-]?[0-9]{1,300})\.0*")
_PLAIN = (bool, int, float, Decimal, date, time, timedelta, UUID)
"""Types whose values are written as text by `str`."""
_CALLED: tuple[tuple[type | tuple[type, ...], str], ...] = (
    (dict, "a struct"),
    ((list, tuple), "a list"),
    (bytes, "BINARY"),
)


def is_missing(value: Any) -> bool:
    """Whether a cell holds nothing: None, NaN, or a text without a character."""
    if value is None or (isinstance(value, str | bytes) and not value):
        return True
    return isinstance(value, float) and math.isnan(value)


def text_of(value: Any, *, where: str) -> str:
    """The text of a cell; of one that holds nothing, the empty text.

    `where` names row and column for errors.

    Raises:
        InputError: a list, a struct, bytes that aren't UTF-8, or half a surrogate pair.
    """
    if isinstance(value, str):
        return _whole(value, where)
    if is_missing(value):
        return ""
    if isinstance(value, bytes):
        try:
            return value.decode()
        except UnicodeDecodeError as error:
            raise InputError(
                f"{where} holds BINARY that is not UTF-8 text ({error.reason} at byte "
                f"{error.start}); store the text itself"
            ) from None
    value = value.item() if hasattr(value, "item") and getattr(value, "ndim", 0) == 0 else value
    if isinstance(value, (str, *_PLAIN)):
        return str(value)
    raise InputError(
        f"{where} holds {called(value)} where a text is meant ({shortened(repr(value))}); store "
        "the text itself"
    )


def number_of(value: Any, *, where: str) -> float:
    """The finite number of a cell.

    Raises:
        InputError: anything else.
    """
    try:
        number = float(value)
    except (TypeError, ValueError, OverflowError):
        number = math.nan
    if not math.isfinite(number):
        raise InputError(
            f"{where} holds {shortened(repr(value))}, which is no finite number; correct the cell "
            "or remove the row"
        )
    return number


def plain_label(value: Any) -> str:
    """A label as text: 1, 1.0, '1', '1.0' and ' 1 ' are the same; so are true and 'true'."""
    match value:
        case bool():
            return "true" if value else "false"
        case float() | Decimal() if math.isfinite(value) and value == int(value):
            return str(int(value))
        case bytes():
            return plain_label(value.decode("utf-8", "backslashreplace"))
    text = str(value).strip()
    integral = _INTEGRAL.fullmatch(text)
    return str(int(integral[1])) if integral else text


def folded(text: str) -> str:
    """`text` without what readers overlook: letter case, spaces, and Unicode's other forms."""
    form = unicodedata.normalize("NFKC", text).casefold()
    return " ".join(unicodedata.normalize("NFKC", form).split())


def called(value: Any) -> str:
    """The type of a cell in words: `a list`."""
    for kind, name in _CALLED:
        if isinstance(value, kind):
            return name
    return f"a value of type {type(value).__name__}"


def shortened(text: str, *, most: int = _SHOWN) -> str:
    """`text` as a short part of a line: without line breaks and unprintable characters."""
    line = " ".join("".join(c if c.isprintable() else _escaped(c) for c in text).split())
    return line if len(line) <= most else f"{line[: most - 3]}..."


def names(columns: Iterable[Any]) -> str:
    """Column names as a short list."""
    found = [shortened(str(column)) for column in columns]
    more = len(found) - _NAMES_SHOWN
    return ", ".join(found[:_NAMES_SHOWN]) + (f", ... ({more} more)" if more > 0 else "")


class Cells(Mapping[str, str]):
    """The columns of a row as texts, for `str.format_map`."""

    def __init__(
        self, row: Mapping[str, Any], *, id: str, stripped: bool = False, lists: bool = False
    ) -> None:
        """`stripped` texts have no spaces around them; `lists` of texts become a text a line."""
        self._row, self._id = row, id
        self._stripped, self._lists = stripped, lists

    def __getitem__(self, column: str) -> str:
        value, where = self._row[column], f"{self._id}: column {column!r}"
        if self._lists and isinstance(value, list) and all(isinstance(v, str) for v in value):
            return "\n".join(_whole(item, where) for item in value)
        text = text_of(value, where=where)
        return text.strip() if self._stripped else text

    def __iter__(self) -> Iterator[str]:
        return iter(self._row)

    def __len__(self) -> int:
        return len(self._row)


def _whole(text: str, where: str) -> str:
    """`text`, if it can be written as UTF-8."""
    try:
        text.encode()
    except UnicodeEncodeError as error:
        half = text[error.start]
        raise InputError(
            f"{where} holds half a surrogate pair (\\u{ord(half):04x}), which is no character; "
            "correct the text or remove the row"
        ) from None
    return text


def _escaped(character: str) -> str:
    return " " if character.isspace() else character.encode("unicode_escape").decode()
