"""The budget of a running sweep: the device time spent, and when nothing new may start.

Owns the sum, which a thread of its own reads, since a store may reply late. Ended attempts count as
the store has them; running fits count from the assignment of their worker, by the progress tracker.
The driver ends the sweep when the budget is spent.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING

from w2s_ray.config.budget import Budget
from w2s_ray.plan import Plan
from w2s_ray.status.regularly import regularly
from w2s_ray.status.remaining import fits_to_do
from w2s_ray.status.spending import SpendingReader
from w2s_ray.store import Store

if TYPE_CHECKING:
    from w2s_ray.status.run_state import ProgressSnapshot

MIN_INTERVAL_S = 2.0
"""Least seconds between two reads of the store."""
TIME_SHARE = 0.1
"""The share of time that may be spent on reading a large store."""


class BudgetGuard:
    """Compares a sweep's device time with its budget. Without a budget it is never spent."""

    def __init__(self, budget: Budget | None, store: Store) -> None:
        self.budget = budget
        self.spent = False
        """It stays true once it is."""
        self.seconds = 0.0
        """Device seconds that are known to be spent."""
        self._spending = SpendingReader(store)
        self._ended_s = 0.0

    def count(self, plan: Plan) -> None:
        """Read the device seconds of `plan` from the store."""
        self._ended_s = self._spending.of_plan(plan).device_seconds
        self._add(self._ended_s)

    def following(self, plan: Callable[[], Plan]) -> AbstractContextManager[None]:
        """Read the store regularly within the context; `plan` may grow meanwhile."""
        if self.budget is None:
            return nullcontext()
        return regularly(
            lambda: self.count(plan()),
            min_interval_s=MIN_INTERVAL_S,
            time_share=TIME_SHARE,
            name="w2s-budget",
        )

    def is_spent(self, snapshot: ProgressSnapshot) -> bool:
        """Whether nothing new may start, with the running fits of `snapshot`."""
        if self.budget is not None:
            self._add(self._ended_s + running_device_s(snapshot, time.time()))
        return self.spent

    @property
    def spent_text(self) -> str | None:
        """The spent part of the budget, as text."""
        return None if self.budget is None else self.budget.spent(self.seconds)

    @property
    def stop_reason(self) -> str:
        """Why the sweep stops once the budget is spent."""
        assert self.budget is not None
        return f"its budget of {self.budget.text}"

    def _add(self, seconds: float) -> None:
        """Keep the maximum: a fit that has ended leaves the snapshot before the store has it."""
        self.seconds = max(self.seconds, seconds)
        if self.budget is not None and self.seconds >= self.budget.device_seconds:
            self.spent = True


def running_fits(snapshot: ProgressSnapshot) -> int:
    """The number of running fits."""
    return sum(s.state == "running" and "devices" in s.about for s in snapshot.run_states.values())


def running_device_s(snapshot: ProgressSnapshot, now: float) -> float:
    """Device seconds that running fits have used so far."""
    return sum(
        max(0.0, now - run_state.since) * run_state.about["devices"]
        for run_state in list(snapshot.run_states.values())
        if run_state.state == "running" and "devices" in run_state.about
    )


def fits_left(plan: Plan, store: Store, *, lost: Collection[str] = ()) -> int:
    """The number of fits of `plan` that the store doesn't hold, trials and refits included.

    `lost` runs, which have failed or depend on a failed one, are excluded.
    """
    runs = {*plan.fits, *plan.studies}
    ended = {study: len(store.trials(study)) for study in plan.studies}
    pending = runs - store.done(runs) - set(lost)
    return len(fits_to_do(plan, pending=pending, lost=lost, ended=ended))
