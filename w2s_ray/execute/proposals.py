"""Which settings a study's n-th trial tries: a pure function of the study's recipe and its trials.

Owns the sampling, by Optuna. Trial n is proposed from the trials up to n - concurrent_trials alone,
however many have ended by then, with a sampler seeded by (study seed, n). So a study proposes the
same whatever finishes first, and a resumed study goes on as if it had never stopped. It knows no
Ray and no store.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from w2s_ray.spec import Distribution, StudyRecipe


@dataclass(frozen=True)
class Trial:
    """An ended trial."""

    number: int
    settings: Mapping[str, Any]
    """Dotted setting -> the value tried."""
    state: Literal["complete", "pruned", "failed"]
    value: float | None = None
    """The objective at the trial's end; None if it failed."""
    intermediate: tuple[float, ...] = ()
    """The objective at each evaluation, in order."""
    fits: tuple[str, ...] = ()
    """Run ids of what it trained."""
    reason: str | None = None
    """Why it failed."""
    again: bool = False
    """Whether a resumed study runs it once more, because its process died."""


def visible(recipe: StudyRecipe, trials: Mapping[int, Trial], *, number: int) -> list[Trial] | None:
    """The trials that trial `number` may learn from, or None while one of them has not ended."""
    wanted = range(number - recipe.concurrent_trials + 1)
    if any(earlier not in trials for earlier in wanted):
        return None
    return [trials[earlier] for earlier in wanted]


def propose(recipe: StudyRecipe, *, number: int, seen: list[Trial]) -> dict[str, Any]:
    """The dotted settings of trial `number`, given the trials it may learn from.

    The samplers are Optuna's TPESampler and RandomSampler; a grid is walked in an order shuffled by
    the study's seed.
    """
    if recipe.sampler == "grid":
        return _grid_point(recipe, number)
    import optuna

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study(
        direction="maximize" if recipe.metric == "accuracy" else "minimize",
        sampler=_sampler(recipe, number),
    )
    space = {path: _distribution(recipe.space[path]) for path in sorted(recipe.space)}
    for trial in seen:
        study.add_trial(_frozen(trial, space))
    return dict(study.ask(space).params)


def best(recipe: StudyRecipe, trials: Mapping[int, Trial]) -> Trial | None:
    """The complete trial with the best value, the earliest on a tie; None if none is complete."""
    complete = [t for _, t in sorted(trials.items()) if t.state == "complete" and _usable(t.value)]
    sign = -1.0 if recipe.metric == "accuracy" else 1.0
    return min(complete, key=lambda t: (sign * (t.value or 0.0), t.number), default=None)


def _usable(value: float | None) -> bool:
    return value is not None and math.isfinite(value)


def _sampler(recipe: StudyRecipe, number: int) -> Any:
    import optuna

    seed = int(np.random.SeedSequence([recipe.seed, number]).generate_state(1)[0])
    if recipe.sampler == "random":
        return optuna.samplers.RandomSampler(seed=seed)
    startup = min(10, math.ceil(recipe.trials / 3))
    return optuna.samplers.TPESampler(seed=seed, n_startup_trials=startup, multivariate=False)


def _distribution(declared: Distribution) -> Any:
    from optuna import distributions

    if declared.uniform is not None:
        return distributions.FloatDistribution(*declared.uniform)
    if declared.loguniform is not None:
        return distributions.FloatDistribution(*declared.loguniform, log=True)
    if declared.integer is not None:
        return distributions.IntDistribution(*declared.integer)
    return distributions.CategoricalDistribution(declared.choice or ())


def _frozen(trial: Trial, space: Mapping[str, Any]) -> Any:
    """An ended trial as Optuna wants it told: complete, pruned with its curve, or failed."""
    import optuna
    from optuna.trial import TrialState

    state = {
        "complete": TrialState.COMPLETE,
        "pruned": TrialState.PRUNED,
        "failed": TrialState.FAIL,
    }[trial.state]
    if state is TrialState.COMPLETE and not _usable(trial.value):
        state = TrialState.FAIL
    return optuna.trial.create_trial(
        state=state,
        params=dict(trial.settings),
        distributions=dict(space),
        value=trial.value if state is TrialState.COMPLETE else None,
        intermediate_values=dict(enumerate(trial.intermediate)),
    )


def _grid_point(recipe: StudyRecipe, number: int) -> dict[str, Any]:
    paths = sorted(recipe.space)
    axes = [recipe.space[path].grid() or () for path in paths]
    points = list(itertools.product(*axes))
    order = np.random.default_rng(recipe.seed).permutation(len(points))
    return dict(zip(paths, points[int(order[number])], strict=True))
