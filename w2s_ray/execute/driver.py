"""The driver: walks the graph of a sweep, starting whatever is ready, until nothing is left.

Owns the order of runs and the sweep's outcome. A run that is done is never started again; a failed
one blocks only what depends on it. It holds no state that the store doesn't: the same sweep run
again goes on where a killed driver was. It trains nothing itself and imports no torch.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from rich.console import Console
from rich.markup import escape

from w2s_ray.execute.order import ranks
from w2s_ray.execute.prepare import (
    materialize,
    plan_sweep,
    refuse_provisional,
    write_manifest,
)
from w2s_ray.plan import Plan, PlannedStudy
from w2s_ray.spec import Sweep
from w2s_ray.store import Record, Store, utc_now

AHEAD = 2
"""Fits that wait for room while others run, as a multiple of those that there is room for."""
TICK_S = 0.5


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
        driver = _Driver(plan, store, sweep_text, console, cluster)
        try:
            yield driver
        finally:
            driver.carrier.close()
    finally:
        context.__exit__(None, None, None)


class _Driver:
    """One walk over one plan."""

    def __init__(
        self, plan: Plan, store: Store, sweep_text: str, console: Console, cluster: Any
    ) -> None:
        from w2s_ray.execute.fits.board import start_board
        from w2s_ray.execute.fits.carrier import Carrier
        from w2s_ray.execute.fits.floor import start_floor
        from w2s_ray.execute.progress import Display, Tally
        from w2s_ray.execute.watch import Watches

        self.plan = plan
        self.order = ranks(plan)
        self.store = store
        self.sweep_text = sweep_text
        self.cluster = cluster
        self.done = store.done([*plan.fits, *plan.studies])
        self.failed: dict[str, str] = {}
        self.began = utc_now()
        board = start_board()
        self.carrier = Carrier(
            store=store.uri,
            cluster=cluster,
            board=board,
            floor=start_floor(cluster),
            lease_s=plan.sweep.limits.lease_s,
        )
        self.watches = Watches(self.carrier)
        self.display = Display(console, board)
        self.tally = Tally(names={}, kinds={})

    def walk(self) -> Outcome:
        """Start what is ready and take what ends, until nothing runs and nothing is ready."""
        with self.display:
            self._start_ready()
            while self.watches.running:
                self._count()
                self.display.show(self.tally)
                ended = self.watches.next_ended(TICK_S)
                while ended is not None:
                    self._take(*ended)
                    ended = self.watches.next_ended(0)
                    if ended is None:
                        self._start_ready()
        return Outcome(
            plan=self.plan,
            done=len(self.done),
            trained=self._trained(),
            failed=self.failed,
            blocked=self.plan.blocked_by(self.failed),
        )

    def tidy(self) -> None:
        """Throw away what nobody resumes: what stopped fits wrote at the last moment."""
        left = self.store.work_left()
        over = left & self.done
        for study in self.plan.studies if left else ():
            over |= left & {fit for trial in self.store.trials(study) for fit in trial["fits"]}
        for fit in over:
            self.carrier.forget(fit)

    def _start_ready(self) -> None:
        """Watch over what is ready; the floor lets in what there is room for."""
        limits, running = self.plan.sweep.limits, self.watches.running
        ready = list(self.plan.ready(done=self.done, excluded={*self.failed, *running}))
        for run_id in (r for r in ready if r in self.plan.studies):
            if sum(r in self.plan.studies for r in running) < limits.studies_at_once:
                study = self.plan.studies[run_id]
                at_once = limits.trials_at_once or self.cluster.slots(study.executions[0])
                self.watches.start_study(study, at_once=at_once)
        fits = [self.plan.fits[r] for r in ready if r in self.plan.fits]
        for fit in sorted(fits, key=lambda fit: self.order[fit.id]):
            waiting = sum(r in self.plan.fits for r in running)
            if waiting < (1 + AHEAD) * self.cluster.slots(fit.execution):
                self.watches.start_fit(fit, rank=self.order[fit.id])

    def _take(self, run_id: str, record: Record) -> None:
        """Note how a run ended, and plan again where that tells more."""
        run = self.plan.fits.get(run_id) or self.plan.studies[run_id]
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
        self.order = ranks(self.plan)
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
        tally.running = list(self.watches.running)
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
