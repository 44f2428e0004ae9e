"""The scribe: one small process that tells trackers of fits, beside the sweep.

Owns a queue and a thread for each tracker, so that one that hangs holds up neither the others nor
any fit. The first error ends a tracker for this call, and is kept as a warning. What it is told
twice, since a watch was begun again, it tells once.
"""

from __future__ import annotations

import os
import queue
import shutil
import tempfile
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from w2s_ray.config import Trackers
from w2s_ray.execute.trackers.tracked import Figures, Tracked
from w2s_ray.fits.outcome import reason_of


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
        self._scratch = Path(tempfile.mkdtemp(prefix="w2s-trackers-"))
        self._heard: dict[str, int] = {}
        """Fit -> its last evaluation that was told."""
        self._done: set[str] = set()
        """Fits that were told to be done: several may watch over one, and each tells its end."""
        self._desks = [
            TrackerThread(name, trackers, sweep=sweep, folder=self._folder(name, trackers, sweep))
            for name in trackers.chosen
        ]

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
        found = {desk.name: desk.waiting for desk in self._desks if desk.is_open}
        if not found:
            shutil.rmtree(self._scratch, ignore_errors=True)
        return found

    def _tell(self, told: Told) -> None:
        for desk in self._desks:
            desk.tell(told)

    def _folder(self, name: str, trackers: Trackers, sweep: str) -> Path:
        if name == "tensorboard" and trackers.tensorboard is not None:
            return Path(trackers.tensorboard.folder).absolute() / sweep
        return self._scratch / name


class TrackerThread:
    """One tracker: its queue and its thread."""

    def __init__(self, name: str, trackers: Trackers, *, sweep: str, folder: Path) -> None:
        self.name = name
        self.trouble = ""
        self._trackers = trackers
        self._sweep = sweep
        self._folder = folder
        self._queue: queue.SimpleQueue[Told | None] = queue.SimpleQueue()
        self._known: dict[str, Any] = {}
        """Fit that has not ended -> its stand-in for a trial."""
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
            from w2s_ray.execute.trackers.callbacks import callback_of

            callback: Any = callback_of(self.name, self._trackers, sweep=self._sweep)
            self._tell_all(callback)
        except Exception as error:  # noqa: BLE001 - a tracker's failure is a warning
            self.trouble = reason_of(error)

    def _tell_all(self, callback: Any) -> None:
        while (told := self._queue.get()) is not None:
            trial = self._trial(told.fit, callback.on_trial_start)
            if told.figures:
                result = {**told.figures, "training_iteration": told.step}
                callback.on_trial_result(iteration=told.step, trials=[], trial=trial, result=result)
            if told.ended is not None:
                end = callback.on_trial_error if told.ended == "failed" else None
                (end or callback.on_trial_complete)(iteration=told.step, trials=[], trial=trial)
                del self._known[told.fit.run]
        callback.on_experiment_end(trials=[])

    def _trial(self, fit: Tracked, start: Callable[..., None]) -> Any:
        """The stand-in for `fit`, which is begun if it is new."""
        from w2s_ray.execute.trackers.callbacks import trial_like

        if fit.run not in self._known:
            trial = trial_like(fit, sweep=self._sweep, folder=self._folder)
            trial.init_local_path()
            start(iteration=0, trials=[], trial=trial)
            self._known[fit.run] = trial
        return self._known[fit.run]
