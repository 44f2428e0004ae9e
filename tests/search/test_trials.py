"""Which trial wins, and what a study of two objectives has to choose from."""

from __future__ import annotations

import math

from hypothesis import given
from hypothesis import strategies as st

from tests.search.recipes import study
from w2s_ray.search.trials import Trial, best, front


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


def priced(*figures: tuple[float, float | None]) -> dict[int, Trial]:
    return {i: Trial(i, {}, "complete", value=v, cost=c) for i, (v, c) in enumerate(figures)}


def test_with_a_cost_objective_the_cheapest_of_equal_trials_wins():
    trials = priced((0.8, 3.0), (0.8, 2.0), (0.7, 1.0), (0.9, None))
    assert best(study(cost=True), trials).number == 1
    assert best(study(), trials).number == 3


def test_the_front_goes_from_the_best_to_the_cheapest():
    trials = priced((0.7, 1.0), (0.9, 5.0), (0.8, 6.0), (0.8, 3.0), (0.7, 1.0), (0.6, 2.0))
    assert [t.number for t in front(study(cost=True), trials)] == [1, 3, 0]
    assert [t.number for t in front(study(), trials)] == [1]
    assert front(study(cost=True), {}) == ()


@given(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 5)), min_size=1, max_size=12))
def test_the_front_dominates_every_trial_and_none_of_its_own(figures):
    trials = priced(*((float(v), float(c)) for v, c in figures))
    found = front(study(cost=True), trials)
    for trial in trials.values():
        assert any(f.value >= trial.value and f.cost <= trial.cost for f in found)
        beats = [f for f in found if trial.value >= f.value and trial.cost <= f.cost]
        assert all((f.value, f.cost) == (trial.value, trial.cost) for f in beats)
