"""Simulated supervisors against independent NumPy references: how many errors, where, to what."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from w2s_ray.methods.transforms import ORACLES, Confident, Filter, Simulated
from w2s_ray.methods.transforms.errors import (
    AdversarialErrors,
    ConfidenceErrors,
    LengthErrors,
    UniformErrors,
)
from w2s_ray.methods.transforms.probes import Knn
from w2s_ray.methods.transforms.transform import GroundTruth, LabelledRows

ROWS = 60
KINDS = (UniformErrors(), LengthErrors(), ConfidenceErrors(), AdversarialErrors())


def labelled(seed: int = 0, rows: int = ROWS, classes: int = 2, draws: int = 0) -> LabelledRows:
    """Two overlapping clouds of points, with soft labels that are wrong for about a fifth."""
    generator = np.random.default_rng(seed)
    truth = generator.integers(0, classes, rows)
    activations = generator.normal(size=(rows, 5)) + truth[:, None]
    raw = generator.random((rows, classes)) + 0.4 * np.eye(classes)[truth]
    weak = (raw / raw.sum(axis=1, keepdims=True)).astype(np.float32)
    words = generator.integers(1, 30, rows)
    ground_truth = GroundTruth(truth, words)
    return LabelledRows(
        weak, np.arange(rows), lambda: activations, lambda: ground_truth, (draws, 1)
    )


def wrong_of(rows: LabelledRows) -> set[int]:
    """Places of the rows whose label isn't the truth, written out one by one."""
    ground_truth = rows.ground_truth
    return {
        i
        for i in range(len(rows.rows_N))
        if max(range(rows.labels_NC.shape[1]), key=lambda c: rows.labels_NC[i, c])
        != ground_truth.classes_N[i]
    }


def made(errors, rows: LabelledRows) -> LabelledRows:
    return Simulated(errors=errors).apply(rows)


@pytest.mark.parametrize("errors", KINDS, ids=lambda errors: errors.kind)
@settings(max_examples=25)
@given(seed=st.integers(0, 50), rows=st.integers(1, 30), classes=st.integers(2, 4))
def test_simulated_labels_are_hard_and_have_the_real_number_of_errors(errors, seed, rows, classes):
    before = labelled(seed, rows, classes)
    after = made(errors, before)
    assert len(wrong_of(after)) == len(wrong_of(before))
    assert after.labels_NC.dtype == np.float32
    assert np.array_equal(np.sort(after.labels_NC, axis=1)[:, -1], np.ones(rows))
    assert np.array_equal(after.labels_NC.sum(axis=1), np.ones(rows))
    assert after.rows_N.tolist() == before.rows_N.tolist()
    assert np.array_equal(made(errors, before).labels_NC, after.labels_NC)


def test_uniform_errors_fall_on_every_row_alike_and_change_with_the_seed():
    before = labelled()
    errors = len(wrong_of(before))
    assert 5 < errors < 25
    found = Counter(
        i for draws in range(400) for i in wrong_of(made(UniformErrors(), labelled(draws=draws)))
    )
    share = np.array([found[i] / 400 for i in range(ROWS)])
    assert np.abs(share - errors / ROWS).max() < 0.12  # 5 standard errors
    assert abs(np.corrcoef(share, before.ground_truth.words_N)[0, 1]) < 0.4


def test_the_longest_texts_err_where_no_power_is_given():
    before = labelled()
    wrong = wrong_of(made(LengthErrors(power=None), before))
    words = before.ground_truth.words_N
    assert min(words[i] for i in wrong) >= max(words[i] for i in set(range(ROWS)) - wrong)


@pytest.mark.parametrize("power", [1.0, 3.0])
def test_a_row_is_drawn_by_its_length(power):
    words, truth = np.array([1, 2, 5, 12]), np.zeros(4, np.int64)
    weak = np.array([[0.9, 0.1], [0.9, 0.1], [0.9, 0.1], [0.1, 0.9]], np.float32)
    draws = 4000

    def ground_truth(seed: int) -> LabelledRows:
        return LabelledRows(weak, np.arange(4), never, lambda: GroundTruth(truth, words), (seed,))

    found = Counter(
        i
        for seed in range(draws)
        for i in wrong_of(made(LengthErrors(power=power), ground_truth(seed)))
    )
    expected = words**power / (words**power).sum()
    assert [found[i] / draws for i in range(4)] == pytest.approx(expected, abs=0.04)


def never() -> np.ndarray:
    raise AssertionError("only adversarial errors look at activations")


def test_the_least_sure_rows_err_to_the_next_class():
    before = replace(labelled(classes=3), all_activations=never)
    after = made(ConfidenceErrors(), before)
    sure = before.labels_NC.max(axis=1)
    expected = set(np.argsort(sure)[: len(wrong_of(before))].tolist())
    assert wrong_of(after) == expected
    for i in expected:
        others = [c for c in range(3) if c != before.ground_truth.classes_N[i]]
        assert after.labels_NC[i].argmax() == max(others, key=lambda c: before.labels_NC[i, c])


def regression(points: np.ndarray, truth: np.ndarray, l2: float) -> np.ndarray:
    """P(class 1) by Newton's method for mean cross-entropy + l2 x |w|^2, bias unpenalized."""
    x = np.column_stack([points, np.ones(len(points))])
    penalty = 2 * l2 * np.diag([*np.ones(points.shape[1]), 0.0])
    weights = np.zeros(x.shape[1])
    for _ in range(50):
        p = 1 / (1 + np.exp(-x @ weights))
        slope = x.T @ (p - truth) / len(x) + penalty @ weights
        curve = (x * (p * (1 - p))[:, None]).T @ x / len(x) + penalty
        weights -= np.linalg.solve(curve, slope)
    return 1 / (1 + np.exp(-x @ weights))


@pytest.mark.parametrize("seed", range(4))
def test_adversarial_errors_follow_the_features(seed):
    before = labelled(seed)
    truth = before.ground_truth.classes_N
    p = regression(before.activations_ND, truth, 1e-2)
    of_truth = np.where(truth == 1, p, 1 - p)
    expected = set(np.argsort(of_truth)[: len(wrong_of(before))].tolist())
    assert wrong_of(made(AdversarialErrors(), before)) == expected


def test_adversarial_labels_are_easier_to_learn_than_uniform_ones():
    """A fresh regression on the activations fits the first better: that is what they are for."""
    for seed in range(4):
        before = labelled(seed, rows=200)
        fits = []
        for errors in (AdversarialErrors(), UniformErrors()):
            label = made(errors, before).labels_NC.argmax(axis=1)
            fits.append(((regression(before.activations_ND, label, 1e-2) > 0.5) == label).mean())
        assert fits[0] > fits[1] + 0.05


def test_errors_are_counted_on_the_rows_that_are_left():
    rows = Confident(above=0.6).apply(labelled())
    assert len(rows.rows_N) < ROWS
    after = made(UniformErrors(), rows)
    assert len(wrong_of(after)) == len(wrong_of(rows))
    assert np.array_equal(
        after.ground_truth.classes_N, labelled().ground_truth.classes_N[rows.rows_N]
    )


def test_no_other_transform_gets_ground_truth():
    assert sorted(ORACLES) == ["simulated"]
    assert not Filter(by=Knn()).uses_ground_truth
    with pytest.raises(AssertionError, match="must set `uses_ground_truth`"):
        made(UniformErrors(), replace(labelled(), all_ground_truth=None))
