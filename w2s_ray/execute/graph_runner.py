"""The walk over a sweep's graph: what is ready starts, what ends is taken, until nothing is left.

Owns the order of events between the floor, the display, the budget and whoever asks for an end. A
run that is done is never started again; a failed one blocks only what depends on it. It holds no
state that the store doesn't. It trains nothing itself and imports no torch.
"""

from __future__ import annotations

import contextlib
import time
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from rich.text import Text

from w2s_ray.config import Execution
from w2s_ray.execute.stopping import Stop, shut_down
from w2s_ray.plain_console import PlainConsole
from w2s_ray.plan import Plan, PlannedStudy
from w2s_ray.prepare import plan_sweep, write_manifest
from w2s_ray.scheduling.priority import priorities
from w2s_ray.scheduling.requests import WorkerSpec
from w2s_ray.scheduling.start import at_once, fits_to_start, studies_to_start
from w2s_ray.status.budget import BudgetGuard, fits_under_way
from w2s_ray.status.driver_heartbeat import DriverHeartbeat, driver_state
from w2s_ray.store import Record, Store, utc_now

TICK_S = 0.5
UNWATCH_S = 30.0
"""How long the end waits for the watches over runs: one that asks a Ray which is gone takes this
process along."""


@dataclass(frozen=True)
class Outcome:
    """How a sweep's run ended."""

    plan: Plan
    done: int
    """Runs of the plan that the store holds now."""
    trained: int
    """Fits trained by this call, trials included."""
    failed: dict[str, str] = field(default_factory=dict)
    """Run id -> why it failed."""
    blocked: dict[str, str] = field(default_factory=dict)
    """Run id -> the failed run that it waits for."""
    stopped: str | None = None
    """What ended it before everything was done: `Ctrl-C`, `SIGTERM`, `w2s cancel`, its budget."""
    spent: str | None = None
    """What of its budget is spent, in words; None without one."""
    left: int = 0
    """Fits that its budget left undone, trials included."""

    @property
    def complete(self) -> bool:
        """Whether every cell has all its runs."""
        return not (self.failed or self.blocked or self.plan.waiting or self.stopped)


