from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from sklearn.metrics import log_loss, roc_auc_score

from w2s_ray.report import measures
from w2s_ray.report.measures import two_classes

LABELS = st.lists(st.integers(0, 1), min_size=1, max_size=40).map(np.array)
COARSE = st.sampled_from([i / 16 for i in range(17)])
"""Few values, so that ties are common."""


@st.composite
def predictions(draw, *, runs: int = 1):
    """Labels of some examples, and P(class 1) of them by each of `runs` models."""
    labels_N = draw(LABELS)
    shape = len(labels_N)
    return labels_N, *(draw(arrays.arrays(float, shape, elements=COARSE)) for _ in range(runs))


HAND = np.array([0.9, 0.8, 0.3, 0.6, 0.2])
HAND_LABELS = np.array([1, 0, 1, 1, 0])


def share_right(probabilities_N: np.ndarray, labels_N: np.ndarray) -> float:
    return float(np.mean((probabilities_N > 0.5) == (labels_N == 1)))


def test_figures_equal_hand_computed_ones():
    # pairs won: .9 over .8 and .2; .3 over .2; .6 over .2
    assert measures.auc(HAND, labels_N=HAND_LABELS) == pytest.approx(4 / 6)
    right = np.array([0.9, 0.2, 0.3, 0.6, 0.8])
    assert measures.log_loss(two_classes(HAND), labels_N=HAND_LABELS) == pytest.approx(
        -np.log(right).mean()
    )


def test_a_tie_counts_as_class_0_and_as_half_a_pair():
    tie, one = np.array([0.5]), np.array([1])
    for labels_N, right in ((one, 0), (1 - one, 1)):
        (bin_,) = (b for b in measures.reliability(two_classes(tie), labels_N=labels_N) if b.count)
        assert bin_.accuracy == right
    assert measures.auc(np.array([0.5, 0.5]), labels_N=np.array([0, 1])) == 0.5


@settings(deadline=None)
@given(predictions())
def test_auc_and_log_loss_equal_scikit_learns(given_):
    labels_N, probabilities_N = given_
    clipped_N = np.clip(probabilities_N, measures.CERTAIN, 1 - measures.CERTAIN)
    expected = log_loss(labels_N, clipped_N, labels=[0, 1])
    assert measures.log_loss(two_classes(probabilities_N), labels_N=labels_N) == pytest.approx(
        expected
    )
    found = measures.auc(probabilities_N, labels_N=labels_N)
    if len(set(labels_N)) == 2:
        assert found == pytest.approx(roc_auc_score(labels_N, probabilities_N))
    else:
        assert found is None


def test_a_probability_rounded_to_1_has_a_finite_log_loss():
    loss = measures.log_loss(two_classes(np.array([1.0])), labels_N=np.array([0]))
    assert loss == pytest.approx(24 * np.log(2))
    assert measures.log_loss(two_classes(np.array([0.0])), labels_N=np.array([1])) == pytest.approx(
        loss
    )


@settings(deadline=None)
@given(predictions())
def test_auc_depends_on_the_order_alone(given_):
    labels_N, probabilities_N = given_
    found = measures.auc(probabilities_N, labels_N=labels_N)
    assert measures.auc(np.exp(3 * probabilities_N), labels_N=labels_N) == found
    opposite = measures.auc(1 - probabilities_N, labels_N=labels_N)
    assert (opposite is None) == (found is None)
    if found is not None and opposite is not None:
        assert opposite == pytest.approx(1 - found)


@settings(deadline=None)
@given(predictions())
def test_every_example_is_in_one_bin(given_):
    labels_N, probabilities_N = given_
    bins = measures.reliability(two_classes(probabilities_N), labels_N=labels_N)
    assert sum(b.count for b in bins) == len(labels_N)
    right = sum(b.count * b.accuracy for b in bins if b.accuracy is not None)
    assert right / len(labels_N) == pytest.approx(share_right(probabilities_N, labels_N))
    for b in bins:
        assert (b.confidence is None) == (b.accuracy is None) == (b.count == 0)
        if b.confidence is not None:
            assert b.low < b.confidence <= b.high + 1e-12


@settings(deadline=None)
@given(predictions())
def test_the_calibration_error_matches_its_definition(given_):
    labels_N, probabilities_N = given_
    total = 0.0
    for k in range(
        15
    ):  # Guo et al. 2017: bins (k/15, (k+1)/15] of the predicted class's confidence
        inside = [
            (max(p, 1 - p), (p > 0.5) == (label == 1))
            for p, label in zip(probabilities_N, labels_N, strict=True)
            if k / 15 < max(p, 1 - p) <= (k + 1) / 15
        ]
        if inside:
            confidence = sum(c for c, _ in inside) / len(inside)
            right = sum(r for _, r in inside) / len(inside)
            total += len(inside) / len(labels_N) * abs(right - confidence)
    assert measures.calibration_error(
        two_classes(probabilities_N), labels_N=labels_N
    ) == pytest.approx(total)


