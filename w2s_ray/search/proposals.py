"""The settings of a study's n-th trial: a pure function of the study's recipe and its trials.

Owns the sampling, by Optuna. Trial n is proposed from the trials up to n - concurrent_trials alone,
however many have ended by then, with a sampler seeded by (study seed, n), in an Optuna study that
is rebuilt from them. So the proposals don't depend on the order in which trials end, and a resumed
study proposes the same as one that was never stopped.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from w2s_ray.config import Distribution, OneOf, StudyRecipe, branch, branches
from w2s_ray.config.space import listed
from w2s_ray.errors import InputError
from w2s_ray.search.trials import Trial, objectives

if TYPE_CHECKING:
    import optuna


@dataclass(frozen=True)
class Proposal:
    """The settings of a proposed trial."""

    settings: dict[str, Any]
    """Dotted setting -> its value; a chosen kind is among them, as `loss.kind`."""
    attrs: dict[str, Any] = field(default_factory=dict)
    """The ended trial's `attrs`: `sampler`, Optuna's system attributes of the trial (nsga2: its
    generation), and `inactive`, values drawn for kinds that were not chosen (nsga2)."""


def propose(
    recipe: StudyRecipe,
    *,
    number: int,
    seen: Sequence[Trial],
    first: Sequence[Mapping[str, Any]] = (),
) -> Proposal:
    """The settings of trial `number`, given the trials that are visible to it.

    `first` are the settings of the first trials, each once: those that the studies in
    `recipe.warm_start` chose. The samplers are Optuna's; a grid's points are in an order shuffled
    by the study's seed.

    Raises:
        InputError: settings in `first` that are outside the recipe's space.
    """
    given = _checked(recipe, first)
    if recipe.sampler == "grid":
        return Proposal(_grid_point(recipe, number, given))
    study = rebuilt(recipe, seen)
    study.sampler = _sampler(recipe, number)
    if number < len(given):
        study.enqueue_trial(_params(recipe, given[number]), skip_if_exists=False)
    trial = study.ask()
    trial.relative_params  # noqa: B018 - drawn now, so that an enqueued trial has attributes too
    drawn = _drawn(recipe, trial)
    settings = _settings(recipe, drawn)
    return Proposal(settings, _attrs(recipe, drawn, settings, study.trials[-1].system_attrs))


def rebuilt(recipe: StudyRecipe, seen: Sequence[Trial]) -> optuna.Study:
    """Optuna's study as if it had run the trials `seen`, in their order.

    A pruned trial is added as pruned, with its curve; a failed one, or one whose objective is no
    number, as failed.
    """
    import optuna

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    direction = "maximize" if recipe.metric == "accuracy" else "minimize"
    study = optuna.create_study(directions=[direction, "minimize"] if recipe.cost else [direction])
    distributions = {name: _distribution(d) for name, d in _parameters(recipe).items()}
    for trial in seen:
        study.add_trial(_frozen(recipe, trial, distributions))
    return study


def _frozen(recipe: StudyRecipe, trial: Trial, distributions: Mapping[str, Any]) -> Any:
    """An ended trial as an Optuna trial."""
    import optuna
    from optuna.trial import TrialState

    params = {**_params(recipe, trial.settings), **trial.attrs.get("inactive", {})}
    values = objectives(recipe, trial)
    ended = TrialState.PRUNED if trial.state == "pruned" else TrialState.FAIL
    return optuna.trial.create_trial(
        state=TrialState.COMPLETE if values else ended,
        params=params,
        distributions={name: distributions[name] for name in params},
        values=values,
        intermediate_values=dict(enumerate(trial.intermediate)),
        system_attrs=dict(trial.attrs.get("sampler", {})),
    )


def _sampler(recipe: StudyRecipe, number: int) -> Any:
    from optuna import samplers

    seed = int(np.random.SeedSequence([recipe.seed, number]).generate_state(1)[0])
    startup = min(10, math.ceil(recipe.trials / 3))
    tpe = samplers.TPESampler(seed=seed, n_startup_trials=startup, multivariate=False)
    match recipe.sampler:
        case "random":
            return samplers.RandomSampler(seed=seed)
        case "gp":
            return samplers.GPSampler(
                seed=seed,
                n_startup_trials=startup,
                independent_sampler=tpe,  # settings of single kinds
                warn_independent_sampling=False,
            )
        case "nsga2":
            population = max(4, min(50, recipe.trials // 4))
            return samplers.NSGAIISampler(seed=seed, population_size=population)
        case _:
            return tpe


def _parameters(recipe: StudyRecipe) -> dict[str, Distribution]:
    """Every parameter's name in Optuna -> its distribution, the settings of all kinds included."""
    return {
        _name(path, way.kinds): free
        for way in branches(recipe.space)
        for path, free in way.free.items()
    } | {
        f"{path}.kind": Distribution(choice=fork.kinds())
        for path, fork in recipe.space.items()
        if isinstance(fork, OneOf)
    }


