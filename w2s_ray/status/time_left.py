"""The remaining time of a running sweep, for its driver: the estimate of `remaining`.

Owns when the store is read, by a thread of its own, since a store may reply late. `w2s status`
makes the same estimate from the same records.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from w2s_ray.plan import Plan
from w2s_ray.status.finished import FinishedRuns, fits_of
from w2s_ray.status.regularly import regularly
from w2s_ray.status.remaining import (
    FitToDo,
    estimate_remaining,
    fits_to_do,
    studies_to_do,
)
from w2s_ray.store import Store

if TYPE_CHECKING:
    from w2s_ray.status.run_state import ProgressSnapshot

MIN_INTERVAL_S = 2.0
"""Least seconds between two estimates."""
TIME_SHARE = 0.05
"""The share of time that may be spent on them."""


@dataclass(frozen=True)
class SweepProgress:
    """How far a sweep is, by its driver."""

    plan: Plan
    done: frozenset[str]
    lost: frozenset[str]
    """Runs that failed, or depend on one that failed."""
    snapshot: ProgressSnapshot
    at_once: int


class TimeLeft:
    """Estimates the remaining time of one sweep again and again."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._finished = FinishedRuns(store)
        self._estimate: tuple[float, float] | None = None
        """Remaining seconds, and when they were estimated."""

    def seconds(self) -> float | None:
        """The remaining seconds; None before the first fit has ended."""
        if self._estimate is None:
            return None
        left, at = self._estimate
        return max(0.0, left - (time.monotonic() - at))

    def estimate(self, progress: SweepProgress) -> None:
        """Read what is new in the store, and estimate."""
        plan, done = progress.plan, progress.done
        trials = self._finished.trials(plan, done)
        of_trials = fits_of(trials)
        runs = {*plan.fits, *plan.studies}
        self._finished.read((done & runs) | self._store.done(of_trials))
        pending = runs - done - progress.lost
        todo = fits_to_do(
            plan,
            pending=pending,
            lost=progress.lost,
            ended={study: len(found) for study, found in trials.items()},
        )
        remaining = estimate_remaining(
            todo,
            finished=self._finished.records.values(),
            running=_running(progress.snapshot),
            at_once=progress.at_once,
            studies=studies_to_do(plan, pending=pending, lost=progress.lost),
        )
        seconds = remaining.seconds if remaining is not None else None
        self._estimate = None if seconds is None else (seconds, time.monotonic())

    def following(self, progress: Callable[[], SweepProgress]) -> AbstractContextManager[None]:
        """Estimate regularly within the context."""
        return regularly(
            lambda: self.estimate(progress()),
            min_interval_s=MIN_INTERVAL_S,
            time_share=TIME_SHARE,
            name="w2s-time-left",
        )


def _running(snapshot: ProgressSnapshot) -> list[tuple[FitToDo, float]]:
    """The running fits, each with the share of its steps that is done."""
    found = []
    for run, (step, steps) in list(snapshot.steps.items()):
        state = snapshot.run_states.get(run)
        if state is not None and steps:
            about = state.about
            fit = FitToDo(str(about.get("task")), str(about.get("model")), about.get("method"))
            found.append((fit, step / steps))
    return found
