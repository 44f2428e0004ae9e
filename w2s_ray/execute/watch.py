"""Watching over runs in the driver: each in a thread of its own, its end put into one queue.

Owns the threads, and the watch over a study whose process may die. It decides nothing about which
run comes next.
"""

from __future__ import annotations

import contextlib
import queue
import threading
from collections.abc import Callable
from typing import Any

import ray
import ray.exceptions

from w2s_ray.execute.admission import SWEEP
from w2s_ray.execute.cluster import here
from w2s_ray.execute.fits.carrier import Carrier
from w2s_ray.execute.fits.carry import carry
from w2s_ray.execute.outcome import failure_record
from w2s_ray.execute.studies.study import study_task
from w2s_ray.execute.tries import Elsewhere, settled
from w2s_ray.plan import PlannedFit, PlannedStudy
from w2s_ray.store import Record


class Watches:
    """The runs under way."""

    def __init__(self, carrier: Carrier) -> None:
        self._carrier = carrier
        self._ended: queue.SimpleQueue[tuple[str, Record]] = queue.SimpleQueue()
        self.running: dict[str, PlannedFit | PlannedStudy] = {}
        self._studies: dict[str, Any] = {}
        """Study -> the task that carries it out."""

    def start_fit(self, fit: PlannedFit, *, rank: int) -> None:
        """Begin to carry out a fit; a smaller rank goes first where there is no room for all."""
        self._start(fit, lambda: carry(self._carrier, fit, party=SWEEP, rank=rank))

    def start_study(self, study: PlannedStudy, *, at_once: int) -> None:
        """Begin a study with at most `at_once` trials at a time."""
        self._start(study, lambda: self._carry_study(study, at_once))

    def end_studies(self) -> None:
        """Kill what carries out studies; they go on from the store another time."""
        tasks = list(self._studies.values())
        for task in tasks:
            ray.cancel(task, force=True)
        for task in tasks:
            with contextlib.suppress(ray.exceptions.RayError):
                ray.get(task, timeout=10)

    def next_ended(self, timeout_s: float) -> tuple[str, Record] | None:
        """A run that has ended, with its record; None if none does in time."""
        try:
            run_id, record = self._ended.get(timeout=timeout_s)
        except queue.Empty:
            return None
        del self.running[run_id]
        return run_id, record

    def _start(self, run: PlannedFit | PlannedStudy, work: Callable[[], Record]) -> None:
        def watch() -> None:
            try:
                record = work()
            except Exception as error:  # noqa: BLE001 - the driver's boundary: it becomes a record
                record = failure_record(run, error)
            self._ended.put((run.id, record))

        self.running[run.id] = run
        threading.Thread(target=watch, name=run.id, daemon=True).start()

    def _carry_study(self, study: PlannedStudy, at_once: int) -> Record:
        """Carry out a study; one whose process dies goes on from the store."""
        carrier = self._carrier

        def attempt() -> Record | Elsewhere:
            try:
                task = study_task.options(**here()).remote(study, carrier, at_once)
                self._studies[study.id] = task
                ended: Any = ray.get(task)
                if isinstance(ended, Elsewhere):
                    carrier.say_stands(study, "held")
                return ended
            finally:
                self._studies.pop(study.id, None)
                carrier.floor.leave_party.remote(study.id)

        retries = max(execution.retries for execution in study.executions)
        try:
            return settled(
                study,
                store=carrier.open_store(),
                retries=retries,
                attempt=attempt,
                dismissed=carrier.is_dismissed,
            )
        finally:
            carrier.board.gone.remote(study.id)
