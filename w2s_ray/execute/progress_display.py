"""The progress display: the steps of running fits, the number of fits left, and the time left.

Owns what is printed of the progress tracker's snapshot: live on a terminal and in a notebook, one
line per ended run elsewhere. `status.time_left` estimates the time left.
"""

from __future__ import annotations

import contextlib
import math
import time
from dataclasses import dataclass, field
from typing import Any

import ray
import ray.exceptions
from rich.console import Group
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from w2s_ray.execute.pending_nodes import PendingCapacity
from w2s_ray.notebook import NotebookConsole
from w2s_ray.plain_console import PlainConsole
from w2s_ray.printable import clock
from w2s_ray.status.run_state import ProgressSnapshot

REPEAT_S = 60.0
"""How often a wait for nodes and downloads are printed where the output is no terminal."""
MOST_LINES = 12
"""Most fits in the picture, and most downloads."""


@dataclass
class ProgressCounts:
    """The counts of a whole sweep at one moment."""

    names: dict[str, str]
    """Run id -> its name."""
    total: int = 0
    """Known fits in all, trials and refits included."""
    done: int = 0
    failed: int = 0
    blocked: int = 0
    running: list[str] = field(default_factory=list)
    at_once: int = 1
    left_s: float | None = None
    """Estimated seconds left; None before the first fit has ended."""
    pending: PendingCapacity | None = None
    """The nodes that fits wait for."""


class ProgressDisplay:
    """Displays a sweep's counts and running fits; a context manager."""

    def __init__(self, console: PlainConsole, progress_tracker: Any) -> None:
        self._console = console
        self._progress_tracker = progress_tracker
        self._live: Live | NotebookConsole | None = None
        self.snapshot = ProgressSnapshot()
        self._call: Any = None
        self._started = time.monotonic()
        self._printed_pending = ""
        self._printed_at = 0.0
        self._downloads_printed_at = -math.inf

    def __enter__(self) -> ProgressDisplay:
        if isinstance(self._console, NotebookConsole):
            self._live = self._console
        elif self._console.is_terminal:
            self._live = Live(console=self._console, refresh_per_second=4, transient=True)
            self._live.__enter__()
        return self

    def __exit__(self, *details: Any) -> None:
        if isinstance(self._live, Live):
            self._live.__exit__(*details)
        elif self._live is not None:
            self._live.update(None)
        self._live = None

    def update(self, counts: ProgressCounts) -> None:
        """Update the display."""
        self._update_snapshot()
        if self._live is not None:
            self._live.update(self._picture(counts))
            return
        if counts.pending is not None and self._is_due(counts.pending):
            self.print_line(Text(counts.pending.text_at(time.time()), style="yellow"), counts)
        self._print_downloads(counts)

    def print_line(self, text: str | Text, counts: ProgressCounts) -> None:
        """Print a line that stays, with the counts and the time left."""
        left = counts.left_s
        when = f"{clock(time.monotonic() - self._started)}"
        rest = f", about {clock(left)} left" if left and left >= 1 else ""
        suffix = f"({counts.done}/{counts.total} after {when}{rest})"
        self._console.print(Text.assemble(text, "  ", (suffix, "dim")), soft_wrap=True)

    def _print_downloads(self, counts: ProgressCounts) -> None:
        """Print the downloads of models, every `REPEAT_S`."""
        now = time.monotonic()
        if self.snapshot.fetched and now - self._downloads_printed_at > REPEAT_S:
            self._downloads_printed_at = now
            for run_id in list(self.snapshot.fetched)[:MOST_LINES]:
                name = counts.names.get(run_id, f"trial {run_id[:8]}")
                self.print_line(f"{name}: {self.snapshot.fetched_text(run_id)}", counts)

    def _is_due(self, pending: PendingCapacity) -> bool:
        """Whether pending nodes are printed again: they have changed, or `REPEAT_S` has passed."""
        now = time.monotonic()
        due = pending.text != self._printed_pending or now - self._printed_at > REPEAT_S
        if due:
            self._printed_pending, self._printed_at = pending.text, now
        return due

    def _update_snapshot(self) -> None:
        """Take the progress tracker's last reply; never waits for one."""
        if self._call is None:
            self._call = self._progress_tracker.snapshot.remote()
        ready, _ = ray.wait([self._call], timeout=0)
        if ready:
            with contextlib.suppress(ray.exceptions.RayActorError):  # it restarts empty
                snapshot: Any = ray.get(self._call)
                self.snapshot = snapshot
            self._call = None

    def _starting(self) -> int:
        """The number of fits whose worker starts, or which read their model and rows."""
        return sum(
            state.state in ("starting", "running") and "devices" in state.about
            for run, state in self.snapshot.run_states.items()
            if run not in self.snapshot.steps
        )

    def _picture(self, counts: ProgressCounts) -> Group:
        left, starting = counts.left_s, self._starting()
        head = Text.assemble(
            (f"{counts.done} done", "green"),
            f" of {counts.total}  ",
            (f"{len(self.snapshot.steps)} running  ", "cyan"),
            (f"{starting} starting  " if starting else "", "dim"),
            (f"{counts.failed} failed  ", "red" if counts.failed else "dim"),
            (f"{counts.blocked} blocked  " if counts.blocked else "", "yellow"),
            (f"{clock(time.monotonic() - self._started)} so far", "dim"),
            (f", about {clock(left)} left" if left is not None else "", "dim"),
        )
        bars = Table.grid(padding=(0, 1))
        for run_id in counts.running:
            if run_id in self.snapshot.trials:
                states = self.snapshot.trials[run_id]
                trials = ", ".join(f"{n} {state}" for state, n in states.items() if n)
                bars.add_row(counts.names.get(run_id, run_id), "", f"trials: {trials}")
        for run_id, (step, total) in list(self.snapshot.steps.items())[:MOST_LINES]:
            name = counts.names.get(run_id, f"trial {run_id[:8]}")
            bars.add_row(
                name, ProgressBar(total=total, completed=step, width=30), f"{step}/{total}"
            )
        for run_id, (done, total) in list(self.snapshot.fetched.items())[:MOST_LINES]:
            name, text = counts.names.get(run_id), self.snapshot.fetched_text(run_id)
            bar = ProgressBar(total=total, completed=done, width=30)
            bars.add_row(name or f"trial {run_id[:8]}", bar, text)
        whole = ProgressBar(total=max(counts.total, 1), completed=counts.done, width=50)
        pending = counts.pending
        waits = [Text(pending.text_at(time.time()), style="yellow")] if pending else []
        return Group(head, whole, *waits, bars)
