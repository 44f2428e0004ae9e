"""Labels of series of fits, row by row: boosting, layers of specialists, and an earlier student."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from w2s_ray.methods.boosting import boosted
from w2s_ray.methods.transforms import Confident, Specialists, StudentLabels
from w2s_ray.methods.transforms.transform import LabelledRows


def samme(wrong: list[list[bool]], classes: int) -> tuple[list[float], list[float]]:
    """Zhu et al. 2009, algorithm 2, in lists; a perfect classifier errs on half a row."""
    rows = len(wrong[0])
    weights, votes = [1 / rows] * rows, [0.0] * len(wrong)
    for m, errs in enumerate(wrong):
        error = sum(w for w, e in zip(weights, errs, strict=True) if e) / sum(weights)
        if error > 1 - 1 / classes - 1e-9:
            break
        error = max(error, 0.5 / rows)
        votes[m] = math.log((1 - error) / error) + math.log(classes - 1)
        weights = [w * math.exp(votes[m] * e) for w, e in zip(weights, map(int, errs), strict=True)]
    total = sum(weights)
    return votes, [w / total for w in weights]


@given(
    st.integers(2, 5),
    st.integers(1, 4).flatmap(
        lambda m: st.lists(st.lists(st.booleans(), min_size=7, max_size=7), min_size=m, max_size=m)
    ),
)
def test_boosting_is_samme_with_half_its_votes(classes: int, wrong: list[list[bool]]):
    votes, weights = boosted(np.array(wrong), classes=classes)
    expected, its_weights = samme(wrong, classes)
    if any(expected):
        assert votes * 2 == pytest.approx(expected)
    else:
        assert votes.tolist() == [1.0] + [0.0] * (len(wrong) - 1)
    assert weights == pytest.approx(its_weights)


def test_after_a_round_its_errors_weigh_as_much_as_a_guess():
    """AdaBoost's property: the next supervisor must learn what this one did not."""
    wrong = np.array([[True, False, False, False, False]])
    _, of_two = boosted(wrong, classes=2)
    assert of_two[0] == pytest.approx(1 / 2)
    _, of_four = boosted(wrong, classes=4)
    assert of_four[0] == pytest.approx(3 / 4)


def test_a_round_without_errors_changes_no_weight_and_one_like_chance_ends_the_series():
    never, half = np.zeros(4, bool), np.array([True, True, False, False])
    votes, weights = boosted(np.stack([never, never]), classes=2)
    assert votes[0] == votes[1] == pytest.approx(math.log(7) / 2)
    assert weights == pytest.approx(1 / 4)
    votes, weights = boosted(np.stack([never, half, never]), classes=2)
    assert votes[0] > 0
    assert votes[1:].tolist() == [0, 0]
    assert weights == pytest.approx(1 / 4)
    assert boosted(half[None], classes=2)[0].tolist() == [1.0]
    assert boosted(half[None], classes=3)[0][0] > 0


def drawn(classes: int, *, supervisors: int = 3, rows: int = 40, seed: int = 0) -> LabelledRows:
    random = np.random.default_rng(seed)
    each = random.dirichlet(np.ones(classes), size=(supervisors, rows)).astype("f4")
    student = random.dirichlet(np.ones(classes), size=rows).astype("f4")
    return LabelledRows(
        each.mean(axis=0),
        np.arange(rows),
        lambda: np.zeros((rows, 1)),
        labels_KNC=each,
        student_NC=student,
    )


def layer(rows: LabelledRows, top: int | None) -> tuple[list[int], list[list[float]]]:
    """Liu and Alahi 2024, row by row: the rows that are kept, and the labels of all rows."""
    assert rows.labels_KNC is not None
    assert rows.student_NC is not None
    labels, losses, agreeing = [], [], 0
    for n, student in enumerate(rows.student_NC.tolist()):
        given = rows.labels_KNC[:, n].tolist()
        divergence = [
            sum(s * math.log(s / p) for s, p in zip(student, label, strict=True)) for label in given
        ]
        label = given[divergence.index(min(divergence))]
        weak = label.index(max(label))
        ranked = sorted(range(len(student)), key=lambda c: -student[c])
        labels.append(label)
        losses.append(-math.log(student[weak]))
        agreeing += top is None or weak in ranked[: min(top, len(student) - 1)]
    order = sorted(range(len(losses)), key=lambda n: losses[n])
    return sorted(order[:agreeing]), labels


@pytest.mark.parametrize("top", [1, 2, 3, None])
@pytest.mark.parametrize("classes", [2, 3, 5])
def test_a_layer_assigns_specialists_and_keeps_the_rows_of_agreement(classes, top):
    rows = drawn(classes)
    kept, labels = layer(rows, top)
    made = Specialists(top=top).apply(rows)
    assert made.rows_N.tolist() == kept
    assert len(kept) < 40 or top is None
    assert made.labels_NC.tolist() == [labels[n] for n in kept]
    validation = Specialists(top=top).apply_to_validation(rows)
    assert validation.labels_NC.tolist() == labels


def test_with_two_classes_the_kept_rows_are_those_on_which_both_predict_the_same_class():
    """Of the default 3 classes, 1 counts: among both of two classes every class would be."""
    rows = drawn(2, rows=200)
    _, labels = layer(rows, None)
    assert rows.student_NC is not None
    same = rows.student_NC.argmax(axis=1) == np.array(labels).argmax(axis=1)
    assert Specialists().apply(rows).rows_N.tolist() == np.flatnonzero(same).tolist()


def test_a_layer_of_one_supervisor_is_that_supervisor():
    rows = drawn(4, supervisors=1)
    made = Specialists(top=1).apply(rows)
    assert np.array_equal(made.labels_NC, rows.labels_NC)
    assert len(made.rows_N) == 40


@pytest.mark.parametrize("classes", [2, 4])
def test_uncertain_weak_labels_are_replaced_by_certain_ones_of_the_student(classes):
    rows = drawn(classes, supervisors=1)
    assert rows.student_NC is not None
    kept, labels = [], []
    for n, (weak, student) in enumerate(
        zip(rows.labels_NC.tolist(), rows.student_NC.tolist(), strict=True)
    ):
        if max(weak) > 0.7 or max(student) > 0.8:
            kept.append(n)
            labels.append(weak if max(weak) > 0.7 else student)
    made = StudentLabels(above=0.7, student_above=0.8).apply(rows)
    assert 0 < len(kept) < 40
    assert made.rows_N.tolist() == kept
    assert made.labels_NC.tolist() == labels


def test_at_its_limits_it_keeps_all_weak_labels_or_the_certain_ones_alone():
    rows = drawn(2, supervisors=1)
    every = StudentLabels(above=0.1, student_above=0.5).apply(rows)
    assert np.array_equal(every.labels_NC, rows.labels_NC)
    alone = StudentLabels(above=0.7, student_above=1 - 1e-9).apply(rows)
    sure = Confident(above=0.7).apply(rows)
    assert alone.rows_N.tolist() == sure.rows_N.tolist()
    assert np.array_equal(alone.labels_NC, sure.labels_NC)
