"""A fit as trackers know it: its name, its settings, and the figures that they are told.

Owns names and shapes of what is told. It knows no tracker and no Ray.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from w2s_ray.plan import PlannedFit

Figures = dict[str, float]

NOT_A_NAME = re.compile(r"[^A-Za-z0-9.-]+")
OF_VALIDATION = ("accuracy", "log_loss", "agreement", "loss")
AT_THE_END = ("training_flops", "evaluation_flops", "training_seconds", "tokens", "best_step")


@dataclass(frozen=True)
class Tracked:
    """A fit for trackers; travels to their process by value."""

    run: str
    """Run id."""
    name: str
    """What it is called: role, task, models, method, seed, and the run id last."""
    settings: Mapping[str, Any]
    """What it is, and its recipe: dotted name -> number, text or truth value."""


def tracked(fit: PlannedFit, *, study: str | None, trial: int | None) -> Tracked:
    """`fit` for trackers; `study` and `trial` where it is a trial's."""
    role = "trial" if study else "+".join(fit.roles)
    models = f"{fit.weak}-to-{fit.source.name}" if fit.weak else fit.source.name
    method = "+".join(fit.methods)
    parts = [role, fit.task, models, method, f"seed{fit.recipe.seed}", fit.id]
    whose = {"study": study, "trial": trial} if study else {}
    settings = {
        "run": fit.id,
        "role": role,
        "task": fit.task,
        "model_name": fit.source.name,
        "weak": fit.weak or "",
        "method": method,
        **whose,
        **_flat(fit.recipe.model_dump(mode="json")),
    }
    name = "_".join(NOT_A_NAME.sub("-", part) for part in parts if part)
    return Tracked(run=fit.id, name=name, settings=settings)


def evaluation_figures(evaluation: Mapping[str, Any]) -> Figures:
    """What a tracker is told of an evaluation."""
    figures = {f"validation/{name}": evaluation.get(name) for name in OF_VALIDATION}
    figures["train/loss"] = evaluation.get("train_loss")
    return {name: float(value) for name, value in figures.items() if value is not None}


def final_figures(summary: Mapping[str, Any]) -> Figures:
    """What a tracker is told of a fit that is done, from its record's summary."""
    on_test = {f"test/{name}": summary.get(f"test_{name}") for name in ("accuracy", "log_loss")}
    figures = {**on_test, **{name: summary.get(name) for name in AT_THE_END}}
    return {name: float(value) for name, value in figures.items() if value is not None}


def _flat(value: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested settings by dotted name; what is no number, text or truth value as text."""
    found: dict[str, Any] = {}
    for key, inner in value.items():
        if isinstance(inner, Mapping):
            found.update(_flat(inner, f"{prefix}{key}."))
        else:
            plain = isinstance(inner, int | float | str)
            found[prefix + key] = inner if plain else str(inner)
    return found
