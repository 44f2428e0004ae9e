"""One time axis for the cells of a trial, whatever order its fits run in."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from w2s_ray.search.curves import TrialCurve


def test_one_cell_is_its_own_curve():
    curve = TrialCurve((3,))
    assert curve.observe(0, 1, 0.5) == [(1, 0.5)]
    assert curve.observe(0, 2, 0.6) == [(2, 0.6)]
    assert curve.observe(0, 3, 0.7) == [(3, 0.7)]
    assert curve.end_cell(0, 0.9) == []
    assert curve.values == [0.5, 0.6, 0.7]


def test_a_later_cell_counts_with_the_final_values_of_earlier_cells():
    curve = TrialCurve((2, 2))
    curve.observe(0, 1, 0.1)
    curve.observe(0, 2, 0.2)
    curve.end_cell(0, 0.4)
    assert curve.observe(1, 1, 0.6) == [(3, 0.5)]
    assert curve.length == 4


def test_a_cell_that_stops_early_fills_its_positions_with_its_final_value():
    curve = TrialCurve((3, 2))
    curve.observe(0, 1, 0.1)
    assert curve.end_cell(0, 0.4) == [(2, 0.4), (3, 0.4)]
    assert curve.end_cell(1, 0.8) == [(4, pytest.approx(0.6)), (5, pytest.approx(0.6))]


def test_concurrent_cells_are_counted_in_order():
    curve = TrialCurve((2, 2))
    assert curve.observe(1, 1, 0.6) == []
    assert curve.observe(0, 1, 0.1) == [(1, 0.1)]
    assert curve.observe(0, 2, 0.2) == [(2, 0.2)]
    assert curve.end_cell(0, 0.2) == [(3, pytest.approx(0.4))]


def test_a_fit_that_starts_again_changes_nothing():
    curve = TrialCurve((2, 1))
    curve.observe(0, 1, 0.1)
    assert curve.observe(0, 1, 0.7) == []
    curve.end_cell(0, 0.3)
    assert curve.end_cell(0, 0.9) == []
    assert curve.observe(0, 2, 0.9) == []
    assert curve.values == [0.1, 0.3]


def test_an_evaluation_that_a_cell_cannot_have_is_refused():
    with pytest.raises(ValueError, match="evaluation 3 of cell 0, which has 2"):
        TrialCurve((2,)).observe(0, 3, 0.5)


@given(
    lengths=st.lists(st.integers(1, 4), min_size=1, max_size=3),
    made=st.data(),
    seed=st.randoms(use_true_random=False),
)
def test_the_curve_does_not_depend_on_the_order_in_which_cells_run(lengths, made, seed):
    cells = []
    for cell, most in enumerate(lengths):
        evaluations = made.draw(st.integers(1, most))
        events = [("observe", cell, e, cell + e / 10) for e in range(1, evaluations + 1)]
        cells.append([*events, ("end_cell", cell, cell + 0.5)])

    def played(events):
        curve, known = TrialCurve(lengths), []
        for name, *arguments in events:
            known += getattr(curve, name)(*arguments)
        return known

    in_turn = played([event for events in cells for event in events])
    mixed, left = [], [list(events) for events in cells]
    while any(left):
        mixed.append(seed.choice([events for events in left if events]).pop(0))
    assert played(mixed) == in_turn
    assert [position for position, _ in in_turn] == list(range(1, sum(lengths) + 1))
