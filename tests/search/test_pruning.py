"""Which trials are stopped early: asha's rungs and the median rule."""

from __future__ import annotations

import math
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.search.recipes import study
from w2s_ray.search.pruning import is_promising, rungs
from w2s_ray.search.trials import Trial


def test_rungs_are_spaced_by_the_reduction_factor_and_end_before_the_end():
    assert rungs(study(), evaluations=10) == [1, 3, 9]
    assert rungs(study(grace_evaluations=2, reduction_factor=2.0), evaluations=8) == [2, 4]


def others(*values: float) -> list[Trial]:
    return [Trial(i, {}, "complete", intermediate=(v,)) for i, v in enumerate(values)]


def test_a_trial_continues_if_it_is_among_the_best_third():
    seen = others(0.1, 0.2, 0.3, 0.4, 0.5)
    assert is_promising(study(), (0.45,), seen=seen, evaluations=9)
    assert not is_promising(study(), (0.35,), seen=seen, evaluations=9)
    assert is_promising(study(metric="log_loss"), (0.15,), seen=seen, evaluations=9)
    assert not is_promising(study(metric="log_loss"), (0.35,), seen=seen, evaluations=9)


def test_nothing_is_stopped_without_enough_rivals_between_rungs_or_without_a_scheduler():
    assert is_promising(study(), (0.0,), seen=others(0.9), evaluations=9)
    assert is_promising(study(), (0.0, 0.0), seen=others(0.9, 0.9, 0.9), evaluations=9)
    assert is_promising(study(scheduler="none"), (0.0,), seen=others(0.9, 0.9, 0.9), evaluations=9)


@pytest.mark.parametrize("scheduler", ["asha", "median"])
def test_a_trial_at_its_end_is_not_stopped(scheduler):
    seen = others(0.7, 0.8, 0.9)
    assert not is_promising(study(scheduler=scheduler), (0.0,), seen=seen, evaluations=2)
    assert is_promising(study(scheduler=scheduler), (0.0,), seen=seen, evaluations=1)


@pytest.mark.parametrize("scheduler", ["asha", "median"])
def test_a_trial_without_a_number_is_stopped_where_it_may_be(scheduler):
    assert not is_promising(study(scheduler=scheduler), (math.nan,), seen=[], evaluations=3)


@pytest.mark.parametrize("scheduler", ["asha", "median"])
@settings(max_examples=50)
@given(values=st.lists(st.floats(0, 1), min_size=2, max_size=20))
def test_a_better_trial_is_never_pruned_where_a_worse_one_continues(scheduler, values):
    recipe, ordered = study(scheduler=scheduler), sorted(values)
    decisions = [is_promising(recipe, (v,), seen=others(*values), evaluations=9) for v in ordered]
    assert all(b or not a for a, b in pairwise(decisions))


MEDIAN = study(scheduler="median")
CURVES = [
    Trial(0, {}, "complete", intermediate=(0.2, 0.4, 0.6)),
    Trial(1, {}, "complete", intermediate=(0.4, 0.6, 0.8)),
    Trial(2, {}, "complete", intermediate=(0.0, 0.2, 0.4)),
]


def test_the_median_rule_compares_the_best_value_with_the_median_of_means():
    """At the second evaluation the others' means are .3, .5 and .1: their median is .3."""
    assert is_promising(MEDIAN, (0.1, 0.31), seen=CURVES, evaluations=3)
    assert is_promising(MEDIAN, (0.31, 0.0), seen=CURVES, evaluations=3)
    assert not is_promising(MEDIAN, (0.29, 0.28), seen=CURVES, evaluations=3)
    low = study(scheduler="median", metric="log_loss")
    assert not is_promising(low, (0.4, 0.31), seen=CURVES, evaluations=3)
    assert is_promising(low, (0.4, 0.29), seen=CURVES, evaluations=3)


def test_the_median_rule_waits_for_the_grace_and_for_three_complete_trials():
    patient = study(scheduler="median", grace_evaluations=2)
    assert is_promising(patient, (0.0,), seen=CURVES, evaluations=3)
    assert not is_promising(patient, (0.0, 0.0), seen=CURVES, evaluations=3)
    assert is_promising(MEDIAN, (0.0,), seen=CURVES[:2], evaluations=3)
    pruned = Trial(2, {}, "pruned", intermediate=(0.0, 0.2))
    assert is_promising(MEDIAN, (0.0,), seen=[*CURVES[:2], pruned], evaluations=3)
