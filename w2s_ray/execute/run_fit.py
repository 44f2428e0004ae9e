"""Carrying out one planned fit to its end, whatever happens on the way.

Owns the watch over a fit: admission to the floor, attempts until one ends with a record, retries by
cause, the end of one that stalls, waiting for one that somebody else trains. The caller is the
driver or a trial; the fit runs on a host. It knows nothing of the order of runs.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import ray
import ray.exceptions

from w2s_ray.config import FitRecipe
from w2s_ray.execute.cluster import alive_nodes
from w2s_ray.execute.run_context import RunContext
from w2s_ray.execute.tracker_log import Log
from w2s_ray.execute.worker_pool import RequestCancelled
from w2s_ray.execute.workers import is_up
from w2s_ray.fits.failures import FINAL, HostLost, Stalled
from w2s_ray.fits.metrics_recorder import mean_loss
from w2s_ray.fits.retry import RunningElsewhere, settled
from w2s_ray.plan import PlannedFit
from w2s_ray.scheduling.requests import FitRequest, WorkerSpec
from w2s_ray.store import Record, Store

if TYPE_CHECKING:
    from w2s_ray.status.run_state import State

NODE_NEWS_S = 20.0
"""How long Ray may take to learn that a node is gone: by default five checks, 3 s apart."""
SEAT_BEGINS_S, GROUP_BEGINS_S = 60.0, 900.0
"""How long a host that is up may take to begin: imports, and the other machines of a group."""
GLANCE_S = 5.0
"""Longest wait for news of a running fit."""
ADMISSION_LOOK_S, FLOOR_ANSWERS_S = 20.0, 120.0
"""How often a fit that waits for room makes sure that the floor has its request, and how long the
floor may take to answer that."""

BOARD_ANSWERS_S = 30.0

Tell = Callable[[Mapping[str, Any]], None]


def run_fit(
    context: RunContext, fit: PlannedFit, *, queue: str, priority: int = 0, tell: Tell | None = None
) -> Record:
    """Train `fit` unless the store has it, and return its record, done or failed.

    `tell` is called with each of its evaluations, once and in order, those of a fit that was done
    before as well. If it raises, the fit is asked to stop, unless others want it.
    """
    return _FitMonitor(context, fit, queue, priority, tell).through()


class _FitMonitor:
    """The watch over one fit."""

    def __init__(
        self, context: RunContext, fit: PlannedFit, queue: str, priority: int, tell: Tell | None
    ) -> None:
        self.context = context
        self.fit = fit
        self.request = FitRequest(
            fit.id, queue, WorkerSpec.of(fit.execution, context.resources(fit.execution)), priority
        )
        self.tell = tell
        self.told = 0
        self.log = Log.of(self.request, fit, context.tracker_actor)
        self.store = context.open_store()
        self.began: float | None = None
        """When the newest attempt got its host, in seconds since the epoch; None before."""
        self.nodes: set[str] = set()
        """Those that were there when the newest attempt got its host."""
        self.worker: Any = None
        """Of the newest attempt."""
        self.up_since: float | None = None
        """When its host was first seen to be up."""
        self.held = False
        """Whether somebody else had claimed the fit when it was last tried."""

    def through(self) -> Record:
        """Attempts until the fit is settled, with every evaluation of one that is done told."""
        try:
            record = settled(
                self.fit,
                store=self.store,
                retries=self.fit.execution.retries,
                attempt=self._attempt,
                failed=self._placed_right,
                is_stopping=self.context.is_stopping,
            )
        finally:
            if self.held:
                self._say_gone()
        if record.status == "done":
            self._tell_the_rest(record)
        elif record.status == "failed" and self.log is not None:
            self.log.ended(record)
        return record

    def _placed_right(self, failed: Record) -> Record:
        """The failure, without the wait for room, and with its cause corrected where the fit's
        process died with its node.
        """
        seconds = max(0.0, time.time() - self.began) if self.began is not None else 0.0
        devices = self.fit.execution.workers
        failed = failed.model_copy(update={"seconds": seconds, "device_seconds": seconds * devices})
        if failed.cause == "worker_died" and self._node_is_gone():
            return failed.model_copy(update={"cause": "node_lost"})
        return failed

    def _node_is_gone(self) -> bool:
        """Whether a process of the fit died with its node, which Ray learns a moment later.

        A host that had not begun has no known nodes.
        """
        nodes = _answer(self.context.progress_tracker.nodes_of.remote(self.fit.id), otherwise=set())
        then = nodes or self.nodes
        deadline = time.monotonic() + NODE_NEWS_S
        while len(self.nodes | then) > 1 and time.monotonic() < deadline:
            if then - alive_nodes():
                return True
            time.sleep(0.5)
        return False

    def _attempt(self) -> Record | RunningElsewhere:
        """One attempt, on a host for as long as it takes; another requester may have begun it."""
        self.began = None
        self._say_waiting()
        lives = self.held = False
        try:
            self.worker, self.up_since = self._admitted(), None
            self.nodes, self.began = alive_nodes(), time.time()
            self._say_stands("starting", asks=self.request.spec.said)
            self._log_as_ours(True)
            ended = self._watched(self.worker.run.remote(self.fit, self.context))
            self.held = isinstance(ended, RunningElsewhere)
            self._log_as_ours(not self.held)
            lives = isinstance(ended, RunningElsewhere) or ended.cause in FINAL
            return ended
        except ray.exceptions.RayTaskError as error:
            lives = type(error.cause).__name__ == "StopRequested"
            raise
        finally:
            self.context.worker_pool.release.remote(self.request.id, worker_alive=lives)
            if self.held:
                self._say_waiting()
            else:
                self._say_gone()

    def _admitted(self) -> Any:
        """The host for the fit, once the floor gives one.

        A request that a restarted floor has lost is made again; a floor that answers nothing at all
        is a failure, so no fit waits for ever.

        Raises:
            HostLost: the floor does not answer.
            SystemExit: the request was withdrawn, since its study has ended it.
        """
        worker_pool, request = self.context.worker_pool, self.request.id
        asked = worker_pool.acquire.remote(self.request, self.context.progress_tracker)
        while not ray.wait([asked], timeout=ADMISSION_LOOK_S)[0]:
            try:
                known: Any = ray.get(
                    worker_pool.has_request.remote(request), timeout=FLOOR_ANSWERS_S
                )
            except ray.exceptions.GetTimeoutError as error:
                raise HostLost(
                    f"the process that admits fits has not answered for {FLOOR_ANSWERS_S:.0f} s"
                ) from error
            if not known and not ray.wait([asked], timeout=0)[0]:
                asked = worker_pool.acquire.remote(self.request, self.context.progress_tracker)
        try:
            return ray.get(asked)
        except RequestCancelled as error:
            raise SystemExit from error

    @property
    def _whose(self) -> dict[str, Any]:
        return {
            "seed": self.fit.recipe.seed,
            "queue": self.request.queue,
            "priority": self.request.priority,
            "devices": self.fit.execution.workers,
        }

    def _log_as_ours(self, ours: bool) -> None:
        if self.log is not None:
            self.log.ours = ours

    def _say_waiting(self) -> None:
        """Tell the board that the fit waits: for room, or for whoever has claimed it."""
        self._say_stands("held" if self.held else "waiting")

    def _say_stands(self, state: State, **more: Any) -> None:
        about, requester = {**self._whose, **more}, self.request.id.requester
        self.context.set_run_state(self.fit, state, about, requester=requester)

    def _say_gone(self) -> None:
        self.context.progress_tracker.clear_state.remote(self.fit.id, self.request.id.requester)

    def _watched(self, running: Any) -> Record | RunningElsewhere:
        """What the attempt gives, with its evaluations told and its silence noticed."""
        news: Any = None
        while True:
            if news is None and (self.tell is not None or self.log is not None):
                progress_tracker = self.context.progress_tracker
                news = progress_tracker.evaluations.remote(self.fit.id, self.told, GLANCE_S)
            ended, _ = ray.wait([running, *([news] if news else [])], timeout=GLANCE_S)
            if news is not None and news in ended:
                self._tell(_answer(news, otherwise=[]))
                news = None
            if running in ended:
                return ray.get(running)
            self._refuse_silence()

    def _refuse_silence(self) -> None:
        """Raise where the fit has made no progress for longer than it may."""
        limit_s = self.fit.execution.stall_s
        if limit_s is not None:
            silent_s = _answer(
                self.context.progress_tracker.silent_s.remote(self.fit.id), otherwise=0.0
            )
            silent_s = self._unheard_s() if silent_s is None else silent_s
            if silent_s > limit_s:
                raise Stalled(silent_s)

    def _unheard_s(self) -> float:
        """For how long a host that is up has not begun, beyond what beginning may take."""
        now = time.monotonic()
        if self.up_since is None and is_up(self.worker):
            self.up_since = now
        begins_s = SEAT_BEGINS_S if self.request.spec.engine == "torch" else GROUP_BEGINS_S
        return 0.0 if self.up_since is None else now - self.up_since - begins_s

    def _tell(self, evaluations: list[Mapping[str, Any]]) -> None:
        for evaluation in evaluations:
            self.told = evaluation["evaluations"]
            if self.log is not None:
                self.log.evaluated(evaluation)
            if self.tell is not None:
                self._tell_requester(self.tell, evaluation)

    def _tell_requester(self, tell: Tell, evaluation: Mapping[str, Any]) -> None:
        """Tell the requester an evaluation; where it raises, the fit goes on for others only."""
        try:
            tell(evaluation)
        except BaseException as error:
            wanted = self.context.cancel_requests([self.request.id])
            pruned = isinstance(error, SystemExit) and not wanted  # Tune ends a trial so
            if pruned and self.log is not None:
                self.log.pruned()
            raise

    def _tell_the_rest(self, record: Record) -> None:
        """Tell those evaluations of a fit that is done that were not told while it ran."""
        setup_s = float(record.summary.get("setup_seconds") or 0.0)
        seconds = record.seconds - setup_s
        self.context.progress_tracker.fit_done.remote(self.fit.id, self.fit.source.name, seconds)
        if self.tell is None and self.log is None:
            return
        rest = [e for e in evaluations_of(self.store, record) if e["evaluations"] > self.told]
        if self.log is not None:  # all of it, even if the trial is pruned when it hears of it
            for evaluation in rest:
                self.log.evaluated(evaluation)
            self.log.ended(record)
        if self.tell is not None:
            for evaluation in rest:
                self.tell(evaluation)


def _answer(asked: Any, *, otherwise: Any) -> Any:
    """The board's answer; `otherwise` where it is lost or hangs, which may cost no run."""
    try:
        return ray.get(asked, timeout=BOARD_ANSWERS_S)
    except (ray.exceptions.GetTimeoutError, ray.exceptions.RayActorError):
        time.sleep(1.0)  # it may be restarting
        return otherwise


def evaluations_of(store: Store, record: Record) -> list[dict[str, Any]]:
    """The evaluations of a fit that is done, as they were told while it ran."""
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