class GraphRunner:
    """One walk over one plan."""

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

        self.plan = cluster.settled(plan)
        self.order = priorities(plan)
        self.store = store
        self.sweep_text = sweep_text
        self.cluster = cluster
        self.budget_guard = budget_guard
        self.done = store.done([*plan.fits, *plan.studies])
        self.failed: dict[str, str] = {}
        self.began = utc_now()
        progress_tracker = start_progress_tracker()
        self.tracking = Tracking(plan.sweep, console)
        self.context = RunContext(
            store=store.uri,
            cluster=cluster,
            progress_tracker=progress_tracker,
            worker_pool=start_worker_pool(cluster),
            tracker_actor=self.tracking.tracker_actor,
            lease_s=plan.sweep.limits.lease_s,
        )
        self.run_threads = RunThreads(self.context)
        self.display = ProgressDisplay(console, progress_tracker)
        self.tally = ProgressCounts(names={}, kinds={})
        self.nodes = PendingNodes()
        self.expected: Counter[Execution] = Counter()
        self.halted: int | None = None
        """How many fits were under way when they were last counted after the budget's end."""

    def to_end(self, heartbeat: DriverHeartbeat, stop: Stop) -> Outcome:
        """Start what is ready and take what ends, until nothing runs and nothing is ready.

        Or until it is asked to stop: then what is under way writes a checkpoint and ends. Or until
        its budget is spent: then what is under way is trained to its end.
        """
        nodes = self.nodes if self.cluster.autoscales else contextlib.nullcontext()
        with self.display, nodes, self.budget_guard.followed(lambda: self.plan):
            self._start_ready()
            while self.run_threads.running and stop.why is None:
                self._count()
                self.nodes.tell(self.display.seen)
                self.tally.wanted = self.nodes.now
                self.display.show(self.tally)
                heartbeat.tell(self._news())
                self.tracking.look()
                if self.budget_guard.look(self.display.seen):
                    self._let_finish(stop)
                ended = self.run_threads.next_ended(TICK_S)
                while ended is not None:
                    self._take(*ended)
                    ended = self.run_threads.next_ended(0)
                    if ended is None:
                        self._start_ready()
            stopped = stop.why if self.run_threads.running else None
            if stopped is not None:
                self._stop(heartbeat, stopped)
        self.tracking.finish()
        return Outcome(
            plan=self.plan,
            done=len(self.done),
            trained=self._trained(),
            failed=self.failed,
            blocked=self.plan.blocked_by(self.failed),
            stopped=stopped,
        )

    def _let_finish(self, stop: Stop) -> None:
        """Nothing new starts; once no fit is under way any more, the walk ends.

        The floor is told each time, since one that was restarted lets fits in again.
        """
        self.context.worker_pool.drain.remote()
        fits = fits_under_way(self.display.seen)
        if self.halted is None:
            said = f"{self.budget_guard.said}: nothing new starts, fits under way finish: {fits}"
            self.display.line(said, self.tally)
        elif not (fits or self.halted):
            stop.request(self.budget_guard.why)
        self.halted = fits

    def _stop(self, heartbeat: DriverHeartbeat, why: str) -> None:
        """End what is under way, and take what was done by then."""
        fits = len(self.display.seen.steps)
        leaving = f": {fits} fits write a checkpoint" if fits else ""
        self.display.line(f"stopping ({why}){leaving}", self.tally)
        heartbeat.tell({**self._news(), "phase": "stopping"})
        if not shut_down(self.context, self.run_threads):
            self.display.line("some fits left none and go on from an earlier one", self.tally)
        deadline = time.monotonic() + UNWATCH_S
        while self.run_threads.running and time.monotonic() < deadline:
            ended = self.run_threads.next_ended(TICK_S)
            if ended is not None:
                self._take(*ended)

    def tidy(self) -> None:
        """Throw away what nobody resumes: what stopped fits wrote at the last moment."""
        left = self.store.work_left()
        over = left & self.done
        for study in self.plan.studies if left else ():
            over |= left & {fit for trial in self.store.trials(study) for fit in trial["fits"]}
        for fit in over:
            self.context.forget(fit)

    def _start_ready(self) -> None:
        """Watch over what is ready; the floor lets in what there is room for."""
        if self.budget_guard.empty:
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
        """Tell the floor what is about to ask, so that nodes for it are started now."""
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
            layouts: Counter[WorkerSpec] = Counter()
            for execution, count in expected.items():
                layouts[WorkerSpec.of(execution, self.cluster.resources(execution))] += count
            self.context.worker_pool.expect_demand.remote(dict(layouts))

    def _news(self) -> dict[str, Any]:
        """What there is to say of this walk, for other processes."""
        return driver_state(
            self.display.seen,
            watched=self.run_threads.running,
            failed=self.failed,
            at_once=self.tally.at_once,
            nodes=self.nodes.now.news() if self.nodes.now is not None else None,
            budget=self.budget_guard.said,
            phase="running" if self.halted is None else "ending: its budget is spent",
        )

    def _take(self, run_id: str, record: Record) -> None:
        """Note how a run ended, and plan again where that tells more."""
        run = self.plan.fits.get(run_id) or self.plan.studies[run_id]
        if record.status == "stopped":
            return
        if record.status != "done":
            self.failed[run_id] = record.reason or record.status
            failed = Text.assemble(("failed", "red"), f" {run.called}: {record.reason}")
            self.display.line(failed, self.tally)
            return
        self.done.add(run_id)
        if isinstance(run, PlannedStudy):
            self._plan_again()
        self._count()
        done = Text.assemble(("done", "green"), f"   {run.called}{_figure(record)}")
        self.display.line(done, self.tally)

    def _trained(self) -> int:
        """Fits that this call trained or began to train, trials included."""
        trials = {
            fit
            for study in self.plan.studies
            for trial in self.store.trials(study)
            for fit in trial["fits"]
        }
        latest = self.store.latest({*self.plan.fits, *trials})
        return sum(record.started_at >= self.began for record in latest)

    def _plan_again(self) -> None:
        """A study has ended: its refits are known now."""
        plan = plan_sweep(self.plan.sweep, store=self.store, inputs=self.plan.inputs)
        self.plan = self.cluster.settled(plan)
        self.order = priorities(self.plan)
        self.done |= self.store.done([*self.plan.fits, *self.plan.studies])
        write_manifest(self.plan, self.store, self.sweep_text)

    def _count(self) -> None:
        """Bring the tally up to date."""
        plan, tally, seen = self.plan, self.tally, self.display.seen
        blocked = plan.blocked_by(self.failed)
        lost = {*self.failed, *blocked}
        left = [f for f in plan.fits.values() if f.id not in self.done and f.id not in lost]
        studies = [s for s in plan.studies.values() if s.id not in self.done]
        trials, ended = [], plan.trials
        for study in studies:
            to_go = study.recipe.trials - seen.ended_trials(study.id)
            ended -= to_go * len(study.trial_models)
            trials += study.trial_models * to_go if study.id not in lost else []
        waiting = [c.strong for c in plan.cells if c.student is None and c.study not in lost]
        tally.todo = [fit.source.name for fit in left] + trials + waiting
        tally.done = sum(fit in self.done for fit in plan.fits) + ended
        tally.total = len(plan.fits) + plan.trials + plan.waiting
        tally.failed = len(self.failed)
        tally.blocked = len(blocked)
        tally.running = list(self.run_threads.running)
        tally.kinds = {fit.id: fit.source.name for fit in plan.fits.values()}
        tally.names = {r.id: r.called for r in (*plan.fits.values(), *plan.studies.values())}
        tally.at_once = max(1, self.cluster.slots(plan.sweep.execution))


def _figure(record: Record) -> str:
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
