"""The steps of a command before and after its fits, printed as they begin.

Owns how a step looks: on a terminal a spinner, with a bar where its parts are counted; in a
notebook the last line; elsewhere a line, and for a long step one more at times. It takes none of
these steps.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator

from rich.progress import BarColumn, Progress, ProgressColumn, SpinnerColumn, Task, TextColumn
from rich.text import Text

from w2s_ray.notebook import NotebookConsole
from w2s_ray.plain_console import PlainConsole
from w2s_ray.printable import clock

REPEAT_S = 10.0
"""How often the parts of a step are printed where the output is no terminal."""
LONG_S = 2.0
"""Seconds from which on a terminal keeps a line of a step with its time."""
Advance = Callable[[str], None]
"""Called with the name of each part of a step, as it begins."""


@contextlib.contextmanager
def step(console: PlainConsole, text: str, *, parts: int = 0) -> Iterator[Advance]:
    """Print that the step `text` of so many parts lasts, within the context."""
    started = time.monotonic()
    if isinstance(console, NotebookConsole):
        with console.status(text) as shown:
            yield lambda part: shown.update(f"{text}: {part}")
        return
    if not console.is_interactive:
        console.print(text, soft_wrap=True)
        yield _lines(console, text, parts)
        return
    bar = [BarColumn(bar_width=30)] if parts else []
    columns: list[ProgressColumn] = [
        SpinnerColumn(),
        TextColumn("{task.description}", markup=False),
    ]
    bars = Progress(
        *columns, *bar, _Seconds(), console=console, transient=True, redirect_stdout=False
    )
    with bars as progress:
        task = progress.add_task(text, total=parts or None)
        begun = 0

        def advance(part: str) -> None:
            nonlocal begun
            progress.update(task, description=f"{text}: {part}", completed=begun)
            begun += 1

        yield advance
    seconds = time.monotonic() - started
    if seconds >= LONG_S:
        console.print(Text(f"{text}: {clock(seconds)}", style="dim"), soft_wrap=True)


def _lines(console: PlainConsole, text: str, parts: int) -> Advance:
    """Prints the part that has begun, every `REPEAT_S`."""
    printed, begun = time.monotonic(), 0

    def advance(part: str) -> None:
        nonlocal printed, begun
        begun += 1
        if time.monotonic() - printed >= REPEAT_S:
            printed = time.monotonic()
            console.print(f"{text}: {part} ({begun} of {parts})", soft_wrap=True)

    return advance


class _Seconds(ProgressColumn):
    """The time of the step so far."""

    def render(self, task: Task) -> Text:
        return Text(clock(task.elapsed or 0.0), style="dim")
