"""Notes below what a command shows: the warnings of the store, about files that it left out.

Owns when and how they are printed. It imports nothing heavy, since every command needs it.
"""

from __future__ import annotations

import contextlib
import logging
import sys
from collections.abc import Iterator
from typing import Any

from typer.core import TyperCommand, TyperGroup

from w2s_ray.cli.standard_streams import exits_on_closed_pipe

STORE = "w2s_ray.store"
MOST = 20
"""Notes that are printed; of more, the number."""


class Commands(TyperGroup):
    """The commands, each followed by its notes."""

    def main(self, *args: Any, **options: Any) -> Any:
        with exits_on_closed_pipe():
            return super().main(*args, **options)

    def invoke(self, ctx: Any) -> Any:
        with notes_below():
            return super().invoke(ctx)


class SqlCommand(TyperCommand):
    """A command whose argument is SQL, which may begin with a comment (`-- ...`)."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        options = {option for parameter in self.params for option in parameter.opts}

        def is_sql(arg: str) -> bool:
            begins = arg.startswith("--") and arg.partition("=")[0] not in options
            return begins and any(character.isspace() for character in arg)

        return super().parse_args(ctx, [f"\n{arg}" if is_sql(arg) else arg for arg in args])


@contextlib.contextmanager
def notes_below() -> Iterator[None]:
    """Print warnings of the store when the context ends, each once, on standard error."""
    kept = _Kept()
    logger = logging.getLogger(STORE)
    logger.addHandler(kept)
    try:
        yield
    finally:
        logger.removeHandler(kept)
        kept.print()


class _Kept(logging.Handler):
    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self._notes: dict[str, None] = {}

    def emit(self, record: logging.LogRecord) -> None:
        self._notes[_printable(record.getMessage())] = None

    def print(self) -> None:
        notes = list(self._notes)
        more = [f"{len(notes) - MOST} more like these"] if len(notes) > MOST else []
        if notes:
            sys.stdout.flush()
        for note in [*notes[:MOST], *more]:
            print(f"note: {note}", file=sys.stderr, flush=True)


def _printable(text: str) -> str:
    """`text` in one line; file names and reasons of a store are data for the terminal."""
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text)
