"""Running a sweep's graph: ready runs start, ended runs are recorded, until none is left.

Owns the main loop between the worker pool, the display, the budget and stop requests. A done run is
never started again; a failed run blocks only the runs that depend on it. All state can be restored
from the store. It imports no torch.
"""

from __future__ import annotations

import contextlib
import time
from collections import Counter
from collections.abc import Iterable
from typing import Any

from rich.text import Text

from w2s_ray.config import Execution
from w2s_ray.execute.outcome import Outcome
from w2s_ray.execute.stopping import Stop, shut_down
from w2s_ray.plain_console import PlainConsole
from w2s_ray.plan import Plan, PlannedStudy
from w2s_ray.prepare import plan_sweep, write_manifest
from w2s_ray.scheduling.priority import priorities
from w2s_ray.scheduling.requests import WorkerSpec
from w2s_ray.scheduling.start import at_once, fits_to_start, studies_to_start
from w2s_ray.status.budget import BudgetGuard, running_fits
from w2s_ray.status.driver_heartbeat import DriverHeartbeat, driver_state
from w2s_ray.status.finished import fits_of
from w2s_ray.status.time_left import SweepProgress, TimeLeft
from w2s_ray.store import Record, Store, utc_now

TICK_S = 0.5
THREADS_END_S = 30.0
"""How long the end waits for monitoring threads: a call of one to a Ray that has been shut down
crashes this process."""


