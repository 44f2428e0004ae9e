"""A study's trials: what is remembered of each, which may be learned from, which was best.

Owns the words in which a study's memory is kept and the choice of its winner. It proposes nothing,
and knows no Ray, no Optuna and no store.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from w2s_ray.config import StudyRecipe

COST = "training_flops"
"""The figure of a fit's summary that is a trial's cost, summed over its fits."""


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
    cause: str | None = None
    """What kind of thing made it fail."""
    reason: str | None = None
    """Why it failed."""
    again: bool = False
    """Whether a resumed study runs it once more, because its process died."""
    cost: float | None = None
    """Training FLOPs of its fits; needed in a study of two objectives only."""
    attrs: Mapping[str, Any] = field(default_factory=dict)
    """What the sampler must remember of it, as JSON (see `proposals.Proposal`)."""
    repeat_of: int | None = None
    """The earlier trial of the same fits whose result it took; None if it had its own."""


def figures(recipe: StudyRecipe, trial: Trial) -> tuple[float, ...] | None:
    """The trial's objectives; None unless it is complete with a number for each."""
    told = (trial.value, trial.cost) if recipe.cost else (trial.value,)
    numbers = tuple(f for f in told if f is not None and math.isfinite(f))
    return numbers if trial.state == "complete" and len(numbers) == len(told) else None


def visible(recipe: StudyRecipe, trials: Mapping[int, Trial], *, number: int) -> list[Trial] | None:
    """The trials that trial `number` may learn from, or None while one of them has not ended."""
    wanted = range(number - recipe.concurrent_trials + 1)
    if any(earlier not in trials for earlier in wanted):
        return None
    return [trials[earlier] for earlier in wanted]


def best(recipe: StudyRecipe, trials: Mapping[int, Trial]) -> Trial | None:
    """The complete trial with the best value; of equals the cheapest, then the earliest.

    None if none is complete.
    """
    sign = -1.0 if recipe.metric == "accuracy" else 1.0
    ranked = [
        ((sign * found[0], *found[1:], trial.number), trial)
        for trial in trials.values()
        if (found := figures(recipe, trial)) is not None
    ]
    return min(ranked, key=lambda entry: entry[0])[1] if ranked else None


def front(recipe: StudyRecipe, trials: Mapping[int, Trial]) -> tuple[Trial, ...]:
    """The Pareto front of a study of two objectives: the best first, each next one cheaper.

    Of trials with equal figures the earliest stands for all. A study of one objective has a front
    of one, its best trial.
    """
    found: list[Trial] = []
    left = dict(trials)
    while (winner := best(recipe, left)) is not None:
        found.append(winner)
        if not recipe.cost:
            break
        reached = winner.cost or 0.0
        left = {n: t for n, t in left.items() if t.cost is not None and t.cost < reached}
    return tuple(found)
