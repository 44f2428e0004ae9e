"""The tracker actor: one small process beside the sweep that reports fits to trackers.

Owns a queue and a thread for each tracker, so that a slow tracker delays neither the others nor any
fit. The first error ends a tracker for this run of the sweep, and becomes a warning. Evaluations
that are sent twice, after a restart, are reported once.
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
from w2s_ray.trackers.tracked import Metrics, TrackedFit


@dataclass(frozen=True)
class FitUpdate:
    """New metrics of a fit, or its end."""

    fit: TrackedFit
    step: int
    metrics: Metrics
    ended: str | None = None
    """done, failed or pruned, where the fit has ended."""


class TrackerActor:
    """An actor that queues updates and returns at once."""

    def __init__(
        self, trackers: Trackers, *, sweep: str, folder: str, environment: Mapping[str, str]
    ) -> None:
        os.chdir(folder)
        os.environ.update(environment)
        self._evaluations: dict[str, int] = {}
        """Fit -> number of its last evaluation."""
        self._done: set[str] = set()
        """Done fits: several processes may monitor one fit, and each sends its end."""
        self._threads = [TrackerThread(name, trackers, sweep=sweep) for name in trackers.chosen]

    def evaluated(self, fit: TrackedFit, number: int, step: int, metrics: Metrics) -> None:
        """Add a fit's evaluation; `number` counts from 1."""
        if fit.run not in self._done and number > self._evaluations.get(fit.run, 0):
            self._evaluations[fit.run] = number
            self._put(FitUpdate(fit, step, metrics))

    def ended(self, fit: TrackedFit, status: str, step: int, metrics: Metrics) -> None:
        """Add a fit's end: done, failed or pruned."""
        self._evaluations.pop(fit.run, None)
        if fit.run in self._done:
            return
        if status == "done":
            self._done.add(fit.run)
        self._put(FitUpdate(fit, step, metrics, ended=status))

    def errors(self) -> dict[str, str]:
        """Tracker -> its error."""
        return {thread.name: thread.error for thread in self._threads if thread.error}

    def close(self) -> None:
        """End each tracker's thread once its queue is empty."""
        for thread in self._threads:
            thread.close()

    def backlog(self) -> dict[str, int]:
        """Tracker that has not ended -> number of its queued updates."""
        return {thread.name: thread.backlog for thread in self._threads if thread.is_alive}

    def _put(self, update: FitUpdate) -> None:
        for thread in self._threads:
            thread.put(update)


class TrackerThread:
    """One tracker: its queue and its thread."""

    def __init__(self, name: str, trackers: Trackers, *, sweep: str) -> None:
        self.name = name
        self.error = ""
        self._trackers = trackers
        self._sweep = sweep
        self._queue: queue.SimpleQueue[FitUpdate | None] = queue.SimpleQueue()
        self._runs: dict[str, TrackerRun] = {}
        """Fit that has not ended -> its run in the tracker."""
        self._ended: list[TrackerRun] = []
        self._thread = threading.Thread(target=self._run, name=f"w2s-{name}", daemon=True)
        self._thread.start()

    @property
    def is_alive(self) -> bool:
        """Whether it has not ended yet."""
        return self._thread.is_alive()

    @property
    def backlog(self) -> int:
        """Number of queued updates."""
        return self._queue.qsize()

    def put(self, update: FitUpdate) -> None:
        """Queue an update, unless the tracker has failed."""
        if not self.error:
            self._queue.put(update)

    def close(self) -> None:
        """End the thread after the queued updates."""
        self._queue.put(None)

    def _run(self) -> None:
        try:
            open_run = clients.run_factory(self.name, self._trackers, sweep=self._sweep)
            while (update := self._queue.get()) is not None:
                self._write(open_run, update)
            for fit in list(self._runs):
                self._finish(fit, "stopped")
            for run in self._ended:
                run.wait()
        except Exception as error:  # noqa: BLE001 - a tracker's failure is a warning
            self.error = reason_of(error)

    def _write(self, open_run: Callable[[TrackedFit], TrackerRun], update: FitUpdate) -> None:
        fit = update.fit.run
        if fit not in self._runs:
            self._runs[fit] = open_run(update.fit)
        if update.metrics:
            self._runs[fit].log(update.step, update.metrics)
        if update.ended is not None:
            self._finish(fit, update.ended)

    def _finish(self, fit: str, status: str) -> None:
        run = self._runs.pop(fit)
        run.finish(status)
        self._ended.append(run)
