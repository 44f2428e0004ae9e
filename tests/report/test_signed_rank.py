from __future__ import annotations

import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from w2s_ray.report.signed_rank import FEWEST, holm, signed_rank

P_VALUES = st.lists(st.floats(0, 1), min_size=1, max_size=8)


def enumerated(differences: list[float]) -> float:
    """The exact two-sided p: of all assignments of signs, the share as extreme in rank sum."""
    sizes = sorted(map(abs, differences))
    ranks = {size: 1 + sizes.index(size) + (sizes.count(size) - 1) / 2 for size in sizes}
    of_each = [ranks[abs(d)] for d in differences]
    middle = sum(of_each) / 2
    observed = abs(sum(r for r, d in zip(of_each, differences, strict=True) if d > 0) - middle)
    sums = [
        sum(r for r, positive in zip(of_each, signs, strict=True) if positive)
        for signs in itertools.product((False, True), repeat=len(of_each))
    ]
    return sum(abs(s - middle) >= observed - 1e-9 for s in sums) / len(sums)


@pytest.mark.parametrize(
    "differences",
    [
        [0.1, 0.2, 0.3, 0.4, 0.5, 0.6],
        [0.1, -0.2, 0.3, 0.4, -0.5, 0.6, 0.7],
        [0.1, -0.1, 0.1, 0.2, 0.2, -0.3, 0.4],
    ],
)
def test_p_is_the_share_of_sign_patterns_as_extreme(differences):
    assert signed_rank(differences).p == pytest.approx(enumerated(differences))


def test_six_rows_are_the_fewest_that_can_reject():
    assert enumerated([1, 2, 3, 4, 5]) > 0.05 > enumerated([1, 2, 3, 4, 5, 6])
    assert FEWEST == 6
    few = signed_rank([0.1, 0.2, 0.3, 0.4, 0.5])
    assert few.p is None
    assert few.reason == ("5 of 5 rows differ; below 6 no signed-rank test can reject at 5 %")


@pytest.mark.parametrize("differences", [[], [0.0] * 8, [0.1 + 0.2 - 0.3] * 8])
def test_without_differences_there_is_nothing_to_test(differences):
    found = signed_rank(differences)
    assert found.p is None
    assert found.reason is not None
    assert found.reason.startswith(f"0 of {len(differences)} rows differ")


def test_a_zero_difference_is_dropped_and_rounding_breaks_no_tie():
    six = [0.1, -0.2, 0.3, 0.4, 0.5, 0.6]
    assert signed_rank([*six, 0.0]).p == signed_rank(six).p
    tied = [0.3, 0.1 + 0.2, -0.3, 0.3, 0.3, 0.3, 0.3]
    assert signed_rank(tied).p == pytest.approx(enumerated([1, 1, -1, 1, 1, 1, 1]))


@settings(deadline=None, max_examples=20)
@given(st.lists(st.floats(-1, 1).filter(lambda d: abs(d) > 1e-6), min_size=6, max_size=30))
def test_p_is_a_two_sided_probability(differences):
    found = signed_rank(differences)
    assert found.p is not None
    assert 0 < found.p <= 1
    assert signed_rank([-d for d in differences]).p == pytest.approx(found.p)


def test_holm_by_hand():
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert holm([0.5, 0.6]) == pytest.approx([1.0, 1.0])
    assert holm([]) == []


@given(st.lists(st.floats(0, 1), min_size=1, max_size=6))
def test_holm_is_the_closed_test_by_bonferroni(p_values):
    """A hypothesis is rejected where every family that contains it is, Bonferroni's way."""
    every = range(len(p_values))
    families = [set(family) for size in every for family in itertools.combinations(every, size + 1)]
    for at, found in enumerate(holm(p_values)):
        bounds = (len(f) * min(p_values[i] for i in f) for f in families if at in f)
        assert found == pytest.approx(min(1, max(bounds)))


@given(P_VALUES, st.floats(0, 1))
def test_another_method_in_the_family_lowers_no_p_and_changes_no_order(p_values, other):
    alone, beside = holm(p_values), holm([*p_values, other])[:-1]
    assert all(p <= c <= d for p, c, d in zip(p_values, alone, beside, strict=True))
    for (p, c), (q, d) in itertools.permutations(zip(p_values, alone, strict=True), 2):
        assert p > q or c <= d
