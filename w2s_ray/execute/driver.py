"""The driver: walks the graph of a sweep, starting whatever is ready, until nothing is left.

Owns the order of runs and the sweep's outcome. A run that is done is never started again; a failed
one blocks only what depends on it. It holds no state that the store doesn't: the same sweep run
again goes on where a killed driver was. It trains nothing itself and imports no torch.
"""

from __future__ import annotations

import contextlib
import traceback
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from rich.console import Console
from rich.markup import escape

from w2s_ray.execute.prepare import (
    materialize,
    plan_sweep,
    refuse_provisional,
    write_manifest,
)
from w2s_ray.plan import Plan, PlannedFit, PlannedStudy
from w2s_ray.spec import Sweep
from w2s_ray.store import Record, Store, utc_now

STUDIES_AT_ONCE = 4
"""Studies whose trials compete for the cluster at the same time."""


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

    @property
    def complete(self) -> bool:
        """Whether every cell has all its runs."""
        return not self.failed and not self.blocked and not self.plan.waiting


def run_sweep(
    sweep: Sweep,
    *,
    store: Store | None = None,
    sweep_text: str = "",
    console: Console | None = None,
) -> Outcome:
    """Carry out everything in `sweep` that the store (by default its own) doesn't hold yet.

    Everything that can be refused is refused before any training: inputs that can't be read, a
    store that can't be written, resources that the cluster doesn't have.

    Raises:
        ValueError: one of those; the message names the remedy.
    """
    console = console or Console(stderr=True)
    store = store or Store.open(sweep.store)
    plan = plan_sweep(sweep, store=store)
    refuse_provisional(plan)
    store.check_writable()
    materialize(plan, store)
    write_manifest(plan, store, sweep_text)
    runs = {*plan.fits, *plan.studies}
    if store.done(runs) == runs and not plan.waiting:
        return Outcome(plan=plan, done=len(runs), trained=0)
    with _driver(plan, store, sweep_text, console) as driver:
        outcome = driver.walk()
    driver.tidy()
    return outcome


@contextlib.contextmanager
def _driver(plan: Plan, store: Store, sweep_text: str, console: Console) -> Iterator[_Driver]:
    from w2s_ray.execute.environment import set_variables

    set_variables()  # Ray reads some of them when it is imported
    from w2s_ray.execute.cluster import ray_cluster

    with console.status("starting Ray", spinner="dots"):
        context = ray_cluster()
        cluster = context.__enter__()
    try:
        cluster.check(plan)
        yield _Driver(plan, store, sweep_text, console, cluster)
    finally:
        context.__exit__(None, None, None)


class _Driver:
    """One walk over one plan."""

    def __init__(
        self, plan: Plan, store: Store, sweep_text: str, console: Console, cluster: Any
    ) -> None:
        from w2s_ray.execute.carrier import Carrier
        from w2s_ray.execute.progress import Board, Display, Tally

        self.plan = plan
        self.store = store
        self.sweep_text = sweep_text
        self.cluster = cluster
        self.done = store.done([*plan.fits, *plan.studies])
        self.failed: dict[str, str] = {}
        self.running: dict[Any, str] = {}
        self.began = utc_now()
        board = Board.remote()
        self.carrier = Carrier(store=store.uri, cluster=cluster, board=board)
        self.display = Display(console, board)
        self.tally = Tally(names={}, kinds={})

    def walk(self) -> Outcome:
        """Start what is ready and take what ends, until nothing runs and nothing is ready."""
        import ray

        with self.display:
            while True:
                self._start_ready()
                self._count()
                self.display.show(self.tally)
                if not self.running:
                    break
                ended, _ = ray.wait(list(self.running), timeout=0.5)
                for reference in ended:
                    self._take(reference)
        return Outcome(
            plan=self.plan,
            done=len(self.done),
            trained=self._trained(),
            failed=self.failed,
            blocked=self.plan.blocked_by(self.failed),
        )

    def tidy(self) -> None:
        """Throw away what pruned worker groups wrote while they were being stopped."""
        for study in self.plan.studies:
            for trial in self.store.trials(study):
                for fit in trial["fits"]:
                    self.carrier.forget(fit)

    def _start_ready(self) -> None:
        from w2s_ray.execute.study import study_task
        from w2s_ray.execute.tasks import start_fit

        excluded = {*self.failed, *self.running.values()}
        for run_id in list(self.plan.ready(done=self.done, excluded=excluded)):
            study = self.plan.studies.get(run_id)
            if study is not None and self._running_studies() < STUDIES_AT_ONCE:
                slots = self.cluster.slots(study.executions[0])
                reference = study_task.remote(study, self.carrier, slots)
                self.running[reference] = run_id
            elif study is None and self._has_slot(self.plan.fits[run_id]):
                self.running[start_fit(self.plan.fits[run_id], self.carrier)] = run_id

    def _has_slot(self, fit: PlannedFit) -> bool:
        """Whether to hand Ray another fit: as many as fit at once, half of them beside studies.

        Trials get their turn because the driver holds fits back; Ray alone would let fits that
        wait in its queue take every slot that comes free.
        """
        slots = self.cluster.slots(fit.execution)
        if self._running_studies():
            slots = max(1, slots // 2)
        return len(self.running) - self._running_studies() < slots

    def _running_studies(self) -> int:
        return sum(run_id in self.plan.studies for run_id in self.running.values())

    def _take(self, reference: Any) -> None:
        """Note how a run ended, and plan again where that tells more."""
        import ray

        run_id = self.running.pop(reference)
        run = self.plan.fits.get(run_id) or self.plan.studies[run_id]
        if isinstance(run, PlannedFit):
            self.carrier.say_ended(run)
        try:
            record: Record = ray.get(reference)
        except Exception as error:  # noqa: BLE001 - whatever killed it becomes a record
            record = self._lost(run, error)
        if record.status != "done":
            self.failed[run_id] = record.reason or record.status
            self.display.line(
                f"[red]failed[/red] {run.called}: {escape(str(record.reason))}", self.tally
            )
            return
        self.done.add(run_id)
        if isinstance(run, PlannedStudy):
            self._plan_again()
        self._count()
        self.display.line(f"[green]done[/green]   {run.called}{_figure(record)}", self.tally)

    def _lost(self, run: PlannedFit | PlannedStudy, error: Exception) -> Record:
        """The record of a run whose process died more often than it may."""
        from w2s_ray.execute.outcome import outcome_record, reason_of

        record = outcome_record(
            run,
            status="failed",
            reason=reason_of(error),
            traceback=traceback.format_exc(),
            attempts=len(self.store.attempts(run.id)) + 1,
        )
        with contextlib.suppress(OSError):  # it is said at the end even if it can't be written
            self.store.write_attempt(record)
        return record

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
        self.plan = plan_sweep(self.plan.sweep, store=self.store, inputs=self.plan.inputs)
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
            ended -= to_go * len(study.sources)
            trials += [s.name for s in study.sources * to_go] if study.id not in lost else []
        waiting = [c.strong for c in plan.cells if c.student is None and c.study not in lost]
        tally.todo = [fit.source.name for fit in left] + trials + waiting
        tally.done = sum(fit in self.done for fit in plan.fits) + ended
        tally.total = len(plan.fits) + plan.trials + plan.waiting
        tally.failed = len(self.failed)
        tally.blocked = len(blocked)
        tally.running = list(self.running.values())
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
    return ": " + ", ".join(
        f"{k}={v:.3g}" if isinstance(v, float) else f"{k}={v}" for k, v in settings.items()
    )
