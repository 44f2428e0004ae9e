"""Asynchronous successive halving (ASHA) that gives the same decisions whatever finishes first.

Owns one decision: does a trial go on past an evaluation? It follows Li et al. 2018 (arXiv
1810.05934), with one change: a trial is compared with the trials it may learn from alone (see
`proposals.visible`), not with whichever have reached the rung by then. The time axis is our own
evaluation count. It knows no Ray and no store.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

from w2s_ray.execute.proposals import Trial
from w2s_ray.spec import StudyRecipe


def rungs(recipe: StudyRecipe, *, evaluations: int) -> list[int]:
    """The evaluation counts after which a trial of `evaluations` in all may be stopped."""
    found, rung = [], float(recipe.grace_evaluations)
    while math.floor(rung) < evaluations:
        found.append(math.floor(rung))
        rung *= recipe.reduction_factor
    return found


def goes_on(
    recipe: StudyRecipe, curve: Sequence[float], *, seen: Iterable[Trial], evaluations: int
) -> bool:
    """Whether a trial whose objective so far is `curve` goes on, given the trials it may see.

    At a rung it goes on if it is among the best 1 / reduction_factor of those that reached that
    rung and itself. With fewer than reduction_factor of them there is nothing to judge by.
    """
    if recipe.scheduler == "none" or len(curve) not in rungs(recipe, evaluations=evaluations):
        return True
    at = len(curve) - 1
    sign = 1.0 if recipe.metric == "accuracy" else -1.0
    rivals = [sign * t.intermediate[at] for t in seen if len(t.intermediate) > at]
    if not math.isfinite(curve[at]):
        return False
    everyone = sorted([sign * curve[at], *rivals], reverse=True)
    if len(everyone) < recipe.reduction_factor:
        return True
    kept = max(1, math.floor(len(everyone) / recipe.reduction_factor))
    return sign * curve[at] >= everyone[kept - 1]
