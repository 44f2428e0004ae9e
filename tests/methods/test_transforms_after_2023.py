"""Transforms published since 2023, and the model of Dawid and Skene, on rows with a known truth."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from w2s_ray.methods.transforms import DawidSkene, OnePerGroup, Overlap
from w2s_ray.methods.transforms.overlap import change_point
from w2s_ray.methods.transforms.transform import LabelledRows


@given(st.lists(st.integers(0, 20), min_size=2, max_size=15))
def test_the_change_point_has_the_least_squared_deviations(values: list[int]):
    found = change_point(np.array(values, np.float32))
    ordered = sorted(values)
    if ordered[0] == ordered[-1]:
        assert found == ordered[0]
        return

    def cost(cut: int) -> float:
        return sum(float(np.var(part)) * len(part) for part in (ordered[:cut], ordered[cut:]))

    best = min(map(cost, range(1, len(ordered))))
    assert any(
        cost(cut) == pytest.approx(best, abs=1e-9) and ordered[cut] == found
        for cut in range(1, len(ordered))
    )


def three_kinds(seed: int = 0) -> tuple[LabelledRows, np.ndarray]:
    """40 hard, 40 overlapping and 60 easy rows: the supervisor reads the first two features, and
    hard and overlapping rows also have the last two.
    """
    random = np.random.default_rng(seed)
    kinds = np.repeat(["hard", "overlap", "easy"], [40, 40, 60])
    random.shuffle(kinds)
    sure = np.where(kinds == "hard", 0.55, 0.95) + random.uniform(-0.03, 0.03, len(kinds))
    side = random.integers(0, 2, len(kinds))
    p1 = np.where(side == 1, sure, 1 - sure)
    has_weak, has_strong = kinds != "hard", kinds != "easy"
    activations = np.concatenate(
        [
            has_weak[:, None] * [2.0, 2.0] + random.normal(size=(len(kinds), 2)) / 5,
            has_strong[:, None] * [3.0, 3.0] + random.normal(size=(len(kinds), 2)) / 5,
        ],
        axis=1,
    )
    labels = np.stack([1 - p1, p1], axis=1).astype(np.float32)
    return LabelledRows(labels, np.arange(len(kinds)), lambda: activations), kinds


@pytest.mark.parametrize(
    ("keep", "kinds"),
    [
        ("overlap", {"overlap"}),
        ("overlap_and_easy", {"overlap", "easy"}),
        ("overlap_and_hard", {"overlap", "hard"}),
    ],
)
def test_overlap_finds_the_rows_with_both_kinds_of_features(keep, kinds):
    rows, truth = three_kinds()
    kept = Overlap(keep=keep).apply(rows)
    assert kept.rows_N.tolist() == np.flatnonzero(np.isin(truth, list(kinds))).tolist()
    assert np.array_equal(kept.labels_NC, rows.labels_NC[kept.rows_N])


def test_rows_of_equal_confidence_are_all_kept():
    labels = np.full((6, 2), (0.1, 0.9), np.float32)
    rows = LabelledRows(labels, np.arange(6), lambda: np.ones((6, 3)))
    assert len(Overlap().apply(rows).rows_N) == 6


def votes(accuracies: list[float], seed: int = 0, rows: int = 600) -> tuple[np.ndarray, np.ndarray]:
    """Hard labels [K, N, 2] of independent supervisors, and the truth."""
    random = np.random.default_rng(seed)
    truth = random.integers(0, 2, rows)
    right = random.random((len(accuracies), rows)) < np.array(accuracies)[:, None]
    return np.eye(2, dtype=np.float32)[np.where(right, truth, 1 - truth)], truth


def of_each(each: np.ndarray) -> LabelledRows:
    return LabelledRows(each.mean(0), np.arange(each.shape[1]), list, labels_KNC=each)


def test_good_supervisors_outweigh_bad_ones():
    each, truth = votes([0.95, 0.9, 0.55, 0.55, 0.55])
    rows = of_each(each)
    majority = (rows.labels_NC.argmax(1) == truth).mean()
    found = DawidSkene().apply(rows)
    combined = (found.labels_NC.argmax(1) == truth).mean()
    assert combined > 0.94 > majority + 0.05
    assert found.labels_KNC is None


def test_it_is_the_expectation_maximization_of_dawid_and_skene():
    """Row by row, with hard votes, for three iterations."""
    each, _ = votes([0.9, 0.7, 0.6], rows=40)
    cast = each.argmax(2)
    posterior = each.mean(0).astype("f8")
    for _ in range(3):
        prior = [posterior[:, t].sum() + 1 for t in (0, 1)]
        confusion = np.ones((3, 2, 2))
        for k in range(3):
            for n in range(40):
                for t in (0, 1):
                    confusion[k, t, cast[k, n]] += posterior[n, t]
        confusion /= confusion.sum(axis=2, keepdims=True)
        new = np.zeros_like(posterior)
        for n in range(40):
            for t in (0, 1):
                new[n, t] = prior[t] * np.prod([confusion[k, t, cast[k, n]] for k in range(3)])
        posterior = new / new.sum(axis=1, keepdims=True)
    found = DawidSkene(iterations=3).apply(of_each(each)).labels_NC
    assert found == pytest.approx(posterior, abs=1e-5)


def test_hard_votes_depend_on_the_most_probable_classes_alone():
    """Soft votes of low contrast end in one class, where hard ones find the better supervisors."""
    each, truth = votes([0.85, 0.75, 0.7])
    close = 0.5 + 0.08 * (each - 0.5)
    soft = DawidSkene().apply(of_each(close)).labels_NC
    hard = DawidSkene(votes="hard").apply(of_each(close)).labels_NC
    assert np.array_equal(hard, DawidSkene().apply(of_each(each)).labels_NC)
    assert (hard.argmax(1) == truth).mean() > 0.84
    assert len(set(soft.argmax(1))) == 1


def test_supervisors_that_always_agree_keep_their_labels():
    each, _ = votes([0.8], rows=200)
    same = np.repeat(each, 3, axis=0)
    found = DawidSkene().apply(of_each(same)).labels_NC
    assert np.array_equal(found.argmax(1), same[0].argmax(1))
    assert (found.max(1) > 0.95).all()


def test_one_row_of_each_group_is_of_class_1():
    p1 = np.array([0.2, 0.9, 0.4, 0.3, 0.6, 0.1, 0.2, 0.2], np.float32)
    groups = np.array([0, 1, 0, 1, -1, 2, 3, 3])
    rows = LabelledRows(
        np.stack([1 - p1, p1], axis=1),
        np.arange(8),
        lambda: np.zeros((8, 1)),
        all_groups=lambda: groups,
    )
    found = OnePerGroup().apply(rows).labels_NC[:, 1]
    # 0: rows 0 and 2; 1: rows 1 and 3; alone or without a group: as before; a tie: the first
    assert found == pytest.approx([0, 1, 1, 0, 0.6, 0.1, 1, 0])
    part = OnePerGroup().apply(rows.keeping(np.arange(8) != 2)).labels_NC[:, 1]
    assert part[0] == pytest.approx(0.2), "the only row left of its group"
    assert OnePerGroup.labels_validation
