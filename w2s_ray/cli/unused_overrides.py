"""Warnings about overrides that change no run of a sweep.

Owns the comparison of the plan with that of the sweep without an override. It refuses nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from w2s_ray.errors import InputError

if TYPE_CHECKING:
    from w2s_ray.config import Sweep
    from w2s_ray.plan import Plan
    from w2s_ray.store import Store

_OWN = {
    "training": "models.NAME.training or methods.NAME.training",
    "early_stopping": "methods.NAME.early_stopping",
    "execution": "models.NAME.execution",
}
"""Sections whose values others precede -> those."""
_SECTIONS = (*_OWN, "methods", "models", "search", "ground_truth", "controls")
"""Sections that decide nothing but runs."""
_OF_FITS = ("training", "early_stopping")


def unused_overrides(
    plan: Plan, store: Store, *, sweep_file: Path, overrides: Sequence[str]
) -> list[str]:
    """A warning for each override without which the plan is the same.

    So for a setting of `training` or `early_stopping` whose value no fit has: a search replaces it.
    """
    return [
        f"warning: the override {text} changes no run of this sweep: {_why(text)}"
        for text in overrides
        if _section(text) in _SECTIONS
        and _is_unused(text, plan, store, sweep_file=sweep_file, overrides=overrides)
    ]


def _section(override: str) -> str:
    return override.partition("=")[0].partition(".")[0].strip()


def _why(override: str) -> str:
    own = _OWN.get(_section(override))
    if own is None:
        return "it sets what nothing uses, or what holds anyway"
    return f"models, methods or searches have values of their own; override {own}"


def _is_unused(
    override: str, plan: Plan, store: Store, *, sweep_file: Path, overrides: Sequence[str]
) -> bool:
    from w2s_ray.config import load_sweep
    from w2s_ray.prepare import plan_sweep

    others = [text for text in overrides if text != override]
    try:
        sweep = load_sweep(sweep_file, overrides=others)
        if sweep == plan.sweep or _models(sweep) != _models(plan.sweep):
            return False  # the value is the file's, or the inputs are others
        if _section(override) in _OF_FITS and _no_fit_has(override.partition("=")[0], plan):
            return True
        return _runs(plan_sweep(sweep, store=store, inputs=plan.inputs)) == _runs(plan)
    except InputError:
        return False  # without it the sweep is invalid


def _no_fit_has(key: str, plan: Plan) -> bool:
    """Whether no fit has the sweep's value of a setting, which searches replace, too."""
    later = [each.run for each in plan.later_fits.values() if not each.searched]
    recipes = [fit.recipe for fit in (*plan.fits.values(), *later)]
    for study in plan.every_study:
        if key not in study.recipe.space:
            recipes += study.recipe.cells
    value = _value_at(plan.sweep, key)
    return all(_value_at(recipe, key) != value for recipe in recipes)


def _value_at(settings: object, key: str) -> object:
    for part in key.split("."):
        settings = getattr(settings, part.strip(), None)
    return settings


def _models(sweep: Sweep) -> list[Any]:
    return [model.model_dump(exclude={"training", "execution"}) for model in sweep.models]


def _runs(plan: Plan) -> tuple[Any, ...]:
    """The runs of a plan, how they are run, and its cells."""
    fits = (*plan.fits.values(), *(later.run for later in plan.later_fits.values()))
    return (
        {fit.id: fit.execution for fit in fits},
        {study.id: study.executions for study in plan.every_study},
        plan.cells,
    )
