"""The scribe: one small process that tells trackers of fits, beside the sweep.

Owns a queue and a thread for each tracker, so that one that hangs holds up neither the others nor
any fit. The first error ends a tracker for this call, and is kept as a warning. What it is told
twice, since a watch was begun again, it tells once.
"""

from __future__ import annotations

import os
import queue
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from w2s_ray.config import Trackers
from w2s_ray.fits.outcome import reason_of
from w2s_ray.trackers import clients
from w2s_ray.trackers.clients import TrackerRun
from w2s_ray.trackers.tracked import Figures, Tracked


@dataclass(frozen=True)
class Told:
    """One thing to tell of a fit."""

    fit: Tracked
    step: int
    figures: Figures
    ended: str | None = None
    """done, failed or pruned, where the fit has ended."""


class TrackerActor:
    """An actor: takes what there is to tell, and answers at once."""

    def __init__(
        self, trackers: Trackers, *, sweep: str, folder: str, environment: Mapping[str, str]
    ) -> None:
        os.chdir(folder)
        os.environ.update(environment)
        self._heard: dict[str, int] = {}
        """Fit -> its last evaluation that was told."""
        self._done: set[str] = set()
        """Fits that were told to be done: several may watch over one, and each tells its end."""
        self._desks = [TrackerThread(name, trackers, sweep=sweep) for name in trackers.chosen]

    def evaluated(self, fit: Tracked, number: int, step: int, figures: Figures) -> None:
        """A fit has evaluated for the `number`-th time (from 1)."""
        if fit.run not in self._done and number > self._heard.get(fit.run, 0):
            self._heard[fit.run] = number
            self._tell(Told(fit, step, figures))

    def ended(self, fit: Tracked, status: str, step: int, figures: Figures) -> None:
        """A fit has ended: done, failed or pruned."""
        self._heard.pop(fit.run, None)
        if fit.run in self._done:
            return
        if status == "done":
            self._done.add(fit.run)
        self._tell(Told(fit, step, figures, ended=status))

    def troubles(self) -> dict[str, str]:
        """Tracker -> what went wrong with it."""
        return {desk.name: desk.trouble for desk in self._desks if desk.trouble}

    def close(self) -> None:
        """Nothing more will be told."""
        for desk in self._desks:
            desk.close()

    def busy(self) -> dict[str, int]:
        """Tracker -> how much it is still to be told, of those that have not ended."""
        return {desk.name: desk.waiting for desk in self._desks if desk.is_open}

    def _tell(self, told: Told) -> None:
        for desk in self._desks:
            desk.tell(told)


class TrackerThread:
    """One tracker: its queue and its thread."""

    def __init__(self, name: str, trackers: Trackers, *, sweep: str) -> None:
        self.name = name
        self.trouble = ""
        self._trackers = trackers
        self._sweep = sweep
        self._queue: queue.SimpleQueue[Told | None] = queue.SimpleQueue()
        self._runs: dict[str, TrackerRun] = {}
        """Fit that has not ended -> its run in the tracker."""
        self._ended: list[TrackerRun] = []
        self._thread = threading.Thread(target=self._run, name=f"w2s-{name}", daemon=True)
        self._thread.start()

    @property
    def is_open(self) -> bool:
        """Whether it has not ended yet."""
        return self._thread.is_alive()

    @property
    def waiting(self) -> int:
        """How much it is still to be told."""
        return self._queue.qsize()

    def tell(self, told: Told) -> None:
        """Have something told, in time."""
        if not self.trouble:
            self._queue.put(told)

    def close(self) -> None:
        """Nothing more comes."""
        self._queue.put(None)

    def _run(self) -> None:
        try:
            start = clients.opener_of(self.name, self._trackers, sweep=self._sweep)
            while (told := self._queue.get()) is not None:
                self._write(start, told)
            for fit in list(self._runs):
                self._finish(fit, "stopped")
            for run in self._ended:
                run.wait()
        except Exception as error:  # noqa: BLE001 - a tracker's failure is a warning
            self.trouble = reason_of(error)

    def _write(self, start: Callable[[Tracked], TrackerRun], told: Told) -> None:
        fit = told.fit.run
        if fit not in self._runs:
            self._runs[fit] = start(told.fit)
        if told.figures:
            self._runs[fit].log(told.step, told.figures)
        if told.ended is not None:
            self._finish(fit, told.ended)

    def _finish(self, fit: str, status: str) -> None:
        run = self._runs.pop(fit)
        run.finish(status)
        self._ended.append(run)
