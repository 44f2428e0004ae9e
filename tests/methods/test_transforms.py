"""Every label transform against an independent NumPy reference, and at its limits."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from w2s_ray.methods.transforms import (
    ClassPrior,
    Confident,
    Filter,
    Hard,
    Relabel,
    ShuffledLabels,
    Temperature,
    Transform,
)
from w2s_ray.methods.transforms.probes import Knn, Logistic, TopoFilter
from w2s_ray.methods.transforms.transform import LabelledRows

ROWS = 40


def labelled(seed: int = 0, rows: int = ROWS, classes: int = 2) -> LabelledRows:
    """Two clouds of points, with soft labels that are wrong for some."""
    generator = np.random.default_rng(seed)
    side = generator.integers(0, 2, rows)
    activations = generator.normal(size=(rows, 5)) + 2.0 * side[:, None]
    raw = generator.random((rows, classes)) + 2.0 * np.eye(classes)[side]
    weak = (raw / raw.sum(axis=1, keepdims=True)).astype(np.float32)
    weak[: rows // 8] = weak[: rows // 8, ::-1]
    return LabelledRows(weak, np.arange(rows), lambda: activations)


def never() -> np.ndarray:
    raise AssertionError("no transform of labels alone looks at activations")


def applied(transform: Transform, rows: LabelledRows) -> tuple[np.ndarray, list[int]]:
    made = transform.apply(rows)
    assert made.labels_NC.dtype == np.float32
    assert made.labels_NC.sum(axis=1) == pytest.approx(np.ones(len(made.rows_N)), abs=1e-5)
    return made.labels_NC, made.rows_N.tolist()


def test_hard_labels_are_the_more_probable_class_and_a_tie_the_first():
    weak = np.array([[0.2, 0.8], [0.5, 0.5], [0.51, 0.49]], np.float32)
    found, kept = applied(Hard(), LabelledRows(weak, np.arange(3), never))
    assert found.tolist() == [[0, 1], [1, 0], [1, 0]]
    assert kept == [0, 1, 2]


@given(st.lists(st.floats(0.0, 1.0), min_size=1, max_size=9), st.floats(0.25, 8))
def test_temperature_divides_log_odds(values: list[float], by: float):
    p = np.array(values, np.float32)
    rows = LabelledRows(np.stack([1 - p, p], axis=1), np.arange(len(p)), never)
    found, _ = applied(Temperature(by=by), rows)
    for one, made in zip(p.astype(float), found[:, 1], strict=True):
        if 1e-6 < one < 1 - 1e-6:
            odds = np.log(one / (1 - one)) / by
            assert made == pytest.approx(1 / (1 + np.exp(-odds)), abs=1e-4)
        else:
            assert made == pytest.approx(one, abs=0.2)


def test_temperature_one_changes_nothing_and_none_moves_a_label_across():
    rows = labelled()
    assert np.allclose(applied(Temperature(by=1.0), rows)[0], rows.labels_NC, atol=1e-6)
    for by in (0.1, 10.0):
        found, _ = applied(Temperature(by=by), rows)
        assert np.array_equal(found.argmax(axis=1), rows.labels_NC.argmax(axis=1))
    assert np.allclose(applied(Temperature(by=0.001), rows)[0], applied(Hard(), rows)[0])


def test_only_confident_rows_stay():
    rows = labelled()
    _, kept = applied(Confident(above=0.75), rows)
    assert kept == [i for i in range(ROWS) if max(rows.labels_NC[i]) > 0.75]
    assert applied(Confident(above=0.0), rows)[1] == list(range(ROWS))
    assert 0 < len(kept) < ROWS


def distances(points: np.ndarray) -> np.ndarray:
    apart = np.sqrt(((points[:, None] - points[None]) ** 2).sum(axis=2))
    np.fill_diagonal(apart, np.inf)
    return apart


def knn_reference(points: np.ndarray, labels: np.ndarray, k: int) -> np.ndarray:
    nearest = np.argsort(distances(points), axis=1)[:, :k]
    return np.array([labels[near].mean(axis=0) for near in nearest])


@pytest.mark.parametrize("k", [1, 7, 39])
@pytest.mark.parametrize("classes", [2, 3])
def test_knn_is_the_mean_label_of_the_others(k: int, classes: int):
    rows = labelled(classes=classes)
    expected = knn_reference(rows.activations_ND, rows.labels_NC, k)
    assert np.allclose(applied(Relabel(by=Knn(k=k)), rows)[0], expected, atol=1e-6)


def test_more_neighbours_than_rows_are_all_others():
    rows = labelled(rows=6)
    many = applied(Relabel(by=Knn(k=50)), rows)[0]
    assert np.allclose(many, applied(Relabel(by=Knn(k=5)), rows)[0])


def test_rows_in_one_place_are_never_their_own_neighbours():
    weak = np.array([[0.0, 1.0], [1.0, 0.0], [1.0, 0.0], [1.0, 0.0]], np.float32)
    rows = LabelledRows(weak, np.arange(4), lambda: np.zeros((4, 2)))
    found, _ = applied(Relabel(by=Knn(k=3)), rows)
    assert found[0].tolist() == [1.0, 0.0]


@pytest.mark.parametrize("probe", [Knn(k=7), Logistic()], ids=lambda probe: probe.kind)
@pytest.mark.parametrize("share", [0.0, 0.1, 0.5])
def test_a_filter_drops_the_share_that_its_probe_contradicts_most(probe, share: float):
    rows = labelled()
    predicted_NC = probe.predict(rows.activations_ND, rows.labels_NC)
    apart = np.abs(predicted_NC[:, 1] - rows.labels_NC[:, 1])
    found, kept = applied(Filter(by=probe, share=share), rows)
    assert len(kept) == ROWS - round(share * ROWS)
    dropped = sorted(set(range(ROWS)) - set(kept))
    assert not dropped or apart[dropped].min() >= apart[kept].max()
    assert np.array_equal(found, rows.labels_NC[kept])


def test_logistic_regression_is_at_its_minimum():
    """The gradient of mean cross-entropy + l2 x |w|^2, written out, is zero there."""
    rows = labelled()
    x, y, l2 = rows.activations_ND, rows.labels_NC[:, 1].astype(float), 1e-2
    p = Logistic(l2=l2).predict(x, rows.labels_NC)[:, 1]
    odds = np.log(p / (1 - p))
    design = np.column_stack([x, np.ones(ROWS)])
    weights = np.linalg.lstsq(design, odds, rcond=None)[0]
    assert np.allclose(design @ weights, odds, atol=1e-4)
    slope = x.T @ (p - y) / ROWS + 2 * l2 * weights[:-1]
    assert np.abs(slope).max() < 1e-3
    assert abs((p - y).mean()) < 1e-3


def test_logistic_regression_of_one_class_predicts_that_class():
    rows = labelled()
    certain = rows.relabelled(np.tile([0.0, 1.0], (ROWS, 1)))
    assert np.array_equal(applied(Relabel(by=Logistic()), certain)[0], certain.labels_NC)


def components_reference(near: np.ndarray, classes: np.ndarray) -> np.ndarray:
    """Largest set of rows of a class that all reach each other over edges within the class."""
    rows = len(classes)
    reach = np.eye(rows, dtype=bool)
    for i in range(rows):
        reach[i, near[i][classes[near[i]] == classes[i]]] = True
    for middle in range(rows):
        reach |= reach[:, [middle]] & reach[[middle], :]
    both = reach & reach.T
    core = np.zeros(rows, dtype=bool)
    for one in set(classes.tolist()):
        members = [i for i in range(rows) if classes[i] == one]
        core |= both[max(members, key=lambda i: int(both[i].sum()))]
    return core


@pytest.mark.parametrize("seed", range(5))
def test_topofilter_keeps_the_largest_components_then_drops_the_worst(seed: int):
    rows, k, share = labelled(seed), 3, 0.3
    classes = rows.labels_NC.argmax(axis=1)
    near = np.argsort(distances(rows.activations_ND), axis=1)[:, :k]
    core = components_reference(near, classes)
    found = TopoFilter(k=k).core(rows.activations_ND, rows.labels_NC)
    for one in (0, 1):
        assert found[classes == one].sum() == core[classes == one].sum()
    _, kept = applied(Filter(by=TopoFilter(k=k), share=share), rows)
    assert set(kept) <= set(np.flatnonzero(found).tolist())
    assert len(kept) == min(int(found.sum()), ROWS - round(share * ROWS))
    inside = np.flatnonzero(found)
    predicted_NC = knn_reference(rows.activations_ND[inside], rows.labels_NC[inside], k)
    apart = dict(
        zip(inside.tolist(), np.abs(predicted_NC - rows.labels_NC[inside])[:, 1], strict=True)
    )
    dropped = set(inside.tolist()) - set(kept)
    assert not dropped or min(apart[i] for i in dropped) >= max(apart[i] for i in kept) - 1e-6


def test_transforms_compose_and_remember_which_rows_they_began_with():
    rows = labelled()
    first = Filter(by=Knn(k=7), share=0.25).apply(rows)
    second = Confident(above=0.75).apply(first)
    third = Relabel(by=Knn(k=3)).apply(second)
    assert np.array_equal(third.activations_ND, rows.activations_ND[third.rows_N])
    assert np.array_equal(second.labels_NC, rows.labels_NC[second.rows_N])
    assert set(third.rows_N.tolist()) < set(first.rows_N.tolist())


def test_shuffled_labels_are_the_same_labels_on_other_rows():
    rows = replace(labelled(), seed=(3, 1))
    found, kept = applied(ShuffledLabels(), rows)
    again, _ = applied(ShuffledLabels(), rows)
    other, _ = applied(ShuffledLabels(), replace(rows, seed=(4, 1)))
    assert sorted(found.tolist()) == sorted(rows.labels_NC.tolist())
    assert kept == list(range(ROWS))
    assert (found == again).all()
    assert not (found == other).all()
    assert not (found == rows.labels_NC).all()


def test_the_class_prior_is_the_mean_label():
    rows = labelled()
    found, kept = applied(ClassPrior(), rows)
    assert found == pytest.approx(np.tile(rows.labels_NC.mean(axis=0), (ROWS, 1)), abs=1e-6)
    assert kept == list(range(ROWS))
