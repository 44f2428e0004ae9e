"""The threads that monitor runs in the driver: one per run, with one queue of results.

Owns the threads, and the retries of a study whose process has died. Which run starts next is
decided in `graph_runner`.
"""

from __future__ import annotations

import contextlib
import queue
import threading
from collections.abc import Callable
from functools import partial
from typing import Any

import ray
import ray.exceptions

from w2s_ray.execute.cluster import on_this_node
from w2s_ray.execute.run_context import RunContext
from w2s_ray.execute.run_fit import run_fit
from w2s_ray.execute.study import study_task
from w2s_ray.fits.outcome import failure_record
from w2s_ray.fits.retry import RunningElsewhere, settled
from w2s_ray.plan import PlannedFit, PlannedStudy
from w2s_ray.scheduling.requests import SWEEP
from w2s_ray.store import Record


class RunThreads:
    """The runs that this driver runs at present."""

    def __init__(self, context: RunContext) -> None:
        self._context = context
        self._ended: queue.SimpleQueue[tuple[str, Record]] = queue.SimpleQueue()
        self.running: dict[str, PlannedFit | PlannedStudy] = {}
        self._studies: dict[str, Any] = {}
        """Study -> its Ray task."""

    def start_fit(self, fit: PlannedFit, *, priority: int) -> None:
        """Start a fit; a smaller priority goes first where resources are scarce."""
        self._start(fit, partial(run_fit, self._context, fit, queue=SWEEP, priority=priority))

    def start_study(self, study: PlannedStudy, *, at_once: int) -> None:
        """Start a study with at most `at_once` concurrent trials."""
        self._start(study, partial(self._run_study, study, at_once))

    def end_studies(self) -> None:
        """Kill the processes of studies; later they resume from the store."""
        tasks = list(self._studies.values())
        for task in tasks:
            ray.cancel(task, force=True)
        for task in tasks:
            with contextlib.suppress(ray.exceptions.RayError):
                ray.get(task, timeout=10)

    def next_ended(self, timeout_s: float) -> tuple[str, Record] | None:
        """A run that has ended, with its record; None if none ends in time."""
        try:
            run_id, record = self._ended.get(timeout=timeout_s)
        except queue.Empty:
            return None
        del self.running[run_id]
        return run_id, record

    def _start(self, run: PlannedFit | PlannedStudy, work: Callable[[], Record]) -> None:
        def monitor() -> None:
            try:
                record = work()
            except Exception as error:  # noqa: BLE001 - the driver's boundary: it becomes a record
                record = failure_record(run, error)
            self._ended.put((run.id, record))

        self.running[run.id] = run
        threading.Thread(target=monitor, name=run.id, daemon=True).start()

    def _run_study(self, study: PlannedStudy, at_once: int) -> Record:
        """Run a study; one whose process dies resumes from the store."""
        context = self._context

        def attempt() -> Record | RunningElsewhere:
            try:
                task = study_task.options(**on_this_node()).remote(study, context, at_once)
                self._studies[study.id] = task
                result: Any = ray.get(task)
                if isinstance(result, RunningElsewhere):
                    context.set_run_state(study, "held")
                return result
            finally:
                self._studies.pop(study.id, None)
                context.worker_pool.cancel_queue.remote(study.id)

        retries = max(execution.retries for execution in study.executions)
        try:
            return settled(
                study,
                store=context.open_store(),
                retries=retries,
                attempt=attempt,
                is_stopping=context.is_stopping,
            )
        finally:
            context.progress_tracker.clear_state.remote(study.id)
