"""Transforms with a slice of ground truth, and strata: NumPy references and limits."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from tests.methods.test_simulated import regression
from w2s_ray.errors import InputError
from w2s_ray.methods.transforms import Consensus, Selective, Strata, Transform, Trust
from w2s_ray.methods.transforms.known_rows import KnownRows, TruthSlice
from w2s_ray.methods.transforms.transform import LabelledRows

ROWS, SLICE, WIDTH = 120, 80, 4


def points(count: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Activations, and whether a label is right there: mostly where the first value is above 0."""
    random = np.random.default_rng(seed)
    made = random.normal(size=(count, WIDTH)) * [1, 5, 1, 1] + [0, 3, 0, 0]
    return made, made[:, 0] + random.normal(size=count) / 2 > 0


def one_hot(classes: np.ndarray, p: float = 0.9) -> np.ndarray:
    return np.where(np.eye(2)[classes] == 1, p, 1 - p).astype("f4")


def labelled(seed: int = 0) -> LabelledRows:
    """Rows whose supervisor's activations say whether its label is right, and whose own ones say
    whether the strong model's answer is."""
    random = np.random.default_rng(seed)
    truth, known = random.integers(0, 2, ROWS), random.integers(0, 2, SLICE)
    weak, weak_right = points(ROWS, 1)
    weak_known, weak_known_right = points(SLICE, 2)
    own, own_right = points(ROWS, 3)
    own_known, own_known_right = points(SLICE, 4)
    return LabelledRows(
        one_hot(np.where(weak_right, truth, 1 - truth)),
        np.arange(ROWS),
        lambda: own,
        seed=(seed, 1),
        all_supervisor_activations=lambda: weak,
        all_own_answers=lambda: one_hot(np.where(own_right, truth, 1 - truth), 0.8),
        known=KnownRows(
            known,
            lambda: one_hot(np.where(weak_known_right, known, 1 - known)),
            lambda: own_known,
            lambda: weak_known,
            lambda: one_hot(np.where(own_known_right, known, 1 - known)),
        ),
    )


def reference(slice_: np.ndarray, right: np.ndarray, rows: np.ndarray, l2: float) -> np.ndarray:
    """Newton's method on scaled inputs; the mean is over the slice."""
    mean, spread = slice_.mean(0), slice_.std(0)
    both = np.concatenate([slice_, rows])
    scaled = (both - mean) / spread
    weights = weights_of((slice_ - mean) / spread, right, l2)
    return (
        1 / (1 + np.exp(-(np.column_stack([scaled, np.ones(len(both))]) @ weights)))[len(slice_) :]
    )


def weights_of(x: np.ndarray, right: np.ndarray, l2: float) -> np.ndarray:
    """The weights and the bias that `regression` finds."""
    p = regression(x, right.astype(float), l2 / (2 * len(x)))
    return np.linalg.lstsq(np.column_stack([x, np.ones(len(x))]), np.log(p / (1 - p)), rcond=None)[
        0
    ]


