"""Cells of a table as text, numbers and labels, and missing values.

Owns the rules for all readers: a text is a string, UTF-8 bytes, or a scalar such as a number; lists
and mappings are not converted to text. None, NaN and the empty string are missing values. It reads
no files.
"""

from __future__ import annotations

import math
import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from datetime import date, time, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

from w2s_ray.errors import InputError
from w2s_ray.printable import one_line, shown

_NAMES_SHOWN = 12
_INTEGRAL = re.compile(r"([+-]?[0-9]{1,300})\.0*")
_PLAIN = (bool, int, float, Decimal, date, time, timedelta, UUID)
"""Types whose values `str` converts to text."""
_TYPE_NAMES: tuple[tuple[type | tuple[type, ...], str], ...] = (
    (dict, "a struct"),
    ((list, tuple), "a list"),
    (bytes, "bytes"),
)


def is_missing(value: Any) -> bool:
    """Whether a cell is None, NaN, or an empty text."""
    if value is None or (isinstance(value, str | bytes) and not value):
        return True
    return isinstance(value, float) and math.isnan(value)


def text_of(value: Any, *, where: str) -> str:
    """The text of a cell; empty if the value is missing.

    `where` is the row and column in errors.

    Raises:
        InputError: a list, a struct, bytes that aren't UTF-8, or a lone surrogate.
    """
    if isinstance(value, str):
        return _encodable(value, where)
    if is_missing(value):
        return ""
    if isinstance(value, bytes):
        try:
            return value.decode()
        except UnicodeDecodeError as error:
            raise InputError(
                f"{where} has bytes that are not UTF-8 text ({error.reason} at byte "
                f"{error.start}); store text there"
            ) from None
    value = value.item() if hasattr(value, "item") and getattr(value, "ndim", 0) == 0 else value
    if isinstance(value, (str, *_PLAIN)):
        return str(value)
    raise InputError(
        f"{where} has {type_name(value)} instead of a text ({shown(value)}); store text there"
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
            f"{where} has {shown(value)}, which is not a finite number; correct it or remove the "
            "row"
        )
    return number


def plain_label(value: Any) -> str:
    """A label as text: 1, 1.0, '1', '1.0' and ' 1 ' are equal, as are true and 'true'."""
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
    """`text` without differences in letter case, white space and Unicode form."""
    form = unicodedata.normalize("NFKC", text).casefold()
    return " ".join(unicodedata.normalize("NFKC", form).split())


def type_name(value: Any) -> str:
    """The type of a cell in words: `a list`."""
    for kind, name in _TYPE_NAMES:
        if isinstance(value, kind):
            return name
    return f"a value of type {type(value).__name__}"


def name_list(names: Iterable[Any]) -> str:
    """Column or file names as a short list."""
    lines = [one_line(str(name)) for name in names]
    more = len(lines) - _NAMES_SHOWN
    return ", ".join(lines[:_NAMES_SHOWN]) + (f", ... ({more} more)" if more > 0 else "")


def check_distinct(columns: Iterable[str], *, where: object, remedy: str = "") -> None:
    """Refuse columns with the same name; `remedy` is added to the error.

    Raises:
        InputError: names the column.
    """
    for name, count in Counter(columns).items():
        if count > 1:
            raise InputError(
                f"{where}: {count} columns have the name {shown(name)}; rename all but one{remedy}"
            )


class Cells(Mapping[str, str]):
    """The columns of a row as texts, for `str.format_map`."""

    def __init__(
        self, row: Mapping[str, Any], *, id: str, stripped: bool = False, lists: bool = False
    ) -> None:
        """`stripped`: remove white space at both ends. `lists`: join a list of texts by lines."""
        self._row, self._id = row, id
        self._stripped, self._lists = stripped, lists

    def __getitem__(self, column: str) -> str:
        value, where = self._row[column], f"{self._id}: column {column!r}"
        if self._lists and isinstance(value, list) and all(isinstance(v, str) for v in value):
            return "\n".join(_encodable(item, where) for item in value)
        text = text_of(value, where=where)
        return text.strip() if self._stripped else text

    def __iter__(self) -> Iterator[str]:
        return iter(self._row)

    def __len__(self) -> int:
        return len(self._row)


def _encodable(text: str, where: str) -> str:
    """`text`, if it can be encoded as UTF-8."""
    try:
        text.encode()
    except UnicodeEncodeError as error:
        surrogate = ord(text[error.start])
        raise InputError(
            f"{where} has a lone surrogate (\\u{surrogate:04x}), which is not a character; "
            "correct the text or remove the row"
        ) from None
    return text
