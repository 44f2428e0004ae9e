"""Running one planned fit to its end, with retries.

Owns the monitoring of a fit: its request to the worker pool, attempts until one ends with a record,
retries by cause, smaller micro-batches after GPU memory ran out, the end of a stalled attempt, and
waiting for a fit that another driver trains. The caller is the driver or a trial; the fit runs on a
worker. Scheduling is elsewhere.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import ray
import ray.exceptions

from w2s_ray.config import FitRecipe
from w2s_ray.execute.cluster import alive_nodes
from w2s_ray.execute.ray_internals import is_actor_alive
from w2s_ray.execute.run_context import RunContext
from w2s_ray.execute.tracker_log import FitLog
from w2s_ray.execute.worker_pool import RequestCancelled
from w2s_ray.fits.failures import FINAL, HostLost, Stalled, needs_less_gpu_memory
from w2s_ray.fits.metrics_recorder import mean_loss
from w2s_ray.fits.retry import RunningElsewhere, settled
from w2s_ray.plan import PlannedFit
from w2s_ray.scheduling.requests import FitRequest, WorkerSpec
from w2s_ray.store import Record, Store

if TYPE_CHECKING:
    from w2s_ray.status.run_state import State

NODE_LOSS_S = 20.0
"""How long Ray may take to notice that a node is lost: by default five checks, 3 s apart."""
WORKER_START_S, GROUP_START_S = 60.0, 900.0
"""How long a live worker may take to start a fit: imports, and the other machines of a group."""
POLL_S = 5.0
"""Longest wait for an evaluation of a running fit."""
QUEUE_CHECK_S, POOL_REPLY_S = 20.0, 120.0
"""How often a queued fit checks that the worker pool still has its request, and the time limit for
that check."""
PROGRESS_REPLY_S = 30.0
"""Time limit for a reply of the progress tracker."""

OnEvaluation = Callable[[Mapping[str, Any]], None]


def run_fit(
    context: RunContext,
    fit: PlannedFit,
    *,
    queue: str,
    priority: int = 0,
    on_evaluation: OnEvaluation | None = None,
) -> Record:
    """Train `fit` unless the store has it, and return its record, done or failed.

    `on_evaluation` is called with each of its evaluations, once and in order, also for a fit that
    was done before. If it raises, the fit is stopped, unless there are other requests for it.
    """
    return _FitMonitor(context, fit, queue, priority, on_evaluation).run()


class _FitMonitor:
    """Monitors one fit."""

    def __init__(
        self,
        context: RunContext,
        fit: PlannedFit,
        queue: str,
        priority: int,
        on_evaluation: OnEvaluation | None,
    ) -> None:
        self.context = context
        self.fit = fit
        self.request = FitRequest(
            fit.id, queue, WorkerSpec.of(fit.execution, context.resources(fit.execution)), priority
        )
        self.on_evaluation = on_evaluation
        self.halvings = 10**9 if fit.execution.micro_batch == "auto" else 1
        """How often the rows of a forward pass may be halved because GPU memory ran out."""
        self.reported = 0
        """Number of the last evaluation that was reported."""
        self.log = FitLog.of(self.request, fit, context.tracker_actor)
        self.store = context.open_store()
        self.started: float | None = None
        """When the newest attempt got its worker, in seconds since the epoch; None before."""
        self.nodes: set[str] = set()
        """The nodes that were alive when the newest attempt got its worker."""
        self.worker: Any = None
        """Of the newest attempt."""
        self.alive_since: float | None = None
        """When its worker was first seen alive."""
        self.leased_elsewhere = False
        """Whether another driver held the fit's lease at the last attempt."""

    def run(self) -> Record:
        """Attempt the fit until it has a record, and report every evaluation of a done fit."""
        try:
            record = settled(
                self.fit,
                store=self.store,
                retries=self.fit.execution.retries,
                attempt=self._attempt,
                failed=self._corrected,
                changed=self._halved,
                is_stopping=self.context.is_stopping,
            )
        finally:
            if self.leased_elsewhere:
                self._clear_state()
        if record.status == "done":
            self._report_done(record)
        elif record.status == "failed" and self.log is not None:
            self.log.ended(record)
        return record

    def _halved(self, failure: Record) -> bool:
        """Halve the rows of a forward pass after `failure`, if GPU memory ran out and they may be.

        Gradients are accumulated over more passes, so the result is the same up to rounding. After
        a machine's own memory ran out, which other processes use too, the rows stay: a fit on a CPU
        gives the same result to the bit, whatever happened.
        """
        if not self.halvings or not needs_less_gpu_memory(failure.cause, failure.reason):
            return False
        execution = self.fit.execution.halved(self.fit.recipe.training.batch_size)
        if execution is None:
            return False
        self.halvings -= 1
        self.fit = replace(self.fit, execution=execution)
        return True

    def _corrected(self, failure: Record) -> Record:
        """The failure's record, with the time in the queue removed from its duration, the execution
        of this attempt, and the cause `node_lost` where the fit's process died with its node.
        """
        seconds = max(0.0, time.time() - self.started) if self.started is not None else 0.0
        devices = self.fit.execution.workers
        observed: dict[str, Any] = {"seconds": seconds, "device_seconds": seconds * devices}
        observed["execution"] = self.fit.execution.model_dump(mode="json")
        failure = failure.model_copy(update=observed)
        if failure.cause == "worker_died" and self._node_is_lost():
            return failure.model_copy(update={"cause": "node_lost"})
        return failure

    def _node_is_lost(self) -> bool:
        """Whether a process of the fit died with its node; Ray notices the loss a moment later.

        The nodes of a worker that had not started the fit are unknown.
        """
        nodes = _reply(self.context.progress_tracker.nodes_of.remote(self.fit.id), default=set())
        before = nodes or self.nodes
        deadline = time.monotonic() + NODE_LOSS_S
        while len(self.nodes | before) > 1 and time.monotonic() < deadline:
            if before - alive_nodes():
                return True
            time.sleep(0.5)
        return False

    def _attempt(self) -> Record | RunningElsewhere:
        """One attempt, or the rest of one that another request has started."""
        self.started = None
        self._set_queued()
        worker_alive = self.leased_elsewhere = False
        try:
            self.worker, self.alive_since = self._acquire_worker(), None
            self.nodes, self.started = alive_nodes(), time.time()
            self._set_starting()
            self._set_log_owner(True)
            result = self._monitor(self.worker.run.remote(self.fit, self.context))
            self.leased_elsewhere = isinstance(result, RunningElsewhere)
            self._set_log_owner(not self.leased_elsewhere)
            worker_alive = isinstance(result, RunningElsewhere) or result.cause in FINAL
            return result
        except ray.exceptions.RayTaskError as error:
            worker_alive = type(error.cause).__name__ == "StopRequested"
            raise
        finally:
            self.context.worker_pool.release.remote(self.request.id, worker_alive=worker_alive)
            if self.leased_elsewhere:
                self._set_queued()
            else:
                self._clear_state()

    def _acquire_worker(self) -> Any:
        """The worker for the fit, once the worker pool assigns one.

        A request that a restarted pool has lost is sent again. No reply at all from the pool is a
        failure, so no fit waits for ever.

        Raises:
            HostLost: the worker pool does not reply.
            SystemExit: the request was cancelled by its study.
        """
        worker_pool, request = self.context.worker_pool, self.request.id
        worker = worker_pool.acquire.remote(self.request, self.context.progress_tracker)
        while not ray.wait([worker], timeout=QUEUE_CHECK_S)[0]:
            try:
                queued: Any = ray.get(worker_pool.has_request.remote(request), timeout=POOL_REPLY_S)
            except ray.exceptions.GetTimeoutError as error:
                raise HostLost(
                    f"the worker pool has not replied for {POOL_REPLY_S:.0f} s"
                ) from error
            if not queued and not ray.wait([worker], timeout=0)[0]:
                worker = worker_pool.acquire.remote(self.request, self.context.progress_tracker)
        try:
            return ray.get(worker)
        except RequestCancelled as error:
            raise SystemExit from error

    def _set_log_owner(self, owner: bool) -> None:
        if self.log is not None:
            self.log.owner = owner

    def _set_queued(self) -> None:
        """Report that the fit waits: for free resources, or for another driver's lease."""
        self._set_state("held" if self.leased_elsewhere else "waiting")

    def _set_starting(self) -> None:
        """Report that the fit's worker starts, with the resources that it may wait for."""
        self._set_state("starting", asks=self.request.spec.resources_text)

    def _set_state(self, state: State, **more: Any) -> None:
        about = {
            "seed": self.fit.recipe.seed,
            "queue": self.request.queue,
            "priority": self.request.priority,
            "devices": self.fit.execution.workers,
            **more,
        }
        self.context.set_run_state(self.fit, state, about, requester=self.request.id.requester)

    def _clear_state(self) -> None:
        self.context.progress_tracker.clear_state.remote(self.fit.id, self.request.id.requester)

    def _monitor(self, attempt: Any) -> Record | RunningElsewhere:
        """The attempt's result; its evaluations are reported, and a stall ends it."""
        evaluations: Any = None
        while True:
            if evaluations is None and (self.on_evaluation is not None or self.log is not None):
                progress_tracker = self.context.progress_tracker
                evaluations = progress_tracker.evaluations.remote(
                    self.fit.id, self.reported, POLL_S
                )
            ready, _ = ray.wait([attempt, *([evaluations] if evaluations else [])], timeout=POLL_S)
            if evaluations is not None and evaluations in ready:
                self._report(_reply(evaluations, default=[]))
                evaluations = None
            if attempt in ready:
                return ray.get(attempt)
            self._check_stall()

    def _check_stall(self) -> None:
        """Raise where the fit has made no progress for longer than `stall_s`."""
        limit_s = self.fit.execution.stall_s
        if limit_s is not None:
            progress_tracker = self.context.progress_tracker
            idle_s = _reply(progress_tracker.idle_s.remote(self.fit.id), default=0.0)
            idle_s = self._start_delay_s() if idle_s is None else idle_s
            if idle_s > limit_s:
                raise Stalled(idle_s)

    def _start_delay_s(self) -> float:
        """Seconds since a live worker should have started the fit."""
        now = time.monotonic()
        if self.alive_since is None and is_actor_alive(self.worker):
            self.alive_since = now
        start_s = WORKER_START_S if self.request.spec.engine == "torch" else GROUP_START_S
        return 0.0 if self.alive_since is None else now - self.alive_since - start_s

    def _report(self, evaluations: list[Mapping[str, Any]]) -> None:
        """Report evaluations of a running fit; an exception of the requester cancels it."""
        for evaluation in evaluations:
            self.reported = evaluation["evaluations"]
            if self.log is not None:
                self.log.evaluated(evaluation)
            if self.on_evaluation is not None:
                self._call_requester(self.on_evaluation, evaluation)

    def _call_requester(self, on_evaluation: OnEvaluation, evaluation: Mapping[str, Any]) -> None:
        try:
            on_evaluation(evaluation)
        except BaseException as error:
            continues = self.context.cancel_requests([self.request.id])
            pruned = isinstance(error, SystemExit) and not continues  # Tune ends a trial so
            if pruned and self.log is not None:
                self.log.pruned()
            raise

    def _report_done(self, record: Record) -> None:
        """Report a done fit, and those of its evaluations that were not reported while it ran."""
        self.context.progress_tracker.fit_done.remote(self.fit.id)
        if self.on_evaluation is None and self.log is None:
            return
        rest = [e for e in evaluations_of(self.store, record) if e["evaluations"] > self.reported]
        if self.log is not None:  # all of them, even if the requester prunes the trial
            for evaluation in rest:
                self.log.evaluated(evaluation)
            self.log.ended(record)
        if self.on_evaluation is not None:
            for evaluation in rest:
                self.on_evaluation(evaluation)


def _reply(call: Any, *, default: Any) -> Any:
    """The progress tracker's reply; `default` where it is lost or late, which may fail no run."""
    try:
        return ray.get(call, timeout=PROGRESS_REPLY_S)
    except (ray.exceptions.GetTimeoutError, ray.exceptions.RayActorError):
        time.sleep(1.0)  # it may be restarting
        return default


def evaluations_of(store: Store, record: Record) -> list[dict[str, Any]]:
    """The evaluations of a done fit, as they were reported while it ran."""
    table = store.metrics(record.id)
    columns = [table.column(name).to_pylist() for name in ("step", "metric", "value")]
    rows = list(zip(*columns, strict=True))
    by_step: dict[int, dict[str, Any]] = {}
    for step, metric, value in rows:
        if metric.startswith("validation/"):
            by_step.setdefault(step, {"step": step})[metric.removeprefix("validation/")] = value
    total = FitRecipe.model_validate(record.recipe).training.evaluations
    return [
        {
            **by_step[step],
            "train_loss": mean_loss(rows, after=before, until=step),
            "evaluations": number,
            "of_evaluations": total,
        }
        for number, (before, step) in enumerate(pairwise([0, *sorted(by_step)]), start=1)
    ]
