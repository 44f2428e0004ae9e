"""Standard output and error of an encoding that lacks what is printed.

Owns what stands for a character that Latin-1, ASCII (the C locale) or another old encoding lacks,
so that no command dies of its own table after all is trained. UTF-8 lacks halves of pairs only.
"""

from __future__ import annotations

import codecs
import io
import sys

STAND_INS = {
    **{"→": ">", "–": "-", "·": ".", "±": "~", "×": "x", "…": "_", "↓": "v", "‖": "|"},
    **{"━": "-", "─": "-", "┃": "|", "│": "|", "╇": "+", "┼": "+"},
}
"""One character for each of ours; any other is escaped, so that it can be told what it was."""
NAME = "w2s-stand-ins"


def print_anything() -> None:
    """Have standard output and error take every text."""
    codecs.register_error(NAME, _stand_in)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors=NAME)


def _stand_in(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    characters = error.object[error.start : error.end]
    escaped = (c.encode("ascii", "backslashreplace").decode() for c in characters)
    found = (STAND_INS.get(c, e) for c, e in zip(characters, escaped, strict=True))
    return "".join(found), error.end
