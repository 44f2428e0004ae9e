"""The runs that two plans share: those with the same id, which are trained once in a store.

Owns the comparison of two plans by run ids. It reads no store.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from w2s_ray.plan.graph import Plan


@dataclass(frozen=True)
class Overlap:
    """Numbers of fits of one kind."""

    both: int
    only_first: int
    only_second: int


def overlap_of(first: Plan, second: Plan) -> dict[str, Overlap]:
    """Kind of fit -> how many fits both plans have, and each alone.

    Fits after a study are those whose settings it chooses. Fits of trials are shared with their
    study; two studies may have further trials in common.
    """
    kinds = {
        "fits": [dict.fromkeys(plan.fits, 1) for plan in (first, second)],
        "fits of trials": [_trials(plan) for plan in (first, second)],
        "fits after a study": [dict.fromkeys(plan.later_fits, 1) for plan in (first, second)],
    }
    return {kind: _overlap(*counts) for kind, counts in kinds.items()}


def _trials(plan: Plan) -> dict[str, int]:
    """Study -> the fits of its trials."""
    return {s.id: s.recipe.trials * len(s.trial_models) for s in plan.every_study}


def _overlap(first: Mapping[str, int], second: Mapping[str, int]) -> Overlap:
    both = first.keys() & second.keys()
    return Overlap(
        both=sum(first[run] for run in both),
        only_first=sum(count for run, count in first.items() if run not in both),
        only_second=sum(count for run, count in second.items() if run not in both),
    )
