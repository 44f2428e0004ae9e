"""A sweep's status, computed from the contents of a store.

Owns the precedence between the store, the plan and the heartbeats of drivers: a record takes
precedence over an earlier heartbeat, and while a driver lives a failure counts only if that driver
reports it as final. It reads and writes nothing.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from typing import Any

from w2s_ray.fits.contrast import low_contrast, mean_contrast
from w2s_ray.plan import Later, Plan, PlannedFit, PlannedStudy
from w2s_ray.status.reasons import WaitContext, wait_reason
from w2s_ray.status.remaining import (
    FitToDo,
    estimate_remaining,
    fits_to_do,
    studies_to_do,
)
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
    """The contents of a store at one moment."""

    plan: Plan
    store: str
    """Its URI."""
    known: bool
    """Whether the store has files of any planned run."""
    drivers: tuple[tuple[DriverState, bool], ...]
    """The sweep's drivers, and whether each is alive."""
    done: frozenset[str]
    """Planned runs that are done."""
    records: Mapping[str, Record]
    """Those of done runs, trials' fits included."""
    attempts: Mapping[str, tuple[Record, ...]]
    """Run that is not done and whose last attempt failed -> its attempts."""
    trials: Mapping[str, list[dict[str, Any]]]
    """Study -> its ended trials."""
    holder: Callable[[str], Holder | None]
    """The holder of a run's lease."""

    @cached_property
    def alive(self) -> list[DriverState]:
        """The last heartbeats of live drivers."""
        return [driver for driver, is_alive in self.drivers if is_alive]

    @cached_property
    def runs(self) -> dict[str, PlannedFit | PlannedStudy]:
        """Every planned run."""
        return {run.id: run for run in (*self.plan.fits.values(), *self.plan.studies.values())}

    @cached_property
    def run_states(self) -> dict[str, dict[str, Any]]:
        """Run that has not ended -> its state in a live driver's heartbeat; `running` ones win."""
        states: dict[str, dict[str, Any]] = {}
        for driver in self.alive:
            for run in driver.about.get("runs", ()):
                known = states.get(run["run"], {}).get("state") == "running"
                if run["run"] not in self.records and not known:
                    states[run["run"]] = {**run, "for_s": _seconds(run["since"], driver)}
        return states

    @cached_property
    def failed(self) -> set[str]:
        """Runs whose failure is final: a live driver tries those again that failed before it."""
        final = {run for driver in self.alive for run in driver.about.get("failed", ())}
        return {run for run in self.attempts if not self.alive or run in final}

    @cached_property
    def blocked(self) -> dict[str, str]:
        """Run -> the failed run that it depends on."""
        blocked = self.plan.blocked_by(self.failed)
        return {run: by for run, by in blocked.items() if run not in self.done}

    @cached_property
    def pending(self) -> set[str]:
        """Planned runs that have not ended."""
        return self.runs.keys() - self.done - self.failed - self.blocked.keys()

    @cached_property
    def running(self) -> set[str]:
        """Runs that a live driver is running, trials' fits included."""
        return {run for run, state in self.run_states.items() if state["state"] == "running"}


def status_of(found: StoreState) -> Status:
    """The sweep's status."""
    running = tuple(
        _running(found.run_states[run], found) for run in found.running - found.plan.studies.keys()
    )
    running = tuple(sorted(running, key=lambda fit: -fit.for_s))
    return Status(
        sweep=found.plan.sweep.name,
        store=found.store,
        state=_state(found),
        total=len(found.runs) + len(_later(found.plan)),
        done=len(found.done),
        drivers=tuple(_driver(driver, is_alive) for driver, is_alive in found.drivers),
        running=running,
        waiting=_waiting(found),
        blocked=_blocked(found),
        failed=tuple(_failed(found.runs[run], found.attempts[run]) for run in sorted(found.failed)),
        studies=tuple(_study(s, found, running) for s in found.plan.studies.values()),
        retried=_retried(found),
        left=_left(found, running),
        low_contrast=_low_contrast(found),
    )


def _state(found: StoreState) -> Any:
    if found.alive:
        return "running"
    if len(found.done) == len(found.runs) and not found.plan.waiting:
        return "complete"
    if not found.known and not found.drivers:
        return "untouched"
    lost = found.failed | found.blocked.keys()
    later = any(run.study not in lost for run in _later(found.plan))
    return "unfinished" if found.pending or later else "failed"


def _waiting(found: StoreState) -> tuple[Waiting, ...]:
    context = WaitContext(
        plan=found.plan,
        done=found.done,
        run_states=found.run_states,
        monitored={run for driver in found.alive for run in driver.about.get("watched", ())},
        last_failures={run: attempts[-1] for run, attempts in found.attempts.items()},
        has_driver=bool(found.alive),
        starting=all(driver.about.get("phase") == "starting Ray" for driver in found.alive),
        holder=found.holder,
        nodes=next((d.about["nodes"]["text"] for d in found.alive if d.about.get("nodes")), None),
    )
    idle = found.pending - found.running
    later = [
        Waiting(
            run=None,
            description=run.run.description,
            why="study",
            of=run.study,
            reason=f"the {found.plan.studies[run.study].description}",
        )
        for run in _later(found.plan)
        if run.study in found.pending
    ]
    planned = (wait_reason(run, context) for run in found.runs.values() if run.id in idle)
    return (*planned, *later)


