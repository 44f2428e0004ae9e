"""Standard output and error: an encoding that lacks what is printed, a reader that has left.

Owns what stands for a character that Latin-1, ASCII (the C locale) or another old encoding lacks,
so that no command dies of its own table after all is trained; UTF-8 lacks halves of pairs only.
Owns the quiet end of a command whose reader has closed the pipe, as `head` does.
"""

from __future__ import annotations

import codecs
import contextlib
import io
import os
import select
import signal
import sys
from collections.abc import Iterator

STAND_INS = {
    **{"→": ">", "–": "-", "·": ".", "±": "~", "×": "x", "…": "_", "↓": "v", "‖": "|"},
    **{"━": "-", "─": "-", "┃": "|", "│": "|", "╇": "+", "┼": "+"},
}
"""One character for each of ours; any other is escaped, so that it can be told what it was."""
NAME = "w2s-stand-ins"

CLOSED = 128 + signal.SIGPIPE
"""Exit code of a command whose reader has closed the pipe; shells give it for the signal."""


@contextlib.contextmanager
def ends_with_its_reader() -> Iterator[None]:
    """Within it, a reader that closes the pipe ends the command, without a word."""
    try:
        yield
    except SystemExit as end:  # typer's own and Rich's end at such an error
        if end.code == 1 and isinstance(end.__context__, BrokenPipeError):
            _end()
        raise
    except BrokenPipeError:
        if not reader_left():
            raise
        _end()
    finally:
        try:
            sys.stdout.flush()
            sys.stderr.flush()
        except BrokenPipeError:
            _end()


def reader_left() -> bool:
    """Whether nobody reads standard output or error any more."""
    poll = select.poll()
    for number in (1, 2):
        poll.register(number, 0)
    return any(event & select.POLLERR for _, event in poll.poll(0))


def _end() -> None:
    """Exit; what is still to be written goes nowhere."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    for number in (1, 2):
        os.dup2(nowhere, number)
    sys.exit(CLOSED)


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
