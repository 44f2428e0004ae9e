"""A study's ended trials: their values, which of them a new trial may use, and which is best.

Owns the fields of a stored trial and the choice of the best one. Proposals are in `proposals`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any, Literal

from w2s_ray.config import StudyRecipe

COST = "training_flops"
"""The entry of a fit's summary that is summed over a trial's fits to its cost."""


@dataclass(frozen=True)
class Trial:
    """An ended trial."""

    number: int
    settings: Mapping[str, Any]
    """Dotted setting -> its value in this trial."""
    state: Literal["complete", "pruned", "failed"]
    value: float | None = None
    """The objective at the trial's end; None if it failed."""
    intermediate: tuple[float, ...] = ()
    """The objective at each evaluation, in order."""
    fits: tuple[str, ...] = ()
    """Run ids of its fits."""
    cause: str | None = None
    """The kind of its failure."""
    reason: str | None = None
    """Why it failed."""
    again: bool = False
    """Whether a resumed study runs it once more, because its process died."""
    cost: float | None = None
    """Training FLOPs of its fits; needed in a study of two objectives only."""
    attrs: Mapping[str, Any] = field(default_factory=dict)
    """The sampler's attributes of it, as JSON (see `proposals.Proposal`)."""
    repeat_of: int | None = None
    """The earlier trial with equal fits whose result it has; None if it has its own."""


def trial_of(data: Mapping[str, Any]) -> Trial:
    """The trial of a stored entry; keys of other versions are left out."""
    known = {field.name: data[field.name] for field in fields(Trial) if field.name in data}
    made = {"intermediate": tuple(data["intermediate"]), "fits": tuple(data["fits"])}
    return Trial(**{**known, **made})


def objectives(recipe: StudyRecipe, trial: Trial) -> tuple[float, ...] | None:
    """The trial's objectives; None unless it is complete with a number for each."""
    values = (trial.value, trial.cost) if recipe.cost else (trial.value,)
    numbers = tuple(v for v in values if v is not None and math.isfinite(v))
    return numbers if trial.state == "complete" and len(numbers) == len(values) else None


def visible(recipe: StudyRecipe, trials: Mapping[int, Trial], *, number: int) -> list[Trial] | None:
    """The trials that trial `number` may use, or None while one of them has not ended."""
    earlier = range(number - recipe.concurrent_trials + 1)
    if any(each not in trials for each in earlier):
        return None
    return [trials[each] for each in earlier]


def best(recipe: StudyRecipe, trials: Mapping[int, Trial]) -> Trial | None:
    """The complete trial with the best value; of equals the cheapest, then the earliest.

    None if none is complete.
    """
    sign = -1.0 if recipe.metric == "accuracy" else 1.0
    ranked = [
        ((sign * values[0], *values[1:], trial.number), trial)
        for trial in trials.values()
        if (values := objectives(recipe, trial)) is not None
    ]
    return min(ranked, key=lambda entry: entry[0])[1] if ranked else None


def front(recipe: StudyRecipe, trials: Mapping[int, Trial]) -> tuple[Trial, ...]:
    """The Pareto front of a study of two objectives: the best first, each next one cheaper.

    Of trials with equal objectives it has the earliest. The front of a study of one objective is
    its best trial.
    """
    on_front: list[Trial] = []
    left = dict(trials)
    while (winner := best(recipe, left)) is not None:
        on_front.append(winner)
        if not recipe.cost:
            break
        cost = winner.cost or 0.0
        left = {n: t for n, t in left.items() if t.cost is not None and t.cost < cost}
    return tuple(on_front)