def _blocked(found: StoreState) -> tuple[Blocked, ...]:
    later = [
        (None, run.run.description, found.blocked.get(run.study, run.study))
        for run in _later(found.plan)
        if run.study in found.failed or run.study in found.blocked
    ]
    planned = [(run, found.runs[run].description, by) for run, by in found.blocked.items()]
    return tuple(
        Blocked(run, description, by, found.runs[by].description)
        for run, description, by in [*planned, *later]
    )


def _later(plan: Plan) -> list[Later[PlannedFit | PlannedStudy]]:
    """The runs that can't be planned before a study has ended."""
    return [*plan.later_studies.values(), *plan.later_fits.values()]


def _driver(driver: DriverState, is_alive: bool) -> Driver:
    about, now = driver.about, datetime.now(UTC).timestamp()
    written = datetime.fromisoformat(driver.written_at).timestamp()
    started = datetime.fromisoformat(about.get("started_at", driver.written_at)).timestamp()
    nodes = about.get("nodes")
    return Driver(
        host=driver.host,
        pid=driver.holder.pid,
        alive=is_alive,
        said_s=max(0.0, now - written),
        running_s=max(0.0, written - started),
        phase=str(about.get("phase")),
        nodes=nodes["text"] if nodes else None,
        nodes_s=_seconds(nodes["since"], driver) if nodes else None,
        budget=about.get("budget"),
    )


def _running(state: Mapping[str, Any], found: StoreState) -> Running:
    planned = found.plan.fits.get(state["run"])
    queue = state.get("queue")
    study = queue if queue in found.plan.studies else None
    roles = state.get("roles") or (planned.roles if planned else ())
    return Running(
        run=state["run"],
        description=planned.description
        if planned and study is None
        else _trial_description(state, study),
        task=state.get("task"),
        model=state.get("model"),
        role="trial" if study else "/".join(roles) or None,
        method=state.get("method"),
        seed=state.get("seed"),
        study=study,
        trial=state.get("priority") if study else None,
        place=state.get("place") or "",
        for_s=state["for_s"],
        step=state.get("step"),
        steps=state.get("steps"),
        fetched=state.get("fetched"),
    )


def _trial_description(state: Mapping[str, Any], study: str | None) -> str:
    if study is None:
        return f"fit {state['run'][:8]}"
    taught = f" taught by {state['weak']}" if state.get("weak") else ""
    subject = state.get("method") or " and ".join(state.get("roles") or ())
    return (
        f"trial {state.get('priority')} of {subject}: {state.get('model')}{taught} "
        f"on {state.get('task')}"
    )


def _failed(run: PlannedFit | PlannedStudy, attempts: tuple[Record, ...]) -> Failed:
    *earlier, last = [attempt for attempt in attempts if attempt.status == "failed"]
    return Failed(
        run=run.id,
        description=run.description,
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
        description=study.description,
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
    return "running" if study in found.running else "waiting"


def _retried(found: StoreState) -> dict[str, int]:
    counts = [Counter(found.records[run].retries) for run in found.done]
    counts += [
        Counter(attempt.cause for attempt in attempts[:-1] if attempt.cause)
        for attempts in found.attempts.values()
    ]
    return dict(sum(counts, Counter[str]()))


def _left(found: StoreState, running: tuple[Running, ...]) -> Remaining | None:
    lost = found.failed | found.blocked.keys()
    todo = fits_to_do(
        found.plan,
        pending=found.pending,
        lost=lost,
        ended={study: len(trials) for study, trials in found.trials.items()},
    )
    return estimate_remaining(
        todo,
        finished=found.records.values(),
        running=[
            (FitToDo(str(fit.task), str(fit.model), fit.method), fit.step / fit.steps)
            for fit in running
            if fit.step and fit.steps
        ],
        at_once=max((driver.about.get("at_once") or 1 for driver in found.alive), default=None),
        studies=studies_to_do(found.plan, pending=found.pending, lost=lost),
    )


def _low_contrast(found: StoreState) -> tuple[str, ...]:
    """A text for each supervisor of a task whose labels lie close together, over its done seeds."""
    summaries: dict[str, list[Mapping[str, Any]]] = {}
    for id_, fit in found.plan.fits.items():
        if "supervisor" in fit.roles and id_ in found.records:
            name = f"{fit.source.name} on {fit.task}"
            summaries.setdefault(name, []).append(found.records[id_].summary)
    remarks = {name: low_contrast(*mean_contrast(each)) for name, each in summaries.items()}
    return tuple(f"{name} ({figures})" for name, figures in remarks.items() if figures)


def _seconds(since: float, driver: DriverState) -> float:
    """Seconds from `since` to the driver's last heartbeat, both by its own clock."""
    return max(0.0, datetime.fromisoformat(driver.written_at).timestamp() - since)
