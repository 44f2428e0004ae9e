"""The status of a sweep, displayed again and again until its driver ends.

Owns the repetition and its end. Several processes may watch a sweep; none affects it.
"""

from __future__ import annotations

import contextlib
import math
import time
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from pathlib import Path

from rich.live import Live

from w2s_ray.config import Sweep
from w2s_ray.errors import InputError
from w2s_ray.notebook import NotebookConsole, in_notebook
from w2s_ray.plain_console import PlainConsole
from w2s_ray.status.layout import status_layout
from w2s_ray.status.reader import StatusReader
from w2s_ray.status.values import Status
from w2s_ray.store import Store


def watch(sweep: Sweep, *, store: Store | str | Path | None = None, every_s: float = 2.0) -> None:
    """Show the progress of a sweep that runs elsewhere, every `every_s` seconds, until it ends.

    It is shown in place, in a notebook in one output of the cell. Ctrl-C, in a notebook the
    interrupt of the cell, ends the display; the sweep continues. `store` is by default that of the
    sweep.

    Raises:
        InputError: `every_s` is not positive; or the sweep can't be planned.
    """
    if not 0 < every_s < math.inf:
        raise InputError(f"every_s is {every_s}; give a number of seconds above 0")
    if not isinstance(store, Store):
        store = Store.open(store or sweep.store)
    console = NotebookConsole() if in_notebook() else PlainConsole()
    show(statuses(StatusReader(sweep, store).look, every_s=every_s), console=console)


def show(found: Iterable[Status], *, console: PlainConsole) -> None:
    """Display each status in place of the one before, until there are no more, or Ctrl-C."""
    update = console.update if isinstance(console, NotebookConsole) else None
    with contextlib.suppress(KeyboardInterrupt), contextlib.ExitStack() as stack:
        for status in found:
            if update is None:
                live = stack.enter_context(Live(console=console, auto_refresh=False))
                update = partial(live.update, refresh=True)
            update(status_layout(status))


def statuses(look: Callable[[], Status], *, every_s: float) -> Iterator[Status]:
    """What `look` returns, every `every_s` seconds, until no driver is running."""
    while True:
        status = look()
        yield status
        if not status.under_way:
            return
        time.sleep(every_s)
