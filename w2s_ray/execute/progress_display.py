"""One progress display: how far each running fit is, how much is left, how long it will take.

Owns the estimate of the time left, and what the terminal shows of the board (live on a terminal,
one line per ended run elsewhere). It decides nothing.
"""

from __future__ import annotations

import contextlib
import statistics
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

from w2s_ray.durations import clock
from w2s_ray.execute.pending_nodes import PendingCapacity
from w2s_ray.plain_console import PlainConsole
from w2s_ray.status.run_state import ProgressSnapshot

SAY_AGAIN_S = 60.0
"""How often a log that is no terminal is told of the same wait for nodes."""


@dataclass
class ProgressCounts:
    """What the driver knows of the whole sweep at one moment."""

    names: dict[str, str]
    """Run id -> what to call it."""
    kinds: dict[str, str]
    """Run id -> the kind of fit that durations are compared within (its model)."""
    total: int = 0
    """Fits in all, trials and refits included, as far as is known."""
    done: int = 0
    failed: int = 0
    blocked: int = 0
    running: list[str] = field(default_factory=list)
    todo: list[str] = field(default_factory=list)
    """Kinds of the fits still to do, those running among them."""
    at_once: int = 1
    wanted: PendingCapacity | None = None
    """The nodes that fits wait for."""

    def left_s(self, seen: ProgressSnapshot) -> float | None:
        """Estimated seconds left, or None before the first fit has ended."""
        every = [s for durations in seen.seconds.values() for s in durations]
        if not every:
            return None
        usual = {kind: statistics.fmean(d) for kind, d in seen.seconds.items() if d}
        overall = statistics.fmean(every)
        work = sum(usual.get(kind, overall) for kind in self.todo)
        work -= sum(
            usual.get(self.kinds.get(run, ""), overall) * step / max(total, 1)
            for run, (step, total) in seen.steps.items()
        )
        return max(0.0, work / max(1, min(self.at_once, len(self.todo) or 1)))


class ProgressDisplay:
    """Shows a tally; a context manager."""

    def __init__(self, console: PlainConsole, progress_tracker: Any) -> None:
        self._console = console
        self._progress_tracker = progress_tracker
        self._live: Live | None = None
        self.seen = ProgressSnapshot()
        self._asked: Any = None
        self._started = time.monotonic()
        self._said = ""
        self._said_at = 0.0

    def __enter__(self) -> ProgressDisplay:
        if self._console.is_terminal:
            self._live = Live(console=self._console, refresh_per_second=4, transient=True)
            self._live.__enter__()
        return self

    def __exit__(self, *details: Any) -> None:
        if self._live is not None:
            self._live.__exit__(*details)
            self._live = None

    def show(self, tally: ProgressCounts) -> None:
        """Bring what the terminal shows up to date."""
        self._ask_board()
        if self._live is not None:
            self._live.update(self._picture(tally))
        elif tally.wanted is not None and self._due(tally.wanted):
            self.line(Text(tally.wanted.said_at(time.time()), style="yellow"), tally)

    def line(self, text: str | Text, tally: ProgressCounts) -> None:
        """Say that something has ended."""
        left = tally.left_s(self.seen)
        when = f"{clock(time.monotonic() - self._started)}"
        rest = f", about {clock(left)} left" if left and left >= 1 else ""
        counts = f"({tally.done}/{tally.total} after {when}{rest})"
        self._console.print(Text.assemble(text, "  ", (counts, "dim")), soft_wrap=True)

    def _due(self, wanted: PendingCapacity) -> bool:
        """Whether a log is told of nodes again: they are others now, or it has been long."""
        now = time.monotonic()
        due = wanted.said != self._said or now - self._said_at > SAY_AGAIN_S
        if due:
            self._said, self._said_at = wanted.said, now
        return due

    def _ask_board(self) -> None:
        """Take the board's last answer, without ever waiting for one."""
        if self._asked is None:
            self._asked = self._progress_tracker.snapshot.remote()
        answered, _ = ray.wait([self._asked], timeout=0)
        if answered:
            with contextlib.suppress(ray.exceptions.RayActorError):  # it comes back, empty
                answer: Any = ray.get(self._asked)
                self.seen = answer
            self._asked = None

    def _picture(self, tally: ProgressCounts) -> Group:
        left = tally.left_s(self.seen)
        head = Text.assemble(
            (f"{tally.done} done", "green"),
            f" of {tally.total}  ",
            (f"{len(self.seen.steps)} running  ", "cyan"),
            (f"{tally.failed} failed  ", "red" if tally.failed else "dim"),
            (f"{tally.blocked} blocked  " if tally.blocked else "", "yellow"),
            (f"{clock(time.monotonic() - self._started)} so far", "dim"),
            (f", about {clock(left)} left" if left is not None else "", "dim"),
        )
        bars = Table.grid(padding=(0, 1))
        for run_id in tally.running:
            if run_id in self.seen.trials:
                states = self.seen.trials[run_id]
                said = ", ".join(f"{n} {state}" for state, n in states.items() if n)
                bars.add_row(tally.names.get(run_id, run_id), "", f"trials: {said}")
        for run_id, (step, total) in list(self.seen.steps.items())[:12]:
            name = tally.names.get(run_id, f"trial {run_id[:8]}")
            bars.add_row(
                name, ProgressBar(total=total, completed=step, width=30), f"{step}/{total}"
            )
        whole = ProgressBar(total=max(tally.total, 1), completed=tally.done, width=50)
        waits = [Text(tally.wanted.said_at(time.time()), style="yellow")] if tally.wanted else []
        return Group(head, whole, *waits, bars)
