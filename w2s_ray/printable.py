r"""Text from users and stores in a printable form: no control characters, bounded length.

Owns the set of characters that are printed as escapes (`\x1b`): control characters, marks that
change the direction of text, and lone surrogates, which can't be encoded. Durations are formatted
here too. It imports no other module of the package.
"""

from __future__ import annotations

import re

_HIDDEN = re.compile(
    "[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff\ufffe\uffff]"
)
LONGEST = 80
"""Largest number of characters of a value in a message, about."""


def printable(text: str, *, keep: str = "") -> str:
    """`text` with every hidden character as an escape, except those in `keep`."""
    return _HIDDEN.sub(lambda match: match[0] if match[0] in keep else _escape(match[0]), text)


def is_printable(text: str) -> bool:
    """Whether `text` has no hidden characters."""
    return _HIDDEN.search(text) is None


def shown(value: object, *, most: int = LONGEST) -> str:
    """`value` for a message: text in quotes, cut to about `most` characters."""
    if isinstance(value, int) and value.bit_length() > 256:
        return f"an integer of {value.bit_length():,} bits"
    if isinstance(value, str) and len(value) > most:
        return f"{printable(repr(value[:most]))}... ({len(value):,} characters)"
    return cut(printable(repr(value)), most=most)


def one_line(text: str, *, most: int = LONGEST) -> str:
    """`text` for a message, without quotes: white space collapsed, cut to `most` characters."""
    return cut(printable(" ".join(text.split())), most=most)


def passage(text: str, *, most: int) -> str:
    """A text of several lines for display: hidden characters as escapes, without its middle if it
    is longer than `most` characters.
    """
    return cut(printable(text, keep="\n\t"), most=most)


def cut(text: str, *, most: int) -> str:
    """`text` without its middle if it is longer than `most` characters."""
    if len(text) <= most:
        return text
    end = most // 3
    return f"{text[: most - end - 5]} ... {text[-end:]}"


def _escape(character: str) -> str:
    return character.encode("unicode_escape").decode("ascii")


def clock(seconds: float) -> str:
    """`seconds` in hours and minutes, minutes and seconds, or seconds."""
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes:02d} min"
    return f"{minutes} min {rest:02d} s" if minutes else f"{rest} s"