@settings(deadline=None)
@given(st.lists(st.integers(10, 20), min_size=1, max_size=5), st.booleans())
def test_equal_accuracy_and_confidence_give_no_calibration_error(confidences, flipped):
    """Of 20 examples at confidence c/20, c are right."""
    probabilities, labels = [], []
    for c in confidences:
        probabilities += [c / 20] * 20
        labels += [1] * c + [0] * (20 - c)
    probabilities_N, labels_N = np.array(probabilities), np.array(labels)
    if flipped:
        probabilities_N, labels_N = 1 - probabilities_N, 1 - labels_N
    assert measures.calibration_error(
        two_classes(probabilities_N), labels_N=labels_N
    ) == pytest.approx(0)


def test_certain_predictions_that_are_half_right_have_a_calibration_error_of_one_half():
    labels_N = np.array([0, 1] * 10)
    sure = measures.calibration_error(two_classes(np.ones(20)), labels_N=labels_N)
    assert sure == pytest.approx(0.5)


@st.composite
def of_several_classes(draw: st.DrawFn, *, runs: int = 1):
    """Classes of some examples, all of them used, and distributions by each of `runs` models."""
    classes = draw(st.integers(3, 5))
    more = draw(st.lists(st.integers(0, classes - 1), max_size=20))
    labels_N = np.array([*range(classes), *more])
    generator = np.random.default_rng(draw(st.integers(0, 10**6)))
    made = (generator.dirichlet(np.full(classes, 0.7), len(labels_N)) for _ in range(runs))
    return labels_N, *made


@settings(deadline=None)
@given(of_several_classes())
def test_figures_of_several_classes_equal_scikit_learns_and_their_definitions(given_):
    labels_N, p_NC = given_
    expected = roc_auc_score(labels_N, p_NC, multi_class="ovo", average="macro")
    assert measures.auc_of_classes(p_NC, labels_N=labels_N) == pytest.approx(expected)
    clipped_NC = np.clip(p_NC, 2.0**-24, 1 - 2.0**-24)
    nats = -np.log(clipped_NC[np.arange(len(labels_N)), labels_N]).mean()
    assert measures.log_loss(p_NC, labels_N=labels_N) == pytest.approx(nats)
    total, bins = 0.0, measures.reliability(p_NC, labels_N=labels_N)
    for k in range(15):
        inside = [
            (p.max(), p.argmax() == label)
            for p, label in zip(p_NC, labels_N, strict=True)
            if k / 15 < p.max() <= (k + 1) / 15
        ]
        if inside:
            confidence, right = np.mean(inside, axis=0)
            total += len(inside) / len(labels_N) * abs(right - confidence)
    assert measures.calibration_error(p_NC, labels_N=labels_N) == pytest.approx(total)
    assert sum(b.count for b in bins) == len(labels_N)
    assert bins[0].low < 1 / p_NC.shape[1] <= bins[0].high + 1e-9


def test_auc_of_classes_leaves_out_those_without_examples():
    p_NC = np.array([[0.6, 0.3, 0.1], [0.5, 0.4, 0.1], [0.3, 0.6, 0.1]])
    labels_N = np.array([0, 1, 1])  # P(0) and P(1) order the first before both others
    assert measures.auc_of_classes(p_NC, labels_N=labels_N) == 1.0
    assert measures.auc_of_classes(p_NC, labels_N=np.zeros(3, int)) is None


def test_agreement_equals_a_hand_computed_one():
    supervisor = np.array([0.9, 0.8, 0.3, 0.6, 0.2])  # right, wrong, wrong, right, right
    student = np.array([0.7, 0.6, 0.9, 0.4, 0.1])
    found = measures.agreement(student, supervisor_N=supervisor, labels_N=HAND_LABELS)
    assert found.overall == pytest.approx(3 / 5)
    assert found.where_right == pytest.approx(2 / 3)
    assert found.where_wrong == pytest.approx(1 / 2)


@settings(deadline=None)
@given(predictions(runs=2))
def test_overall_agreement_is_the_weighted_mean_of_its_two_parts(given_):
    labels_N, student_N, supervisor_N = given_
    found = measures.agreement(student_N, supervisor_N=supervisor_N, labels_N=labels_N)
    right = share_right(supervisor_N, labels_N)
    assert (found.where_right is None) == (right == 0)
    assert (found.where_wrong is None) == (right == 1)
    parts = (found.where_right or 0) * right + (found.where_wrong or 0) * (1 - right)
    assert found.overall == pytest.approx(parts)
    # The student is right where it agrees with a supervisor that is right, or differs from one
    # that is wrong.
    of_two = right * (found.where_right or 0) + (1 - right) * (1 - (found.where_wrong or 0))
    assert share_right(student_N, labels_N) == pytest.approx(of_two)


@settings(deadline=None)
@given(predictions())
def test_a_copy_of_the_supervisor_agrees_everywhere(given_):
    labels_N, supervisor_N = given_
    found = measures.agreement(supervisor_N, supervisor_N=supervisor_N, labels_N=labels_N)
    assert {found.overall, found.where_right, found.where_wrong} <= {1.0, None}
