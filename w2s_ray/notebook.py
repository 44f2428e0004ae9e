"""Output of a notebook: one output of a cell that each update replaces.

Owns the test whether this process is the kernel of a notebook, and the console that is used there.
Rich's own support of notebooks needs ipywidgets and adds an output for every line. IPython is
imported only where it runs.
"""

from __future__ import annotations

import io
import logging
import sys
import uuid
import warnings
from typing import Any

from rich.console import Group, RenderableType
from rich.status import Status
from rich.text import Text

from w2s_ray.plain_console import PlainConsole

WIDTH = 110
"""Columns of an output."""
_PRE = '<pre style="margin: 0; line-height: 1.3">{code}</pre>'


def in_notebook() -> bool:
    """Whether this process is a kernel, whose outputs can be replaced."""
    if "IPython" not in sys.modules:
        return False
    from IPython import get_ipython

    return getattr(get_ipython(), "kernel", None) is not None


def progress_console() -> PlainConsole:
    """The console for progress: standard error, or an output of the running cell."""
    if not in_notebook():
        return PlainConsole(stderr=True)
    # Importing tqdm and Ray prints in the cell that ipywidgets is missing; nothing here needs it.
    warnings.filterwarnings("ignore", message="IProgress not found", module="tqdm")
    logging.getLogger("ray.widgets").setLevel(logging.WARNING)
    return NotebookConsole()


class NotebookConsole(PlainConsole):
    """One output of the running cell: warnings, the progress, and the last line."""

    def __init__(self) -> None:
        super().__init__()
        self._display_id: str | None = None
        self._warnings: list[Text] = []
        self._progress: RenderableType | None = None
        self.last_line: RenderableType | None = None

    def print(self, *objects: Any, **options: Any) -> None:
        """Replace the last line by `objects`; without them there is none."""
        self.last_line = Group(*objects) if objects else None
        self._display()

    def warn(self, text: Text) -> None:
        """Show a line that stays."""
        self._warnings.append(text)
        self._display()

    def update(self, progress: RenderableType | None) -> None:
        """Replace the progress; None ends it."""
        self._progress = progress
        self._display()

    def status(self, status: RenderableType, **options: Any) -> Status:
        """A context in which `status` is the last line, without an animation."""
        return _NotebookStatus(status, self)

    def _display(self) -> None:
        from IPython.display import display

        parts = (*self._warnings, self._progress, self.last_line)
        shown = Group(*(part for part in parts if part is not None))
        is_first = self._display_id is None
        self._display_id = self._display_id or uuid.uuid4().hex
        display(_formats(shown), raw=True, display_id=self._display_id, update=not is_first)


class _NotebookStatus(Status):
    def __init__(self, status: RenderableType, console: NotebookConsole) -> None:
        super().__init__(status, console=console)
        self._output = console
        self._before: RenderableType | None = None

    def start(self) -> None:
        self._before = self._output.last_line
        self._output.print(self.status)

    def stop(self) -> None:
        self._output.print(*([] if self._before is None else [self._before]))

    def update(self, status: RenderableType | None = None, **options: Any) -> None:
        self.status = self.status if status is None else status
        self._output.print(self.status)


def _formats(shown: RenderableType) -> dict[str, str]:
    """`shown` as text and as HTML, for `display`."""
    page = PlainConsole(file=io.StringIO(), width=WIDTH)
    page.record = True
    page.print(shown)
    return {
        "text/plain": page.export_text(clear=False),
        "text/html": page.export_html(inline_styles=True, code_format=_PRE),
    }
