"""A fit for trackers: its name, its settings, and its metrics.

Owns the names that all trackers show. It imports no tracker.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from w2s_ray.plan import PlannedFit

Metrics = dict[str, float]

INVALID_IN_NAMES = re.compile(r"[^A-Za-z0-9.-]+")
VALIDATION_METRICS = ("accuracy", "log_loss", "agreement", "loss")
FINAL_METRICS = ("training_flops", "evaluation_flops", "training_seconds", "tokens", "best_step")


@dataclass(frozen=True)
class TrackedFit:
    """A fit for trackers; it is sent to their process by value."""

    run: str
    """Run id."""
    name: str
    """Its name: role, task, models, method, seed, and the run id last."""
    settings: Mapping[str, Any]
    """Its description and its recipe: dotted name -> number, text or truth value."""


def tracked_fit(fit: PlannedFit, *, study: str | None, trial: int | None) -> TrackedFit:
    """`fit` for trackers; `study` and `trial` where it belongs to a trial."""
    role = "trial" if study else "+".join(fit.roles)
    models = f"{fit.weak}-to-{fit.source.name}" if fit.weak else fit.source.name
    method = "+".join(fit.methods)
    parts = [role, fit.task, models, method, f"seed{fit.recipe.seed}", fit.id]
    of_trial = {"study": study, "trial": trial} if study else {}
    settings = {
        "run": fit.id,
        "role": role,
        "task": fit.task,
        "model_name": fit.source.name,
        "weak": fit.weak or "",
        "method": method,
        **of_trial,
        **_flat(fit.recipe.model_dump(mode="json")),
    }
    name = "_".join(INVALID_IN_NAMES.sub("-", part) for part in parts if part)
    return TrackedFit(run=fit.id, name=name, settings=settings)


def evaluation_metrics(evaluation: Mapping[str, Any]) -> Metrics:
    """The metrics of an evaluation."""
    metrics = {f"validation/{name}": evaluation.get(name) for name in VALIDATION_METRICS}
    metrics["train/loss"] = evaluation.get("train_loss")
    return {name: float(value) for name, value in metrics.items() if value is not None}


def final_metrics(summary: Mapping[str, Any]) -> Metrics:
    """The metrics of a done fit, from its record's summary."""
    on_test = {f"test/{name}": summary.get(f"test_{name}") for name in ("accuracy", "log_loss")}
    metrics = {**on_test, **{name: summary.get(name) for name in FINAL_METRICS}}
    return {name: float(value) for name, value in metrics.items() if value is not None}


def _flat(value: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested settings by dotted name; values other than number, text or truth value as text."""
    flat: dict[str, Any] = {}
    for key, inner in value.items():
        if isinstance(inner, Mapping):
            flat.update(_flat(inner, f"{prefix}{key}."))
        else:
            plain = isinstance(inner, int | float | str)
            flat[prefix + key] = inner if plain else str(inner)
    return flat
