"""Study recipes, and studies run without training: figures are functions of the settings."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict
from typing import Any

from tests.config.test_identity import STUDENT
from w2s_ray.config import Distribution, OneOf, StudyRecipe
from w2s_ray.search.proposals import propose
from w2s_ray.search.trials import Trial, visible

PLAIN = {
    "loss.alpha": Distribution(uniform=(0.0, 1.0)),
    "training.lr": Distribution(loguniform=(1e-5, 1e-2)),
    "training.epochs": Distribution(integer=(1, 3)),
    "early_stopping.patience": Distribution(choice=(1, 2)),
}
KINDS = {
    "loss": OneOf.model_validate(
        {
            "one_of": [
                {"kind": "xent"},
                {
                    "kind": "confidence",
                    "alpha": {"uniform": [0.0, 0.9]},
                    "warmup_fraction": {"uniform": [0.0, 0.5]},
                    "prior": 0.4,
                },
                {"kind": "product", "alpha": {"uniform": [1.0, 2.0]}, "beta": {"choice": [0.5, 1]}},
            ]
        }
    ),
    "training.lr": Distribution(loguniform=(1e-5, 1e-2)),
}
LISTS = {
    "training.betas": Distribution(choice=((0.9, 0.999), (0.9, 0.95), (0.8, 0.9))),
    "training.epochs": Distribution(integer=(1, 4)),
}
"""A setting whose values are lists."""
GRID = {
    "loss": OneOf.model_validate(
        {
            "one_of": [
                {"kind": "xent"},
                {"kind": "confidence", "alpha": {"choice": [0.25, 0.5, 0.75]}},
                {"kind": "product", "beta": {"choice": [0.5, 1]}},
            ]
        }
    ),
    "training.epochs": Distribution(integer=(1, 2)),
}


def study(**changes: Any) -> StudyRecipe:
    declared = {
        "cells": (STUDENT,),
        "space": PLAIN,
        "trials": 12,
        "objective": "transfer",
        "metric": "accuracy",
        "sampler": "tpe",
        "scheduler": "asha",
        "grace_evaluations": 1,
        "reduction_factor": 3.0,
        "concurrent_trials": 3,
        "seed": 1000,
    }
    if changes.get("cost"):
        changes = {"scheduler": "none", **changes}
    return StudyRecipe.model_validate({**declared, **changes})


def score(settings: dict[str, Any]) -> float:
    kinds = {"xent": 0.1, "confidence": 0.3, "product": 0.2}
    alpha = settings.get("loss.alpha", 0.0)
    return 1.0 - (alpha - 0.7) ** 2 + kinds.get(settings.get("loss.kind", "xent"), 0.0)


def ended(recipe: StudyRecipe, number: int) -> Callable[..., Trial]:
    """How trial `number` ends: some are pruned, some fail, most are complete."""

    def trial(settings: dict[str, Any], attrs: dict[str, Any]) -> Trial:
        value = score(settings)
        if number % 7 == 3:
            return Trial(number, settings, "failed", reason="loss is nan", attrs=attrs)
        if number % 5 == 4 and not recipe.cost:
            curve = (value / 2, value / 1.5)
            return Trial(number, settings, "pruned", intermediate=curve, attrs=attrs)
        cost = 1e9 * settings.get("training.epochs", 1) if recipe.cost else None
        return Trial(number, settings, "complete", value=value, cost=cost, attrs=attrs)

    return trial


def stored(trial: Trial) -> Trial:
    """The trial as the store gives it back."""
    data = json.loads(json.dumps(asdict(trial)))
    return Trial(**{**data, "intermediate": tuple(data["intermediate"]), "fits": ()})


def run(
    recipe: StudyRecipe,
    *,
    ends: Callable[[list[int]], int] = min,
    known: dict[int, Trial] | None = None,
    stop_after: int | None = None,
    first: Sequence[dict[str, Any]] = (),
) -> dict[int, Trial]:
    """Run a study from the trials `known`; `ends` chooses which of the running trials ends next."""
    trials = {number: stored(trial) for number, trial in (known or {}).items()}
    running: dict[int, Any] = {}
    while len(trials) < (stop_after or recipe.trials):
        for number in range(recipe.trials):
            if number in trials or number in running or len(running) == recipe.concurrent_trials:
                continue
            seen = visible(recipe, trials, number=number)
            if seen is not None:
                running[number] = propose(recipe, number=number, seen=seen, first=first)
        number = ends(sorted(running))
        proposal = running.pop(number)
        trials[number] = ended(recipe, number)(proposal.settings, proposal.attrs)
    return trials
