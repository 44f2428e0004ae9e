from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from scipy.special import rel_entr
from sklearn.metrics import brier_score_loss, log_loss, matthews_corrcoef

from w2s_ray.report import measures, pair_measures
from w2s_ray.report.measures import two_classes

COARSE = st.sampled_from([i / 16 for i in range(17)])


@st.composite
def predictions(draw, *, runs: int):
    """Labels of some examples, and P(class 1) of them by each of `runs` models."""
    labels_N = draw(st.lists(st.integers(0, 1), min_size=1, max_size=40).map(np.array))
    shape = len(labels_N)
    return labels_N, *(draw(arrays.arrays(float, shape, elements=COARSE)) for _ in range(runs))


def right(p_N: np.ndarray, labels_N: np.ndarray) -> np.ndarray:
    return (p_N > 0.5) == (labels_N == 1)


def by_hand_capa(first, second, labels) -> float:
    """Example by example, as the authors' script does."""
    same = one = other = 0.0
    for p, q, label in zip(first, second, labels, strict=True):
        same += sum(a * b for a, b in zip(p, q, strict=True))
        one += p[label]
        other += q[label]
    same, one, other = (total / len(labels) for total in (same, one, other))
    expected = one * other + (1 - one) * (1 - other) / (len(first[0]) - 1)
    return (same - expected) / (1 - expected)


def capa(first_N, second_N, labels_N) -> float | None:
    return pair_measures.capa(
        measures.two_classes(first_N), measures.two_classes(second_N), labels_N=labels_N
    )


@settings(deadline=None)
@given(predictions(runs=2))
def test_capa_equals_its_definition(given_):
    labels_N, first_N, second_N = given_
    found = capa(first_N, second_N, labels_N)
    if found is None:
        assert (right(first_N, labels_N) & right(second_N, labels_N)).all() or np.array_equal(
            first_N, second_N
        )
    else:
        both = (measures.two_classes(p_N).tolist() for p_N in (first_N, second_N))
        assert found == pytest.approx(by_hand_capa(*both, labels_N.tolist()))
        assert capa(second_N, first_N, labels_N) == pytest.approx(found)


def test_capa_of_copies_is_1_and_of_independent_models_0():
    labels_N = np.array([1, 1, 0, 0] * 5)
    certain_N = np.array([1.0, 0.0, 0.0, 1.0] * 5)  # right on half
    other_N = np.array([1.0, 1.0, 1.0, 1.0] * 5)
    assert capa(certain_N, certain_N, labels_N) == 1
    assert capa(certain_N, other_N, labels_N) == 0
    assert capa(labels_N * 1.0, labels_N * 1.0, labels_N) is None


def test_capa_of_several_classes_equals_its_definition():
    random = np.random.default_rng(0)
    first_NC, second_NC = random.dirichlet([1, 1, 1, 1], size=(2, 50))
    labels_N = random.integers(0, 4, 50)
    found = pair_measures.capa(first_NC, second_NC, labels_N=labels_N)
    expected = by_hand_capa(first_NC.tolist(), second_NC.tolist(), labels_N.tolist())
    assert found == pytest.approx(expected)
    certain_NC = np.eye(4)[labels_N]
    assert pair_measures.capa(certain_NC, certain_NC, labels_N=labels_N) is None


@settings(deadline=None)
@given(predictions(runs=2))
def test_error_correlation_is_matthews_coefficient_of_the_errors(given_):
    labels_N, first_N, second_N = given_
    one_N, other_N = right(first_N, labels_N), right(second_N, labels_N)
    found = pair_measures.error_correlation(one_N, other_N)
    if one_N.all() or other_N.all() or not one_N.any() or not other_N.any():
        assert found is None
    else:
        assert found == pytest.approx(matthews_corrcoef(one_N, other_N))


@settings(deadline=None)
@given(predictions(runs=3))
def test_the_four_quadrants_are_a_partition_and_give_both_ceilings(given_):
    labels_N, weak_N, student_N, ceiling_N = given_
    weak_N, student_N, ceiling_N = (right(p, labels_N) for p in (weak_N, student_N, ceiling_N))
    found = pair_measures.quadrants(student_N, weak_N=weak_N, ceiling_N=ceiling_N)
    expected = {}
    for is_right, weak, ceiling in zip(student_N, weak_N, ceiling_N, strict=True):
        expected.setdefault((bool(weak), bool(ceiling)), []).append(is_right)
    names = {
        (True, True): "both_right",
        (True, False): "only_weak_right",
        (False, True): "only_ceiling_right",
        (False, False): "both_wrong",
    }
    for of_both, name in names.items():
        one, rights = getattr(found, name), expected.get(of_both, [])
        assert one.examples == len(rights)
        assert one.accuracy == (pytest.approx(sum(rights) / len(rights)) if rights else None)
    union = pair_measures.union_ceiling(weak_N, ceiling_N=ceiling_N)
    assert union == pytest.approx(1 - found.both_wrong.examples / len(labels_N))
    assert union >= max(weak_N.mean(), ceiling_N.mean())


