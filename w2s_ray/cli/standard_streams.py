"""Standard output and error: limited encodings and closed pipes.

Owns the replacements of characters that the encoding (ASCII in the C locale, Latin-1) lacks, so
that printing a table never fails. Owns the exit of a command when the reader of its output has
closed the pipe, as `head` does. It prints nothing; `w2s_ray.plain_console` does.
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
"""Character that tables use -> ASCII character. All other characters are escaped."""
NAME = "w2s-replacements"

CLOSED = 128 + signal.SIGPIPE
"""Exit code of a command after a closed pipe; the code that shells report for SIGPIPE."""


@contextlib.contextmanager
def exits_on_closed_pipe() -> Iterator[None]:
    """Context in which a closed pipe ends the command without a message."""
    try:
        yield
    except SystemExit as end:  # typer and Rich exit with code 1 at this error
        if end.code == 1 and isinstance(end.__context__, BrokenPipeError):
            _exit()
        raise
    except BrokenPipeError:
        if not pipe_closed():
            raise
        _exit()
    finally:
        try:
            sys.stdout.flush()
            sys.stderr.flush()
        except BrokenPipeError:
            _exit()


def pipe_closed() -> bool:
    """Whether the reader of standard output or error has closed the pipe."""
    poll = select.poll()
    for number in (1, 2):
        poll.register(number, 0)
    return any(event & select.POLLERR for _, event in poll.poll(0))


def _exit() -> None:
    """Exit; buffered output is discarded."""
    null = os.open(os.devnull, os.O_WRONLY)
    for number in (1, 2):
        os.dup2(null, number)
    sys.exit(CLOSED)


def replace_unencodable() -> None:
    """Make standard output and error replace characters that their encoding lacks."""
    codecs.register_error(NAME, _replacement)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors=NAME)


def _replacement(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    characters = error.object[error.start : error.end]
    escaped = (c.encode("ascii", "backslashreplace").decode() for c in characters)
    replaced = (REPLACEMENTS.get(c, e) for c, e in zip(characters, escaped, strict=True))
    return "".join(replaced), error.end
