"""How commands run: within the error boundary, with messages of libraries on standard error.

Slow steps of planning are announced as they begin; the store's warnings are printed below the
output.

Imports nothing heavy, since every command uses it.
"""

from __future__ import annotations

import contextlib
import logging
import sys
from collections.abc import Iterator
from typing import Any

from typer.core import TyperCommand, TyperGroup

from w2s_ray.cli.errors import error_boundary
from w2s_ray.cli.standard_streams import exits_on_closed_pipe

STORE = "w2s_ray.store"
DATA = "w2s_ray.data"
MAX_NOTES = 20
"""Warnings that are printed; further ones are counted."""


class CommandGroup(TyperGroup):
    """The commands; the warnings of each are printed when it ends."""

    def main(self, *args: Any, **options: Any) -> Any:
        with exits_on_closed_pipe():
            return super().main(*args, **options)

    def invoke(self, ctx: Any) -> Any:
        with announcements(), warnings_below():
            return super().invoke(ctx)


class Command(TyperCommand):
    """A command whose exceptions end in an exit code."""

    def invoke(self, ctx: Any) -> Any:
        with error_boundary():
            return super().invoke(ctx)


class SqlCommand(Command):
    """A command whose argument is SQL, which may begin with a comment (`-- ...`)."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        options = {option for parameter in self.params for option in parameter.opts}

        def is_sql(arg: str) -> bool:
            begins = arg.startswith("--") and arg.partition("=")[0] not in options
            return begins and any(character.isspace() for character in arg)

        return super().parse_args(ctx, [f"\n{arg}" if is_sql(arg) else arg for arg in args])


@contextlib.contextmanager
def announcements() -> Iterator[None]:
    """Within it, slow steps of planning are announced on standard error, if it is a terminal."""
    if not sys.stderr.isatty():
        yield
        return
    announcer = _Announcer(logging.INFO)
    logger = logging.getLogger(DATA)
    level = logger.level
    logger.addHandler(announcer)
    logger.setLevel(logging.INFO)
    try:
        yield
    finally:
        logger.removeHandler(announcer)
        logger.setLevel(level)


@contextlib.contextmanager
def warnings_below() -> Iterator[None]:
    """On exit, print the store's distinct warnings on standard error."""
    collector = _WarningCollector()
    logger = logging.getLogger(STORE)
    logger.addHandler(collector)
    try:
        yield
    finally:
        logger.removeHandler(collector)
        collector.print()


class _Announcer(logging.Handler):
    def emit(self, record: logging.LogRecord) -> None:
        print(_printable(record.getMessage()), file=sys.stderr, flush=True)


class _WarningCollector(logging.Handler):
    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self._notes: dict[str, None] = {}

    def emit(self, record: logging.LogRecord) -> None:
        self._notes[_printable(record.getMessage())] = None

    def print(self) -> None:
        notes = list(self._notes)
        more = [f"{len(notes) - MAX_NOTES} more like these"] if len(notes) > MAX_NOTES else []
        if notes:
            sys.stdout.flush()
        for note in [*notes[:MAX_NOTES], *more]:
            print(f"note: {note}", file=sys.stderr, flush=True)


def _printable(text: str) -> str:
    """`text` in one line; file names and reasons of a store are data for the terminal."""
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text)
