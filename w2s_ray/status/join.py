"""From what was found in a store to how far a sweep is.

Owns which of a run's states counts where the store, the plan and a driver's words meet: a record
outweighs what a driver said before it, and a failure counts while a driver lives only if that
driver has given the run up. It reads and writes nothing.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from typing import Any

from w2s_ray.plan import Plan, PlannedCell, PlannedFit, PlannedStudy
from w2s_ray.status.reasons import WaitContext, waits
from w2s_ray.status.remaining import Todo, left_of, todo_of
from w2s_ray.status.values import (
    Blocked,
    Driver,
    Failed,
    Remaining,
    Running,
    Status,
    StudySeen,
    Waiting,
)
from w2s_ray.store import Record
from w2s_ray.store.heartbeats import DriverState
from w2s_ray.store.leases import Holder


@dataclass(frozen=True)
class StoreState:
    """What one look at a store found."""

    plan: Plan
    store: str
    """Its URI."""
    known: bool
    """Whether the store has anything of any planned run."""
    drivers: tuple[tuple[DriverState, bool], ...]
    """The sweep's drivers, and whether each lives."""
    done: frozenset[str]
    """Planned runs that are done."""
    records: Mapping[str, Record]
    """Those of done runs, trials' fits included."""
    tried: Mapping[str, tuple[Record, ...]]
    """Run that is not done -> its attempts, of which the last one failed."""
    trials: Mapping[str, list[dict[str, Any]]]
    """Study -> its ended trials."""
    holder: Callable[[str], Holder | None]
    """Who has claimed a run."""

    @cached_property
    def alive(self) -> list[DriverState]:
        """The last words of drivers that live."""
        return [news for news, lives in self.drivers if lives]

    @cached_property
    def runs(self) -> dict[str, PlannedFit | PlannedStudy]:
        """Every planned run."""
        return {run.id: run for run in (*self.plan.fits.values(), *self.plan.studies.values())}

    @cached_property
    def said(self) -> dict[str, dict[str, Any]]:
        """Run that has not ended -> what a living driver says of it; one that runs it is heard."""
        found: dict[str, dict[str, Any]] = {}
        for news in self.alive:
            for run in news.about.get("runs", ()):
                known = found.get(run["run"], {}).get("state") == "running"
                if run["run"] not in self.records and not known:
                    found[run["run"]] = {**run, "for_s": _seconds(run["since"], news)}
        return found

    @cached_property
    def failed(self) -> set[str]:
        """Runs that are given up: a living driver tries those again that failed before it."""
        failure = {run for news in self.alive for run in news.about.get("failed", ())}
        return {run for run in self.tried if not self.alive or run in failure}

    @cached_property
    def blocked(self) -> dict[str, str]:
        """Run -> the failed run that it can't do without."""
        found = self.plan.blocked_by(self.failed)
        return {run: by for run, by in found.items() if run not in self.done}

    @cached_property
    def pending(self) -> set[str]:
        """Planned runs that are still to end."""
        return self.runs.keys() - self.done - self.failed - self.blocked.keys()

    @cached_property
    def under_way(self) -> set[str]:
        """Runs that a living driver has under way, trials' fits included."""
        return {run for run, said in self.said.items() if said["state"] == "running"}


def status_of(found: StoreState) -> Status:
    """How far the sweep is."""
    running = tuple(
        _running(found.said[run], found) for run in found.under_way - found.plan.studies.keys()
    )
    running = tuple(sorted(running, key=lambda fit: -fit.for_s))
    return Status(
        sweep=found.plan.sweep.name,
        store=found.store,
        state=_state(found),
        total=len(found.runs) + found.plan.waiting,
        done=len(found.done),
        drivers=tuple(_driver(news, lives) for news, lives in found.drivers),
        running=running,
        waiting=_waiting(found),
        blocked=_blocked(found),
        failed=tuple(_failed(found.runs[run], found.tried[run]) for run in sorted(found.failed)),
        studies=tuple(_study(s, found, running) for s in found.plan.studies.values()),
        retried=_retried(found),
        left=_left(found, running),
    )


def _state(found: StoreState) -> Any:
    if found.alive:
        return "running"
    if len(found.done) == len(found.runs) and not found.plan.waiting:
        return "complete"
    if not found.known and not found.drivers:
        return "untouched"
    lost = found.failed | found.blocked.keys()
    refits = any(cell.study not in lost for cell in _unknown(found.plan))
    return "unfinished" if found.pending or refits else "failed"


def _waiting(found: StoreState) -> tuple[Waiting, ...]:
    facts = WaitContext(
        plan=found.plan,
        done=found.done,
        said=found.said,
        watched={run for news in found.alive for run in news.about.get("watched", ())},
        tried={run: attempts[-1] for run, attempts in found.tried.items()},
        at_work=bool(found.alive),
        starting=all(news.about.get("phase") == "starting Ray" for news in found.alive),
        holder=found.holder,
        nodes=next((n.about["nodes"]["said"] for n in found.alive if n.about.get("nodes")), None),
    )
    idle = found.pending - found.under_way
    refits = [
        Waiting(
            run=None,
            called=_refit(cell),
            why="study",
            of=cell.study,
            said=f"the {found.plan.studies[cell.study or ''].called}",
        )
        for cell in _unknown(found.plan)
        if cell.study in found.pending
    ]
    return (*(waits(run, facts) for run in found.runs.values() if run.id in idle), *refits)


