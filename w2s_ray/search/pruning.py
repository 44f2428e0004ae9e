"""Stopping unpromising trials early, with the same decisions whatever finishes first.

Owns one decision: does a trial go on past a position of its curve? asha follows Li et al. 2018
(arXiv 1810.05934), median the median stopping rule of Golovin et al. 2017 (Google Vizier), with one
change: a trial is compared with the trials it may learn from alone (see `trials.visible`), not with
whichever have come so far by then. The time axis is that of `curves`. It knows no Ray and no store.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from statistics import fmean, median

from w2s_ray.config import StudyRecipe
from w2s_ray.search.trials import Trial

LEAST_RIVALS = 3
"""Complete trials that median needs before it stops any."""


def goes_on(
    recipe: StudyRecipe, curve: Sequence[float], *, seen: Iterable[Trial], evaluations: int
) -> bool:
    """Whether a trial whose objective so far is `curve` goes on, given the trials it may see.

    `evaluations` is the length of a whole curve; a trial at its end is never stopped.
    """
    if recipe.scheduler == "none" or not 0 < len(curve) < evaluations:
        return True
    sign = 1.0 if recipe.metric == "accuracy" else -1.0
    own = [sign * value for value in curve]
    rivals = [
        (trial, [sign * value for value in trial.intermediate[: len(curve)]])
        for trial in seen
        if len(trial.intermediate) >= len(curve)
    ]
    if recipe.scheduler == "median":
        complete = [values for trial, values in rivals if trial.state == "complete"]
        return len(curve) < recipe.grace_evaluations or _above_median(own, complete)
    if len(curve) not in rungs(recipe, evaluations=evaluations):
        return True
    return _among_best(own[-1], [values[-1] for _, values in rivals], recipe.reduction_factor)


def rungs(recipe: StudyRecipe, *, evaluations: int) -> list[int]:
    """The positions after which asha may stop a trial whose whole curve has `evaluations`."""
    found, rung = [], float(recipe.grace_evaluations)
    while math.floor(rung) < evaluations:
        found.append(math.floor(rung))
        rung *= recipe.reduction_factor
    return found


def _among_best(own: float, rivals: Sequence[float], factor: float) -> bool:
    """Whether `own` is among the best 1 / factor of `rivals` and itself.

    With fewer than `factor` of them there is nothing to judge by.
    """
    if not math.isfinite(own):
        return False
    everyone = sorted([own, *rivals], reverse=True)
    if len(everyone) < factor:
        return True
    kept = max(1, math.floor(len(everyone) / factor))
    return own >= everyone[kept - 1]


def _above_median(own: Sequence[float], rivals: Sequence[Sequence[float]]) -> bool:
    """Whether the best of `own` is at least the median of the rivals' means over the same time."""
    if not math.isfinite(own[-1]):
        return False
    means = [mean for mean in map(fmean, rivals) if math.isfinite(mean)]
    if len(means) < LEAST_RIVALS:
        return True
    best = max(value for value in own if math.isfinite(value))
    return best >= median(means)