def test_without_a_hidden_layer_trust_is_logistic_regression_on_the_supervisors_states():
    rows = labelled()
    known = rows.known
    assert known is not None
    right = known.labels_SC.argmax(1) == known.classes_S
    expected = reference(
        known.supervisor_activations_SD, right, rows.supervisor_activations_ND, 2.0
    )
    assert Trust(hidden=0, l2=2.0).trust(rows) == pytest.approx(expected, abs=1e-4)
    kept = Trust(hidden=0, l2=2.0, share=0.25).apply(rows)
    assert sorted(kept.rows_N) == sorted(np.argsort(-expected)[: ROWS // 4])
    assert np.array_equal(kept.labels_NC, rows.labels_NC[kept.rows_N])


def test_a_hidden_layer_finds_what_is_right_on_two_sides():
    x, _ = points(SLICE, 2)
    right = np.abs(x[:, 0]) > 0.6
    known = labelled().known
    assert known is not None
    classes = known.classes_S
    two_sides = replace(known, all_labels=lambda: one_hot(np.where(right, classes, 1 - classes)))
    rows = replace(labelled(), known=two_sides)
    truly = np.abs(rows.supervisor_activations_ND[:, 0]) > 0.6
    accuracy = {h: ((Trust(hidden=h).trust(rows) > 0.5) == truly).mean() for h in (0, 32)}
    assert accuracy[32] > 0.85 > accuracy[0] + 0.1
    again = Trust(hidden=32).trust(rows)
    assert np.array_equal(again, Trust(hidden=32).trust(rows))
    other = Trust(hidden=32).trust(replace(rows, seed=(9, 1)))
    assert not np.array_equal(again, other)


def test_trust_of_every_row_is_no_method_and_the_threshold_alone_can_decide():
    rows = labelled()
    every = Trust(share=1.0).apply(rows)
    assert np.array_equal(every.rows_N, rows.rows_N)
    assert np.array_equal(every.labels_NC, rows.labels_NC)
    trust = Trust().trust(rows)
    kept = Trust(share=1.0, least=0.6).apply(rows)
    assert kept.rows_N.tolist() == np.flatnonzero(trust >= 0.6).tolist()
    assert len(Trust(share=1e-6).apply(rows).rows_N) == 1


def test_trust_keeps_rows_with_right_labels_more_often():
    rows = labelled()
    _, right = points(ROWS, 1)
    assert right[Trust().apply(rows).rows_N].mean() > right.mean() + 0.25


def smoothed(labels: np.ndarray, x: np.ndarray, k: int, share: float, steps: int) -> np.ndarray:
    found = labels.astype("f8")
    distance = ((x[:, None] - x[None]) ** 2).sum(2)
    near = [
        [j for j in np.argsort(row, kind="stable") if j != i][:k] for i, row in enumerate(distance)
    ]
    for _ in range(steps):
        found = np.array(
            [(1 - share) * w + share * found[n].mean(0) for w, n in zip(labels, near, strict=True)]
        )
    return found


def test_known_rows_take_the_models_own_answers_and_others_smoothed_weak_labels():
    rows = labelled()
    known = rows.known
    assert known is not None
    knows = reference(
        known.activations_SD,
        known.own_answers_SC.argmax(1) == known.classes_S,
        rows.activations_ND,
        1.0,
    )
    weak = smoothed(rows.labels_NC, rows.activations_ND, 5, 0.4, 2)
    expected = np.where((knows >= 0.5)[:, None], rows.own_answers_NC, weak)
    found = Selective(k=5, smoothing=0.4, steps=2).apply(rows)
    assert found.labels_NC == pytest.approx(expected, abs=1e-5)
    assert 0.2 < (knows >= 0.5).mean() < 0.8


def test_the_limits_of_selection_are_elicitation_and_the_weak_labels():
    rows = labelled()
    assert np.array_equal(Selective(least=0).apply(rows).labels_NC, rows.own_answers_NC)
    none = Selective(least=2, smoothing=0).apply(rows)
    assert np.array_equal(none.labels_NC, rows.labels_NC)
    part = rows.keeping(np.arange(ROWS) % 3 == 0)
    kept = Selective(least=0).apply(part).labels_NC
    assert np.array_equal(kept, rows.own_answers_NC[::3])


@pytest.mark.parametrize("transform", [Trust(), Selective()], ids=lambda t: t.kind)
@pytest.mark.parametrize(("right", "share"), [(True, "all"), (False, "none")])
def test_a_slice_that_teaches_nothing_is_named(transform: Transform, right, share):
    rows = labelled()
    known = rows.known
    assert known is not None
    given = one_hot(known.classes_S if right else 1 - known.classes_S)
    rows = replace(
        rows, known=replace(known, all_labels=lambda: given, all_own_answers=lambda: given)
    )
    with pytest.raises(InputError, match=f"is right on {share} of 80 rows with known truth"):
        transform.apply(rows)


def test_a_slice_has_no_more_rows_than_its_part():
    TruthSlice(rows=48).check(available=48)
    with pytest.raises(InputError, match=r"truth.rows is 49, but supervisor_half has 48 rows"):
        TruthSlice(rows=49).check(available=48)


def of_supervisors(seed: int = 0) -> LabelledRows:
    random = np.random.default_rng(seed)
    x, _ = points(ROWS, seed)
    classes = (x[:, 0] > 0).astype(int)
    each = np.stack(
        [one_hot(np.where(random.random(ROWS) < 0.7, classes, 1 - classes)) for _ in range(3)]
    )
    return LabelledRows(each.mean(0), np.arange(ROWS), lambda: x[:, :1], labels_KNC=each)


def test_strata_are_of_both_kinds_of_consensus_and_count_the_same():
    rows = of_supervisors()
    each, x = rows.labels_KNC, rows.activations_ND
    assert each is not None
    mean = each.mean(0).argmax(1)
    agreed = np.array([all(one[i].argmax() == mean[i] for one in each) for i in range(ROWS)])
    near = []
    for i in range(ROWS):
        others = [j for j in np.argsort(np.abs(x[:, 0] - x[i, 0]), kind="stable") if j != i][:6]
        near.append(np.mean(mean[others] == mean[i]) >= 0.8)
    stratum = 2 * agreed + np.array(near)
    assert set(stratum) == {0, 1, 2, 3}
    found = Strata(k=6).apply(rows)
    assert found.rows_N.tolist() == np.flatnonzero(stratum > 0).tolist()
    weights = found.weights_N
    assert weights is not None
    kept = stratum[found.rows_N]
    sums = [weights[kept == one].sum() for one in (1, 2, 3)]
    assert sums == pytest.approx([len(kept) / 3] * 3, rel=1e-5)
    assert all(np.ptp(weights[kept == one]) == 0 for one in (1, 2, 3))
    every = Strata(k=6, mask=False).apply(rows)
    assert every.weights_N is not None
    assert every.weights_N[stratum == 0].sum() == pytest.approx(ROWS / 4, rel=1e-5)


def test_at_their_limits_strata_are_no_method_or_the_consensus_of_supervisors():
    rows = of_supervisors()
    plain = Strata(mask=False, balance=False).apply(rows)
    assert plain.weights_N is None
    assert np.array_equal(plain.rows_N, rows.rows_N)
    one = Strata(share=0.01, near=0).apply(rows)  # a single stratum
    assert one.weights_N is not None
    assert set(one.weights_N.tolist()) == {1.0}
    apart = replace(rows, all_activations=lambda: np.arange(ROWS)[:, None] * 1.0)
    alternating = one_hot(np.arange(ROWS) % 2)
    each = np.stack([alternating, alternating, one_hot((np.arange(ROWS) // 2) % 2)])
    apart = replace(apart, labels_KNC=each, labels_NC=each.mean(0))  # no neighbours agree
    found = Strata(k=1, near=1.0, balance=False).apply(apart)
    assert np.array_equal(found.rows_N, Consensus().apply(apart).rows_N)
    assert 0 < len(found.rows_N) < ROWS