@settings(deadline=None)
@given(predictions(runs=2))
def test_misfit_and_gain_equal_scikit_learns(given_):
    labels_N, student_N, weak_N = given_
    found = pair_measures.misfit(
        two_classes(student_N), supervisor_NC=two_classes(weak_N), labels_N=labels_N
    )
    assert found.squared == pytest.approx(np.square(student_N - weak_N).mean())
    brier = [brier_score_loss(labels_N, p_N, pos_label=1) for p_N in (weak_N, student_N)]
    assert found.squared_gain == pytest.approx(brier[0] - brier[1])
    p_N, q_N = (np.clip(one, 2**-24, 1 - 2**-24) for one in (student_N, weak_N))
    divergence_N = rel_entr(p_N, q_N) + rel_entr(1 - p_N, 1 - q_N)
    assert found.nats == pytest.approx(divergence_N.mean(), abs=1e-12)
    losses = [log_loss(labels_N, one, labels=[0, 1]) for one in (q_N, p_N)]
    assert found.nats_gain == pytest.approx(losses[0] - losses[1])


def test_misfit_and_blind_spots_of_several_classes_equal_hand_computed_ones():
    p_NC = np.array([[0.8, 0.1, 0.1], [0.2, 0.2, 0.6]])
    q_NC = np.array([[0.5, 0.25, 0.25], [0.1, 0.1, 0.8]])
    labels_N = np.array([1, 2])
    found = pair_measures.misfit(p_NC, supervisor_NC=q_NC, labels_N=labels_N)
    squares = (0.3**2 + 2 * 0.15**2) / 2, (2 * 0.1**2 + 0.2**2) / 2
    assert found.squared == pytest.approx(np.mean(squares))
    brier_q = (0.5**2 + 0.75**2 + 0.25**2) / 2, (2 * 0.1**2 + 0.2**2) / 2
    brier_p = (0.8**2 + 0.9**2 + 0.1**2) / 2, (2 * 0.2**2 + 0.4**2) / 2
    assert found.squared_gain == pytest.approx(np.mean(brier_q) - np.mean(brier_p))
    assert found.nats == pytest.approx(rel_entr(p_NC, q_NC).sum(axis=1).mean())
    assert found.nats_gain == pytest.approx(np.log([0.1 / 0.25, 0.6 / 0.8]).mean())
    spots = pair_measures.blind_spots(p_NC, supervisor_NC=q_NC, labels_N=labels_N)
    assert (spots.uncertain, spots.blind) == (0.5, 0.5)


def test_the_gain_is_the_misfit_for_a_projection_on_a_line_through_the_truth():
    """The student is the point nearest to the supervisor on the line of c · truth + (1 − c)/2."""
    labels_N = np.array([1, 0] * 50)
    weak_N = np.clip(np.random.default_rng(0).normal(0.5 + 0.2 * (2 * labels_N - 1), 0.2), 0, 1)
    sign_N = 2.0 * labels_N - 1
    student_N = 0.5 + sign_N * np.mean((weak_N - 0.5) * sign_N)
    found = pair_measures.misfit(
        two_classes(student_N), supervisor_NC=two_classes(weak_N), labels_N=labels_N
    )
    assert found.squared_gain == pytest.approx(found.squared)


def test_blind_spots_equal_hand_computed_ones():
    labels_N = np.array([1, 1, 1, 0, 0, 0, 1, 0])
    weak_N = np.array([0.5, 0.75, 0.76, 0.3, 0.2, 0.6, 0.4, 0.74])
    student_N = np.array([0.1, 0.2, 0.1, 0.9, 0.9, 0.7, 0.9, 0.25])
    found = pair_measures.blind_spots(
        two_classes(student_N), supervisor_NC=two_classes(weak_N), labels_N=labels_N
    )
    # unsure: all but the third and the fifth; confidently wrong among them: 1, 2 and 4
    assert found.uncertain == 6 / 8
    assert found.blind == 3 / 8


@settings(deadline=None)
@given(predictions(runs=2))
def test_blind_spots_are_errors_of_the_student(given_):
    labels_N, student_N, weak_N = given_
    found = pair_measures.blind_spots(
        two_classes(student_N), supervisor_NC=two_classes(weak_N), labels_N=labels_N
    )
    count = sum(
        max(q, 1 - q) <= 0.75 and max(p, 1 - p) > 0.75 and (p > 0.5) != (label == 1)
        for p, q, label in zip(student_N, weak_N, labels_N, strict=True)
    )
    assert found.blind == pytest.approx(count / len(labels_N))
    assert found.blind <= min(found.uncertain, 1 - right(student_N, labels_N).mean() + 1e-12)


def test_the_outperforming_ratio_is_a_ratio_of_accuracies():
    assert math.isclose(pair_measures.outperforming_ratio(0.9, weak=0.75) or 0, 1.2)
    assert pair_measures.outperforming_ratio(0.5, weak=0.0) is None
