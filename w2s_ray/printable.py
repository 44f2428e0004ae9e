r"""Text from users and stores, made fit to be shown: no control characters, bounded length.

Owns which characters are never sent to a terminal or a file as they are: control characters,
which a terminal obeys, marks that reverse the direction of text, and lone surrogates, which no
encoding has. They are shown as escapes (`\x1b`). Durations are formatted here too. It imports
nothing of the package.
"""

from __future__ import annotations

import re

_HIDDEN = re.compile(
    "[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff\ufffe\uffff]"
)
LONGEST = 80
"""Characters of a value in a message."""


def printable(text: str, *, keep: str = "") -> str:
    """`text` with every hidden character as an escape, except those in `keep`."""
    return _HIDDEN.sub(lambda found: found[0] if found[0] in keep else _escape(found[0]), text)


def is_printable(text: str) -> bool:
    """Whether `text` can be shown as it is."""
    return _HIDDEN.search(text) is None


def shown(value: object, *, most: int = LONGEST) -> str:
    """`value` for a message: text in quotes, everything at most about `most` characters long."""
    if isinstance(value, int) and value.bit_length() > 256:
        return f"an integer of {value.bit_length():,} bits"
    if isinstance(value, str) and len(value) > most:
        return f"{printable(repr(value[:most]))}... ({len(value):,} characters)"
    return cut(printable(repr(value)), most=most)


def cut(text: str, *, most: int) -> str:
    """`text`, of which the middle is left out where it is longer than `most`."""
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
