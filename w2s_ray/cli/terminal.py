"""Standard output and error: characters that the encoding lacks, and closed pipes.

Owns the replacements for characters that Latin-1, ASCII (the C locale) or another old encoding
lacks, so that no command fails at printing its table after all is trained; UTF-8 lacks only lone
surrogates. A command whose reader has closed the pipe, as `head` does, exits silently.
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

REPLACEMENTS = {
    **{"→": ">", "–": "-", "·": ".", "±": "~", "×": "x", "…": "_", "↓": "v", "‖": "|"},
    **{"━": "-", "─": "-", "┃": "|", "│": "|", "╇": "+", "┼": "+"},
}
"""Character -> one of ASCII, for those that tables contain; every other one is escaped."""
HANDLER = "w2s-replacements"

CLOSED = 128 + signal.SIGPIPE
"""Exit code of a command whose reader has closed the pipe; shells give it for the signal."""


@contextlib.contextmanager
def exit_on_closed_pipe() -> Iterator[None]:
    """Exit with `CLOSED` and no message where the reader closes the pipe."""
    try:
        yield
    except SystemExit as end:  # how Typer and Rich exit at such an error
        if end.code == 1 and isinstance(end.__context__, BrokenPipeError):
            _exit()
        raise
    except BrokenPipeError:
        if not reader_left():
            raise
        _exit()
    finally:
        try:
            sys.stdout.flush()
            sys.stderr.flush()
        except BrokenPipeError:
            _exit()


def reader_left() -> bool:
    """Whether the reader of standard output or error has closed the pipe."""
    poll = select.poll()
    for number in (1, 2):
        poll.register(number, 0)
    return any(event & select.POLLERR for _, event in poll.poll(0))


def _exit() -> None:
    """Exit, discarding buffered output."""
    devnull = os.open(os.devnull, os.O_WRONLY)
    for number in (1, 2):
        os.dup2(devnull, number)
    sys.exit(CLOSED)


def replace_unencodable() -> None:
    """Let standard output and error replace characters that their encoding lacks."""
    codecs.register_error(HANDLER, _replacement)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors=HANDLER)


def _replacement(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    characters = error.object[error.start : error.end]
    escaped = (c.encode("ascii", "backslashreplace").decode() for c in characters)
    replaced = (REPLACEMENTS.get(c, e) for c, e in zip(characters, escaped, strict=True))
    return "".join(replaced), error.end
