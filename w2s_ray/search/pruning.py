"""Stopping unpromising trials early, with the same decisions whatever finishes first.

Owns one decision: does a trial continue beyond a position of its curve? asha follows Li et al. 2018
(arXiv 1810.05934), median the median stopping rule of Golovin et al. 2017 (Google Vizier), with one
change: a trial is compared only with the trials that are visible to it (see `trials.visible`), not
with all that have reached the position by then. The time axis is defined in `curves`.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from statistics import fmean, median

from w2s_ray.config import StudyRecipe
from w2s_ray.search.trials import Trial

MIN_TRIALS = 3
"""Complete trials that median needs before it stops any."""


def is_promising(
    recipe: StudyRecipe, curve: Sequence[float], *, seen: Iterable[Trial], evaluations: int
) -> bool:
    """Whether a trial whose objective so far is `curve` continues, given its visible trials.

    `evaluations` is the length of a whole curve; a trial at its end is never stopped.
    """
    if recipe.scheduler == "none" or not 0 < len(curve) < evaluations:
        return True
    sign = 1.0 if recipe.metric == "accuracy" else -1.0
    own = [sign * value for value in curve]
    others = [
        (trial, [sign * value for value in trial.intermediate[: len(curve)]])
        for trial in seen
        if len(trial.intermediate) >= len(curve)
    ]
    if recipe.scheduler == "median":
        complete = [values for trial, values in others if trial.state == "complete"]
        return len(curve) < recipe.grace_evaluations or _above_median(own, complete)
    if len(curve) not in rungs(recipe, evaluations=evaluations):
        return True
    return _among_best(own[-1], [values[-1] for _, values in others], recipe.reduction_factor)


def rungs(recipe: StudyRecipe, *, evaluations: int) -> list[int]:
    """The positions after which asha may stop a trial whose whole curve has `evaluations`."""
    found, rung = [], float(recipe.grace_evaluations)
    while math.floor(rung) < evaluations:
        found.append(math.floor(rung))
        rung *= recipe.reduction_factor
    return found


def _among_best(own: float, others: Sequence[float], factor: float) -> bool:
    """Whether `own` is among the best 1 / factor of `others` and itself.

    With fewer than `factor` of them it is.
    """
    if not math.isfinite(own):
        return False
    ranked = sorted([own, *others], reverse=True)
    if len(ranked) < factor:
        return True
    kept = max(1, math.floor(len(ranked) / factor))
    return own >= ranked[kept - 1]


def _above_median(own: Sequence[float], others: Sequence[Sequence[float]]) -> bool:
    """Whether the best of `own` is at least the median of the others' means over the same time."""
    if not math.isfinite(own[-1]):
        return False
    means = [mean for mean in map(fmean, others) if math.isfinite(mean)]
    if len(means) < MIN_TRIALS:
        return True
    best = max(value for value in own if math.isfinite(value))
    return best >= median(means)