class GraphRunner:
    """Runs one plan once."""

    def __init__(
        self,
        plan: Plan,
        store: Store,
        sweep_text: str,
        console: PlainConsole,
        cluster: Any,
        budget_guard: BudgetGuard,
    ) -> None:
        from w2s_ray.execute.pending_nodes import PendingNodes
        from w2s_ray.execute.progress_display import ProgressCounts, ProgressDisplay
        from w2s_ray.execute.progress_tracker import start_progress_tracker
        from w2s_ray.execute.run_context import RunContext
        from w2s_ray.execute.run_threads import RunThreads
        from w2s_ray.execute.tracker_process import Tracking
        from w2s_ray.execute.worker_pool import start_worker_pool

        self.plan = cluster.resolve_gpu_shares(plan)
        self.order = priorities(plan)
        self.store = store
        self.sweep_text = sweep_text
        self.cluster = cluster
        self.budget_guard = budget_guard
        self.done = store.done([*plan.fits, *plan.studies])
        self.failed: dict[str, str] = {}
        self.started_at = utc_now()
        progress_tracker = start_progress_tracker()
        self.tracking = Tracking(plan.sweep, console)
        self.context = RunContext(
            store=store.uri,
            cluster=cluster,
            progress_tracker=progress_tracker,
            worker_pool=start_worker_pool(cluster),
            tracker_actor=self.tracking.tracker_actor,
            lease_s=plan.sweep.limits.lease_s,
            plugins=plan.sweep.plugins,
        )
        self.run_threads = RunThreads(self.context)
        self.display = ProgressDisplay(console, progress_tracker)
        self.counts = ProgressCounts(names={})
        self.time_left = TimeLeft(store)
        self.nodes = PendingNodes()
        self.expected: Counter[Execution] = Counter()
        self.finishing: int | None = None
        """Running fits at the last count since the budget was spent; None before."""

    def run(self, heartbeat: DriverHeartbeat, stop: Stop) -> Outcome:
        """Start ready runs and record ended ones, until none runs and none is ready.

        After a stop request, running fits write a checkpoint and end. After the budget is spent,
        running fits are trained to their end.
        """
        nodes = self.nodes if self.cluster.autoscales else contextlib.nullcontext()
        budget = self.budget_guard.following(lambda: self.plan)
        with self.display, nodes, budget, self.time_left.following(self._progress):
            self._start_ready()
            while self.run_threads.running and stop.reason is None:
                self._count()
                self.nodes.update(self.display.snapshot)
                self.counts.pending = self.nodes.current
                self.display.update(self.counts)
                heartbeat.update(self._driver_state())
                self.tracking.poll()
                if self.budget_guard.is_spent(self.display.snapshot):
                    self._finish(stop)
                ended = self.run_threads.next_ended(TICK_S)
                while ended is not None:
                    self._record(*ended)
                    ended = self.run_threads.next_ended(0)
                    if ended is None:
                        self._start_ready()
            stopped = stop.reason if self.run_threads.running else None
            if stopped is not None:
                self._stop(heartbeat, stopped)
        self.tracking.finish()
        ended = self._ended()
        return Outcome(
            plan=self.plan,
            done=len(self.done),
            trained=ended["done"] + ended["pruned"],
            failed=self.failed,
            failed_fits=ended["failed"],
            blocked=self.plan.blocked_by(self.failed),
            stopped=stopped,
        )

    def _finish(self, stop: Stop) -> None:
        """Start nothing new; once no fit is running, stop.

        The worker pool is drained each time, since a restarted one would assign workers again.
        """
        self.context.worker_pool.drain.remote()
        fits = running_fits(self.display.snapshot)
        if self.finishing is None:
            spent = self.budget_guard.spent_text
            line = f"{spent}: nothing new starts, running fits finish: {fits}"
            self.display.print_line(line, self.counts)
        elif not (fits or self.finishing):
            stop.request(self.budget_guard.stop_reason)
        self.finishing = fits

    def _stop(self, heartbeat: DriverHeartbeat, reason: str) -> None:
        """End all runs, and record those that are done by then."""
        fits = len(self.display.snapshot.steps)
        checkpoints = f": {fits} fits write a checkpoint" if fits else ""
        self.display.print_line(f"stopping ({reason}){checkpoints}", self.counts)
        heartbeat.update({**self._driver_state(), "phase": "stopping"})
        if not shut_down(self.context, self.run_threads):
            line = "some fits wrote no checkpoint and will resume from an earlier one"
            self.display.print_line(line, self.counts)
        deadline = time.monotonic() + THREADS_END_S
        while self.run_threads.running and time.monotonic() < deadline:
            ended = self.run_threads.next_ended(TICK_S)
            if ended is not None:
                self._record(*ended)

    def clear_work(self) -> None:
        """Delete checkpoints of done fits and ended trials, which stopped fits wrote at the end."""
        fits_with_work = self.store.work.fit_ids()
        unneeded = fits_with_work & self.done
        for study in self.plan.studies if fits_with_work else ():
            trials = self.store.trials(study)
            unneeded |= fits_with_work & {fit for trial in trials for fit in trial["fits"]}
        for fit in unneeded:
            self.context.clear_work(fit)

    def _start_ready(self) -> None:
        """Start monitoring ready runs; the worker pool assigns workers as resources are free."""
        if self.budget_guard.spent:
            return
        plan, running, slots = self.plan, self.run_threads.running, self.cluster.slots
        ready = list(plan.ready(done=self.done, excluded={*self.failed, *running}))
        studies = studies_to_start(
            [plan.studies[r] for r in ready if r in plan.studies],
            running=[plan.studies[r] for r in running if r in plan.studies],
            order=self.order,
            limits=plan.sweep.limits,
            slots=slots,
        )
        for study in studies:
            most = at_once(study, limits=plan.sweep.limits, slots=slots)
            self.run_threads.start_study(study, at_once=most)
        fits = fits_to_start(
            [plan.fits[r] for r in ready if r in plan.fits],
            running=sum(r in plan.fits for r in running),
            order=self.order,
            slots=slots,
        )
        for fit in fits:
            self.run_threads.start_fit(fit, priority=self.order[fit.id])
        self._expect(ready)

    def _expect(self, ready: Iterable[str]) -> None:
        """Send the worker pool the expected requests, so that nodes for them are started now."""
        if not self.cluster.autoscales:
            return
        expected: Counter[Execution] = Counter()
        for run_id in {*ready, *self.run_threads.running}:
            if run_id in self.plan.fits:
                expected[self.plan.fits[run_id].execution] += 1
            else:
                study = self.plan.studies[run_id]
                most = at_once(study, limits=self.plan.sweep.limits, slots=self.cluster.slots)
                expected[study.executions[0]] += most
        if expected != self.expected:
            self.expected = expected
            workers: Counter[WorkerSpec] = Counter()
            for execution, count in expected.items():
                workers[WorkerSpec.of(execution, self.cluster.resources(execution))] += count
            self.context.worker_pool.expect_demand.remote(dict(workers))

    def _driver_state(self) -> dict[str, Any]:
        """The state of this driver, for other processes."""
        pending = self.nodes.current
        return driver_state(
            self.display.snapshot,
            monitored=self.run_threads.running,
            failed=self.failed,
            at_once=self.counts.at_once,
            nodes=pending.as_json() if pending is not None else None,
            budget=self.budget_guard.spent_text,
            phase="running" if self.finishing is None else "ending: its budget is spent",
        )

    def _record(self, run_id: str, record: Record) -> None:
        """Record how a run ended; after a study, plan what waited for its choice."""
        run = self.plan.fits.get(run_id) or self.plan.studies[run_id]
        if record.status == "stopped":
            return
        if record.status != "done":
            self.failed[run_id] = record.reason or record.status
            failed = Text.assemble(("failed", "red"), f" {run.description}: {record.reason}")
            self.display.print_line(failed, self.counts)
            return
        self.done.add(run_id)
        if isinstance(run, PlannedStudy):
            self._plan_again()
        self._count()
        done = Text.assemble(("done", "green"), f"   {run.description}{_result_text(record)}")
        self.display.print_line(done, self.counts)

    def _ended(self) -> Counter[str]:
        """The number of fits that this call started, by status, trials included."""
        trials = fits_of({study: self.store.trials(study) for study in self.plan.studies})
        latest = self.store.latest({*self.plan.fits, *trials})
        return Counter(r.status for r in latest if r.started_at >= self.started_at)

    def _progress(self) -> SweepProgress:
        """How far the sweep is, for the estimate of the time left."""
        return SweepProgress(
            plan=self.plan,
            done=frozenset(self.done),
            lost=frozenset({*self.failed, *self.plan.blocked_by(self.failed)}),
            snapshot=self.display.snapshot,
            at_once=self.counts.at_once,
        )

    def _plan_again(self) -> None:
        """Plan the runs that waited for the choice of a study."""
        plan = plan_sweep(self.plan.sweep, store=self.store, inputs=self.plan.inputs)
        self.plan = self.cluster.resolve_gpu_shares(plan)
        self.order = priorities(self.plan)
        self.done |= self.store.done([*self.plan.fits, *self.plan.studies])
        write_manifest(self.plan, self.store, self.sweep_text)

    def _count(self) -> None:
        """Update the counts."""
        plan, counts, snapshot = self.plan, self.counts, self.display.snapshot
        to_go = sum(
            (study.recipe.trials - snapshot.ended_trials(study.id)) * len(study.trial_models)
            for study in plan.every_study
            if study.id not in self.done
        )
        counts.done = sum(fit in self.done for fit in plan.fits) + plan.trials - to_go
        counts.total = len(plan.fits) + plan.trials + plan.waiting
        counts.failed = len(self.failed)
        counts.blocked = len(plan.blocked_by(self.failed))
        counts.running = list(self.run_threads.running)
        counts.names = {r.id: r.description for r in (*plan.fits.values(), *plan.studies.values())}
        counts.at_once = max(1, self.cluster.slots(plan.sweep.execution))
        counts.left_s = self.time_left.seconds()


def _result_text(record: Record) -> str:
    accuracy = record.summary.get("test_accuracy")
    if isinstance(accuracy, float):
        return f": {accuracy:.1%}"
    settings = record.about.get("settings")
    if settings is None:
        return ""
    chosen = ", ".join(
        f"{k}={v:.3g}" if isinstance(v, float) else f"{k}={v}" for k, v in settings.items()
    )
    repeats, trials = record.summary.get("repeats"), record.summary.get("trials")
    return f": {chosen}" + (f"; {repeats} of {trials} trials repeated others" if repeats else "")
