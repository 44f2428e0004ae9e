"""The remaining time and compute, estimated from finished fits.

Owns the choice of finished fits for the estimate of a later one: those of its task, model and
method, else of its task and model, else of its model, else all. A task's first fit of a model also
reads the rows: it tokenizes them, and a frozen model computes their activations. Every other fit
prepares itself as long as usual. A study also takes time in which nothing is trained. It depends on
values alone.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from statistics import fmean, median

from w2s_ray.plan import Plan, PlannedFit, PlannedStudy
from w2s_ray.status.study_overhead import study_overhead
from w2s_ray.status.values import Remaining
from w2s_ray.store import Record

Kind = tuple[str | None, ...]


@dataclass(frozen=True)
class FitToDo:
    """A fit that is not trained yet."""

    task: str
    model: str
    method: str | None
    """None for a supervisor or ceiling."""
    run: str | None = None
    """None for a trial's fit or a later fit, which have no id yet."""


@dataclass(frozen=True)
class Cost:
    """The time and compute of a fit."""

    seconds: float
    device_seconds: float
    flops: float


def fits_to_do(
    plan: Plan, *, pending: Collection[str], lost: Collection[str], ended: Mapping[str, int]
) -> list[FitToDo]:
    """Every fit that is not trained yet: `pending` planned ones, trials' fits, later fits.

    `lost` are runs that failed or are blocked, `ended` the number of each study's ended trials.
    """
    fits = [_planned(fit) for fit in plan.fits.values() if fit.id in pending]
    trials = [
        todo
        for study in plan.studies.values()
        if study.id in pending
        for todo in _cells(study) * max(0, study.recipe.trials - ended.get(study.id, 0))
    ]
    later = [
        FitToDo(fit.run.task, fit.run.source.name, "/".join(fit.run.methods) or None)
        for fit in plan.later_fits.values()
        if fit.study not in lost
    ]
    later += [
        todo
        for study in plan.later_studies.values()
        if study.study not in lost
        for todo in _cells(study.run) * study.run.recipe.trials
    ]
    return [*fits, *trials, *later]


def studies_to_do(plan: Plan, *, pending: Collection[str], lost: Collection[str]) -> int:
    """How many studies have not ended, later ones included."""
    later = sum(study.study not in lost for study in plan.later_studies.values())
    return len(plan.studies.keys() & pending) + later


def estimate_remaining(
    todo: Collection[FitToDo],
    *,
    finished: Iterable[Record],
    running: Iterable[tuple[FitToDo, float]],
    at_once: int | None,
    studies: int = 0,
) -> Remaining | None:
    """The estimate from `finished` fits and studies, where `studies` have not ended.

    `running` are fits of `todo` with the share of each that is done. None where nothing is to do or
    no fit has finished.
    """
    records = list(finished)
    finished = [record for record in records if record.kind == "fit"]
    ended = [record for record in records if record.kind == "study"]
    waiting = studies * study_overhead(ended, finished, at_once=at_once or 1)
    usual = _usual_setup(finished, at_once=at_once or 1)
    costs = _costs(finished, usual)
    if not todo or not costs:
        return None
    means = {kind: _mean(of_kind) for kind, of_kind in costs.items()}
    each = [*(_expected(fit, means) for fit in todo), *_reading(todo, finished, usual)]
    saved = [(_expected(fit, means), share) for fit, share in running]
    seconds = sum(cost.seconds for cost in each) - sum(c.seconds * share for c, share in saved)
    seconds += waiting
    return Remaining(
        fits=len(todo),
        device_seconds=max(
            0.0, sum(c.device_seconds for c in each) - sum(c.device_seconds * s for c, s in saved)
        ),
        flops=max(0.0, sum(c.flops for c in each) - sum(c.flops * s for c, s in saved)),
        seconds=max(0.0, seconds / min(at_once, len(todo))) if at_once else None,
        from_fits=len(costs[()]),
        guessed=sum((None, fit.model) not in means for fit in todo),
    )