def _blocked(found: StoreState) -> tuple[Blocked, ...]:
    refits = [
        (None, _refit(cell), found.blocked.get(cell.study or "", cell.study or ""))
        for cell in _unknown(found.plan)
        if cell.study in found.failed or cell.study in found.blocked
    ]
    planned = [(run, found.runs[run].called, by) for run, by in found.blocked.items()]
    return tuple(
        Blocked(run, called, by, found.runs[by].called) for run, called, by in [*planned, *refits]
    )


def _unknown(plan: Plan) -> list[PlannedCell]:
    """One cell for each refit whose study has not ended."""
    cells = [cell for cell in plan.cells if cell.student is None]
    by_fit = {(c.study, c.task, c.weak, c.strong, c.seed): c for c in cells}
    return list(by_fit.values())


def _refit(cell: PlannedCell) -> str:
    return (
        f"student {cell.strong} taught by {cell.weak}, {cell.method} on {cell.task}, "
        f"seed {cell.seed}"
    )


def _driver(news: DriverState, lives: bool) -> Driver:
    now = datetime.now(UTC).timestamp()
    said_at = datetime.fromisoformat(news.written_at).timestamp()
    began = datetime.fromisoformat(news.about.get("started_at", news.written_at)).timestamp()
    nodes = news.about.get("nodes")
    return Driver(
        host=news.host,
        pid=news.holder.pid,
        alive=lives,
        said_s=max(0.0, now - said_at),
        running_s=max(0.0, said_at - began),
        phase=str(news.about.get("phase")),
        nodes=nodes["said"] if nodes else None,
        nodes_s=_seconds(nodes["since"], news) if nodes else None,
        budget=news.about.get("budget"),
    )


def _running(said: Mapping[str, Any], found: StoreState) -> Running:
    planned = found.plan.fits.get(said["run"])
    queue = said.get("queue")
    study = queue if queue in found.plan.studies else None
    roles = said.get("roles") or (planned.roles if planned else ())
    return Running(
        run=said["run"],
        called=planned.called if planned and study is None else _trial_called(said, study),
        task=said.get("task"),
        model=said.get("model"),
        role="trial" if study else "/".join(roles) or None,
        method=said.get("method"),
        seed=said.get("seed"),
        study=study,
        trial=said.get("priority") if study else None,
        place=said.get("place") or "",
        for_s=said["for_s"],
        step=said.get("step"),
        steps=said.get("steps"),
    )


def _trial_called(said: Mapping[str, Any], study: str | None) -> str:
    if study is None:
        return f"fit {said['run'][:8]}"
    taught = f" taught by {said['weak']}" if said.get("weak") else ""
    return (
        f"trial {said.get('priority')} of {said.get('method')}: {said.get('model')}{taught} "
        f"on {said.get('task')}"
    )


def _failed(run: PlannedFit | PlannedStudy, attempts: tuple[Record, ...]) -> Failed:
    *earlier, last = [attempt for attempt in attempts if attempt.status == "failed"]
    return Failed(
        run=run.id,
        called=run.called,
        cause=last.cause,
        reason=last.reason,
        attempts=len(attempts),
        retries=dict(Counter(attempt.cause for attempt in earlier if attempt.cause)),
    )


def _study(study: PlannedStudy, found: StoreState, running: tuple[Running, ...]) -> StudySeen:
    trials = found.trials[study.id]
    states = Counter(trial["state"] for trial in trials)
    values = [t["value"] for t in trials if t["state"] == "complete" and t["value"] is not None]
    choose = max if study.recipe.metric == "accuracy" else min
    return StudySeen(
        run=study.id,
        called=study.called,
        state=_study_state(study.id, found),
        trials=study.recipe.trials,
        complete=states["complete"],
        pruned=states["pruned"],
        failed=states["failed"],
        repeats=sum(trial.get("repeat_of") is not None for trial in trials),
        running=len({fit.trial for fit in running if fit.study == study.id}),
        metric=study.recipe.metric,
        best=choose(values, default=None),
    )


def _study_state(study: str, found: StoreState) -> Any:
    if study in found.done:
        return "done"
    if study in found.failed:
        return "failed"
    if study in found.blocked:
        return "blocked"
    return "running" if study in found.under_way else "waiting"


def _retried(found: StoreState) -> dict[str, int]:
    counts = [Counter(found.records[run].retries) for run in found.done]
    counts += [
        Counter(attempt.cause for attempt in attempts[:-1] if attempt.cause)
        for attempts in found.tried.values()
    ]
    return dict(sum(counts, Counter[str]()))


def _left(found: StoreState, running: tuple[Running, ...]) -> Remaining | None:
    todo = todo_of(
        found.plan,
        pending=found.pending,
        lost=found.failed | found.blocked.keys(),
        ended={study: len(trials) for study, trials in found.trials.items()},
    )
    return left_of(
        todo,
        finished=[record for record in found.records.values() if record.kind == "fit"],
        under_way=[
            (Todo(str(fit.task), str(fit.model), fit.method), fit.step / fit.steps)
            for fit in running
            if fit.step and fit.steps
        ],
        at_once=max((news.about.get("at_once") or 1 for news in found.alive), default=None),
    )


def _seconds(since: float, news: DriverState) -> float:
    """Seconds from `since` to what the driver said last, both by its own clock."""
    return max(0.0, datetime.fromisoformat(news.written_at).timestamp() - since)
