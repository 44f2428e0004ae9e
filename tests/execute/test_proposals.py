"""A study's proposals and prunings are functions of its recipe and its trials, and of nothing
else."""

from __future__ import annotations

import math
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.spec.test_identity import STUDENT
from w2s_ray.execute.halving import goes_on, rungs
from w2s_ray.execute.proposals import Trial, best, propose, visible
from w2s_ray.spec import Distribution, StudyRecipe


def study(**changes) -> StudyRecipe:
    declared = {
        "cells": (STUDENT,),
        "space": {
            "loss.alpha": Distribution(uniform=(0.0, 1.0)),
            "training.lr": Distribution(loguniform=(1e-5, 1e-2)),
            "training.epochs": Distribution(integer=(1, 3)),
            "early_stopping.patience": Distribution(choice=(1, 2)),
        },
        "trials": 12,
        "objective": "transfer",
        "metric": "accuracy",
        "sampler": "tpe",
        "scheduler": "asha",
        "grace_evaluations": 1,
        "reduction_factor": 3.0,
        "concurrent_trials": 3,
        "seed": 1000,
    }
    return StudyRecipe.model_validate({**declared, **changes})


def score(values) -> float:
    return 1.0 - (values["loss.alpha"] - 0.7) ** 2


def run_in_order(recipe: StudyRecipe, *, backwards: bool) -> dict[int, Trial]:
    """Run a study with trials of a window ending forwards or backwards."""
    ended: dict[int, Trial] = {}
    running: dict[int, dict] = {}
    while len(ended) < recipe.trials:
        for number in range(recipe.trials):
            if number in ended or number in running or len(running) == recipe.concurrent_trials:
                continue
            seen = visible(recipe, ended, number=number)
            if seen is not None:
                running[number] = propose(recipe, number=number, seen=seen)
        number = sorted(running)[-1 if backwards else 0]
        values = running.pop(number)
        ended[number] = Trial(number, values, "complete", value=score(values))
    return ended


@pytest.mark.parametrize("sampler", ["tpe", "random"])
def test_proposals_do_not_depend_on_what_ends_first(sampler):
    recipe = study(sampler=sampler)
    forwards = run_in_order(recipe, backwards=False)
    assert forwards == run_in_order(recipe, backwards=True)


def test_a_resumed_study_proposes_what_an_undisturbed_one_does():
    recipe = study()
    whole = run_in_order(recipe, backwards=False)
    kept = {n: t for n, t in whole.items() if n in (0, 1, 2, 3, 4, 6)}
    for number in (5, 7):
        seen = visible(recipe, kept, number=number)
        assert propose(recipe, number=number, seen=seen) == whole[number].settings


def test_a_trial_waits_for_those_it_may_learn_from():
    recipe = study()
    assert visible(recipe, {}, number=2) == []
    assert visible(recipe, {}, number=3) is None
    first = Trial(0, {}, "failed")
    assert visible(recipe, {0: first}, number=3) == [first]


def test_tpe_learns_and_random_does_not_repeat():
    found = run_in_order(study(trials=40, concurrent_trials=1), backwards=False)
    late = [t.settings["loss.alpha"] for n, t in found.items() if n >= 30]
    assert sum(abs(a - 0.7) < 0.25 for a in late) > 7
    drawn = run_in_order(study(sampler="random"), backwards=False)
    assert len({t.settings["loss.alpha"] for t in drawn.values()}) == 12


def test_a_grid_visits_every_point_once():
    space = {
        "loss.alpha": Distribution(choice=(0.1, 0.5, 0.9)),
        "training.epochs": Distribution(integer=(1, 2)),
    }
    recipe = study(sampler="grid", space=space, trials=6)
    points = [propose(recipe, number=n, seen=[]) for n in range(6)]
    assert len({tuple(point.items()) for point in points}) == 6


def test_failed_and_pruned_trials_can_be_told():
    recipe = study()
    values = propose(recipe, number=0, seen=[])
    told = [
        Trial(0, values, "failed", reason="loss is nan"),
        Trial(1, values, "pruned", intermediate=(0.5, 0.6)),
        Trial(2, values, "complete", value=math.nan),
    ]
    assert set(propose(recipe, number=5, seen=told)) == set(recipe.space)


def test_the_best_trial_is_complete_finite_and_earliest_on_a_tie():
    trials = {
        0: Trial(0, {}, "pruned", value=None),
        1: Trial(1, {}, "complete", value=0.5),
        2: Trial(2, {}, "complete", value=0.8),
        3: Trial(3, {}, "complete", value=0.8),
        4: Trial(4, {}, "complete", value=math.nan),
    }
    assert best(study(), trials).number == 2
    assert best(study(metric="log_loss"), trials).number == 1
    assert best(study(), {0: trials[0]}) is None


def test_rungs_are_spaced_by_the_reduction_factor_and_end_before_the_end():
    assert rungs(study(), evaluations=10) == [1, 3, 9]
    assert rungs(study(grace_evaluations=2, reduction_factor=2.0), evaluations=8) == [2, 4]


def others(*values: float) -> list[Trial]:
    return [Trial(i, {}, "complete", intermediate=(v,)) for i, v in enumerate(values)]


def test_a_trial_goes_on_if_it_is_among_the_best_third():
    seen = others(0.1, 0.2, 0.3, 0.4, 0.5)
    assert goes_on(study(), (0.45,), seen=seen, evaluations=9)
    assert not goes_on(study(), (0.35,), seen=seen, evaluations=9)
    assert goes_on(study(metric="log_loss"), (0.15,), seen=seen, evaluations=9)
    assert not goes_on(study(metric="log_loss"), (0.35,), seen=seen, evaluations=9)


def test_nothing_is_stopped_without_enough_rivals_between_rungs_or_without_a_scheduler():
    assert goes_on(study(), (0.0,), seen=others(0.9), evaluations=9)
    assert goes_on(study(), (0.0, 0.0), seen=others(0.9, 0.9, 0.9), evaluations=9)
    assert goes_on(study(scheduler="none"), (0.0,), seen=others(0.9, 0.9, 0.9), evaluations=9)


@settings(max_examples=50)
@given(st.lists(st.floats(0, 1), min_size=2, max_size=20))
def test_better_is_never_stopped_where_worse_goes_on(values):
    ordered = sorted(values)
    decisions = [goes_on(study(), (v,), seen=others(*values), evaluations=9) for v in ordered]
    assert all(b or not a for a, b in pairwise(decisions))


def test_the_order_of_keys_in_the_file_does_not_matter():
    space = study().space
    turned = study(space=dict(reversed(space.items())))
    assert turned.run_id == study().run_id
    assert propose(turned, number=0, seen=[]) == propose(study(), number=0, seen=[])