def _planned(fit: PlannedFit) -> FitToDo:
    return FitToDo(fit.task, fit.source.name, "/".join(fit.methods) or None, fit.id)


def _cells(study: PlannedStudy) -> list[FitToDo]:
    """The fits of one of a study's trials."""
    return [FitToDo(fit.task, fit.source.name, study.method) for fit in study.trial_fits({})]


def _kinds(task: str, model: str, method: str | None) -> tuple[Kind, ...]:
    """The kinds of fits that a fit's estimate may come from, the nearest first."""
    return (task, model, method), (task, model), (None, model), ()


def _usual_setup(finished: Iterable[Record], *, at_once: int) -> dict[Kind, float]:
    """Kind -> seconds before the first step of a fit whose rows were read before.

    The kinds are task, model and method, and task and model. The longest setups of each, as many as
    fits run at once, are left out: they read the rows, or waited for a fit that did.
    """
    setups: dict[Kind, list[float]] = defaultdict(list)
    for record in finished:
        for kind in _kinds_of(record)[:2]:
            setups[kind].append(_setup(record))
    later = {kind: sorted(found, reverse=True)[at_once:] for kind, found in setups.items()}
    return {kind: median(found) for kind, found in later.items() if found}


def _beyond_usual(record: Record, usual: Mapping[Kind, float]) -> float:
    """Seconds of its setup beyond the usual one, nearly all of them the first reading of rows."""
    expected = next((usual[kind] for kind in _kinds_of(record)[:2] if kind in usual), 0.0)
    return max(0.0, _setup(record) - expected)


def _costs(finished: Iterable[Record], usual: Mapping[Kind, float]) -> dict[Kind, list[Cost]]:
    costs: dict[Kind, list[Cost]] = defaultdict(list)
    for record in finished:
        beyond = _beyond_usual(record, usual)
        seconds, devices = max(0.0, record.seconds - beyond), _devices(record)
        flops = float(record.summary.get("training_flops") or 0.0)
        for kind in _kinds_of(record):
            costs[kind].append(Cost(seconds, seconds * devices, flops))
    return costs


def _reading(
    todo: Iterable[FitToDo], finished: Iterable[Record], usual: Mapping[Kind, float]
) -> list[Cost]:
    """The cost of reading rows, for each task and model without a finished fit.

    It is expected to take as long as the longest setup of the model's fits of another task, beyond
    the usual one.
    """
    longest: dict[Kind, Cost] = {}
    for record in finished:
        at = _task_and_model(record)
        beyond = _beyond_usual(record, usual)
        cost = Cost(beyond, beyond * _devices(record), 0.0)
        longest[at] = max(longest.get(at, cost), cost, key=lambda each: each.seconds)
    by_model: dict[str, list[Cost]] = defaultdict(list)
    for (_, model), cost in longest.items():
        by_model[str(model)].append(cost)
    every = _mean(longest.values())
    new = {(fit.task, fit.model) for fit in todo} - longest.keys()
    return [_mean(by_model[model]) if model in by_model else every for _, model in sorted(new)]


def _kinds_of(record: Record) -> tuple[Kind, ...]:
    about = record.about
    return _kinds(str(about.get("task")), str(about.get("model")), about.get("method"))


def _task_and_model(record: Record) -> Kind:
    return str(record.about.get("task")), str(record.about.get("model"))


def _setup(record: Record) -> float:
    """Seconds before a fit's first step."""
    return float(record.summary.get("setup_seconds") or 0.0)


def _devices(record: Record) -> float:
    return record.device_seconds / record.seconds if record.seconds else 1.0


def _mean(costs: Collection[Cost]) -> Cost:
    return Cost(
        fmean(cost.seconds for cost in costs),
        fmean(cost.device_seconds for cost in costs),
        fmean(cost.flops for cost in costs),
    )


def _expected(fit: FitToDo, means: Mapping[Kind, Cost]) -> Cost:
    return next(means[k] for k in _kinds(fit.task, fit.model, fit.method) if k in means)