def _name(path: str, kinds: Mapping[str, str]) -> str:
    """A setting's name in Optuna, where each kind's `alpha` is a separate parameter."""
    for fork, kind in kinds.items():
        if path.startswith(f"{fork}."):
            return f"{fork}[{kind}].{path.removeprefix(f'{fork}.')}"
    return path


def _kinds(recipe: StudyRecipe, settings: Mapping[str, Any]) -> dict[str, str]:
    forks = [path for path, declared in recipe.space.items() if isinstance(declared, OneOf)]
    return {path: settings[f"{path}.kind"] for path in forks}


def _params(recipe: StudyRecipe, settings: Mapping[str, Any]) -> dict[str, Any]:
    """A trial's settings as Optuna's parameters, without those that its kinds fix."""
    kinds = _kinds(recipe, settings)
    free = branch(recipe.space, kinds).free
    return {
        **{f"{path}.kind": kind for path, kind in kinds.items()},
        **{_name(path, kinds): _encode(settings[path]) for path in free},
    }


def _encode(value: Any) -> Any:
    """A setting's value for Optuna, whose choices are plain values: a list becomes JSON."""
    return json.dumps(value) if isinstance(value, list | tuple) else value


def _decode(declared: Distribution, value: Any) -> Any:
    """The setting's value of Optuna's `value`."""
    lists = (choice for choice in declared.choice or () if isinstance(choice, tuple))
    return next((listed(choice) for choice in lists if _encode(choice) == value), value)


def _drawn(recipe: StudyRecipe, trial: Any) -> dict[str, Any]:
    """Values of Optuna's parameters for a new trial, drawn in a fixed order.

    A genetic algorithm draws for kinds that are not chosen as well, so that children can inherit.
    """
    parameters = _parameters(recipe)
    drawn: dict[str, Any] = {}
    for path, declared in sorted(recipe.space.items()):
        if isinstance(declared, Distribution):
            drawn[path] = _suggested(trial, path, declared)
            continue
        kind = drawn[f"{path}.kind"] = _suggested(trial, f"{path}.kind", parameters[f"{path}.kind"])
        for name in sorted(n for n in parameters if n.startswith(f"{path}[")):
            if recipe.sampler == "nsga2" or name.startswith(f"{path}[{kind}]."):
                drawn[name] = _suggested(trial, name, parameters[name])
    return drawn


def _settings(recipe: StudyRecipe, drawn: Mapping[str, Any]) -> dict[str, Any]:
    way = branch(recipe.space, _kinds(recipe, drawn))
    return {
        **way.fixed,
        **{path: _decode(free, drawn[_name(path, way.kinds)]) for path, free in way.free.items()},
    }


def _attrs(
    recipe: StudyRecipe, drawn: Mapping[str, Any], settings: Mapping[str, Any], system_attrs: Any
) -> dict[str, Any]:
    active = _params(recipe, settings)
    inactive = {name: value for name, value in drawn.items() if name not in active}
    attrs = {"sampler": dict(system_attrs), "inactive": inactive}
    return {key: value for key, value in attrs.items() if value}


def _suggested(trial: Any, name: str, declared: Distribution) -> Any:
    if declared.uniform is not None:
        return trial.suggest_float(name, *declared.uniform)
    if declared.loguniform is not None:
        return trial.suggest_float(name, *declared.loguniform, log=True)
    if declared.integer is not None:
        return trial.suggest_int(name, *declared.integer)
    return trial.suggest_categorical(name, [_encode(choice) for choice in declared.choice or ()])


def _distribution(declared: Distribution) -> Any:
    from optuna import distributions

    if declared.uniform is not None:
        return distributions.FloatDistribution(*declared.uniform)
    if declared.loguniform is not None:
        return distributions.FloatDistribution(*declared.loguniform, log=True)
    if declared.integer is not None:
        return distributions.IntDistribution(*declared.integer)
    return distributions.CategoricalDistribution([_encode(c) for c in declared.choice or ()])


def _checked(recipe: StudyRecipe, first: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """The settings of the first trials, each once."""
    given: list[dict[str, Any]] = []
    for settings in first:
        if not any(way.holds(settings) for way in branches(recipe.space)):
            raise InputError(
                f"warm_start: the settings {dict(settings)} are outside the study's space; give "
                "a study with the same space"
            )
        if settings not in given:
            given.append(dict(settings))
    return given


def _grid_point(
    recipe: StudyRecipe, number: int, given: Sequence[dict[str, Any]]
) -> dict[str, Any]:
    points = [point for way in branches(recipe.space) for point in way.points()]
    order = np.random.default_rng(recipe.seed).permutation(len(points))
    shuffled = [points[int(i)] for i in order]
    return [*given, *(point for point in shuffled if point not in given)][number]
