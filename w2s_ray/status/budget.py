"""A budget while a sweep runs: what has been spent, and when nothing new may start.

Owns the watch over both, in a thread of its own, since a store may answer late. What has ended
counts as the store has it; what is under way in this call counts from the moment a fit has its
host, by the board. It ends nothing: the driver does, when the purse is empty.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Collection, Iterator
from typing import TYPE_CHECKING

from w2s_ray.config.budget import Budget
from w2s_ray.plan import Plan
from w2s_ray.status.remaining import todo_of
from w2s_ray.status.spending import SpendingReader
from w2s_ray.store import Store, StoreError

if TYPE_CHECKING:
    from w2s_ray.status.run_state import ProgressSnapshot

COUNT_S = 2.0
"""Seconds between two countings at the least."""
SHARE = 0.1
"""Of the time that may be spent on counting a large store."""


class BudgetGuard:
    """How much of a budget is left. Without a budget it is never empty."""

    def __init__(self, budget: Budget | None, store: Store) -> None:
        self.budget = budget
        self.empty = False
        """Once it is, it stays so."""
        self.seconds = 0.0
        """Device seconds that are known to be spent."""
        self._accounts = SpendingReader(store)
        self._ended = 0.0
        self._over = threading.Event()

    def count(self, plan: Plan) -> None:
        """Take stock of what the store shows."""
        self._ended = self._accounts.of_plan(plan).device_seconds
        self._note(self._ended)

    @contextlib.contextmanager
    def followed(self, plan: Callable[[], Plan]) -> Iterator[None]:
        """Keep up with what the store shows of `plan`, which may grow, within the context."""
        if self.budget is not None:
            threading.Thread(target=self._run, args=(plan,), name="w2s-budget", daemon=True).start()
        try:
            yield
        finally:
            self._over.set()

    def look(self, seen: ProgressSnapshot) -> bool:
        """Whether nothing new may start, with what the board shows to be under way."""
        if self.budget is not None:
            self._note(self._ended + under_way_s(seen, time.time()))
        return self.empty

    @property
    def said(self) -> str | None:
        """What is spent, in words."""
        return None if self.budget is None else self.budget.spent(self.seconds)

    @property
    def why(self) -> str:
        """What ended the sweep."""
        assert self.budget is not None
        return f"its budget of {self.budget.said}"

    def _note(self, seconds: float) -> None:
        """A fit that has ended is off the board before it is counted: spending never shrinks."""
        self.seconds = max(self.seconds, seconds)
        if self.budget is not None and self.seconds >= self.budget.device_seconds:
            self.empty = True

    def _run(self, plan: Callable[[], Plan]) -> None:
        took = 0.0
        while not self._over.wait(max(COUNT_S, took * (1 - SHARE) / SHARE)):
            began = time.monotonic()
            with contextlib.suppress(OSError, StoreError):  # it answers another time
                self.count(plan())
            took = time.monotonic() - began


def fits_under_way(seen: ProgressSnapshot) -> int:
    """How many fits have their host and run."""
    return sum(s.state == "running" and "devices" in s.about for s in seen.run_states.values())


def under_way_s(seen: ProgressSnapshot, now: float) -> float:
    """Device seconds that fits under way have used so far."""
    return sum(
        max(0.0, now - run_states.since) * run_states.about["devices"]
        for run_states in list(seen.run_states.values())
        if run_states.state == "running" and "devices" in run_states.about
    )


def fits_left(plan: Plan, store: Store, *, lost: Collection[str] = ()) -> int:
    """Fits of `plan` that the store doesn't hold, trials and refits among them, without the `lost`.

    Those failed, or wait for one that has.
    """
    runs = {*plan.fits, *plan.studies}
    ended = {study: len(store.trials(study)) for study in plan.studies}
    pending = runs - store.done(runs) - set(lost)
    return len(todo_of(plan, pending=pending, lost=lost, ended=ended))
