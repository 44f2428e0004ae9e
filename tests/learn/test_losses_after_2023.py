"""Losses published since 2023, against an independent NumPy reference and at their limits.

Two and three classes; the formulas are written from the papers, row by row.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch

from w2s_ray.errors import InputError
from w2s_ray.learn.losses import loss_sum
from w2s_ray.methods.losses import (
    AdaptiveConfidenceLoss,
    CACELoss,
    Loss,
    ReverseXentLoss,
    SymmetricXentLoss,
    WeightedXentLoss,
    XentLoss,
)

ROWS = 12
Rows = tuple[torch.Tensor, torch.Tensor]


def batch(classes: int, seed: int = 0) -> Rows:
    random = np.random.default_rng(seed)
    logits = torch.tensor(random.normal(size=(ROWS, classes)), dtype=torch.float64)
    return logits, torch.tensor(random.dirichlet(np.ones(classes), size=ROWS), dtype=torch.float32)


def each(loss: Loss, rows: Rows) -> torch.Tensor:
    return loss.each(*rows, statistic=None, progress=0.5)


def log_softmax(z: np.ndarray) -> np.ndarray:
    return z - np.log(np.exp(z).sum())


def forward(z: np.ndarray, w: np.ndarray) -> float:
    return float(-(w * log_softmax(z)).sum())


def reverse(z: np.ndarray, w: np.ndarray, smoothing: float) -> float:
    smoothed = (1 - smoothing) * w + smoothing / len(w)
    return float(-sum(p * np.log(q) for p, q in zip(np.exp(log_softmax(z)), smoothed, strict=True)))


def adaptive(z: np.ndarray, w: np.ndarray, temperature: float) -> float:
    own, weak = int(z.argmax()), int(w.argmax())
    ce_own, ce_weak = -log_softmax(z)[own], -log_softmax(z)[weak]
    a = np.exp(ce_own / temperature)
    a /= a + np.exp(ce_weak / temperature)
    return float((1 - a) * forward(z, w) + a * ce_own)


REFERENCES: list[tuple[Loss, Callable[[np.ndarray, np.ndarray], float]]] = [
    (ReverseXentLoss(), lambda z, w: reverse(z, w, 0.0)),
    (ReverseXentLoss(smoothing=0.2), lambda z, w: reverse(z, w, 0.2)),
    (SymmetricXentLoss(), lambda z, w: forward(z, w) + 0.1 * reverse(z, w, 0.0)),
    (
        SymmetricXentLoss(forward=0.5, reverse=2.0, smoothing=0.1),
        lambda z, w: 0.5 * forward(z, w) + 2.0 * reverse(z, w, 0.1),
    ),
    (
        CACELoss(certain_from=0.2),
        lambda z, w: forward(z, w) if w.max() - 1 / len(w) >= 0.2 else reverse(z, w, 0.0),
    ),
    (AdaptiveConfidenceLoss(), lambda z, w: adaptive(z, w, 0.5)),
    (AdaptiveConfidenceLoss(temperature=4.0), lambda z, w: adaptive(z, w, 4.0)),
    (
        WeightedXentLoss(scale=1.0),
        lambda z, w: (len(w) * w.max() - 1) / (len(w) - 1) * forward(z, w),
    ),
]


@pytest.mark.parametrize(("loss", "reference"), REFERENCES, ids=[str(one) for one, _ in REFERENCES])
@pytest.mark.parametrize("classes", [2, 3])
def test_matches_a_numpy_reference(loss, reference, classes):
    rows = batch(classes)
    expected = [reference(z, w) for z, w in zip(*(r.double().numpy() for r in rows), strict=True)]
    assert each(loss, rows).tolist() == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize(
    "loss",
    [
        SymmetricXentLoss(reverse=0),
        CACELoss(certain_from=0),
        AdaptiveConfidenceLoss(temperature=1e-3),
    ],
    ids=repr,
)
def test_at_its_limit_a_loss_is_cross_entropy(loss):
    logits, labels = batch(3)
    disagree = logits.argmax(1) != labels.argmax(1)
    rows = logits[disagree], labels[disagree]  # where they agree, adaptive_confidence keeps half
    assert len(rows[0]) > 2
    torch.testing.assert_close(each(loss, rows), each(XentLoss(), rows), atol=1e-6, rtol=1e-6)


def test_hard_labels_have_weight_1():
    logits, labels = batch(3)
    hard = torch.nn.functional.one_hot(labels.argmax(1), 3).float()
    for loss in (WeightedXentLoss(scale=1.0), WeightedXentLoss().prepared(hard.numpy())):
        torch.testing.assert_close(each(loss, (logits, hard)), each(XentLoss(), (logits, hard)))


def test_normalized_weights_have_mean_1_over_the_training_rows():
    _, labels = batch(2)
    loss = WeightedXentLoss().prepared(labels.numpy())
    even = torch.zeros(ROWS, 2, dtype=torch.float64)  # each row's cross-entropy is ln 2
    assert float(each(loss, (even, labels)).mean()) == pytest.approx(np.log(2), rel=1e-6)
    assert WeightedXentLoss().prepared(np.full((3, 2), 0.5, np.float32)).scale == 1.0


def test_a_large_temperature_weighs_the_own_class_one_half_everywhere():
    logits, labels = batch(3)
    loss = AdaptiveConfidenceLoss(temperature=1000)
    target = loss.target(logits, labels, statistic=None, progress=0.0)
    own = torch.nn.functional.one_hot(logits.argmax(1), 3).float()
    torch.testing.assert_close(target, (labels + own) / 2, atol=2e-3, rtol=0)


def test_the_own_class_never_weighs_more_than_one_half():
    logits, labels = batch(3, seed=5)
    for temperature in (0.1, 0.5, 4.0):
        loss = AdaptiveConfidenceLoss(temperature=temperature)
        target = loss.target(logits, labels, statistic=None, progress=0.0)
        assert bool((target >= labels / 2 - 1e-6).all())
        torch.testing.assert_close(target.sum(1), torch.ones(ROWS))


def test_the_share_of_uncertain_rows_sets_the_threshold():
    _, labels = batch(2)
    loss = CACELoss(uncertain_share=0.5).prepared(labels.numpy())
    distances = sorted(abs(float(w) - 0.5) for w in labels[:, 1])
    assert loss.certain_from == pytest.approx((distances[5] + distances[6]) / 2)
    assert CACELoss().prepared(labels.numpy()) == CACELoss()


def test_cace_takes_one_threshold():
    with pytest.raises(InputError, match="which both set its threshold; remove one"):
        CACELoss(certain_from=0.1, uncertain_share=0.5)
    given = CACELoss(uncertain_share=0.5)  # as a search makes it again, with all its settings
    assert CACELoss.model_validate(given.model_dump()) == given


@pytest.mark.parametrize("loss", [loss for loss, _ in REFERENCES], ids=str)
def test_gradients_are_those_of_finite_differences_with_targets_and_weights_fixed(loss):
    logits, labels = batch(3, seed=2)
    labels = labels.double()
    logits.requires_grad_(True)
    loss_sum(loss, logits, labels, statistic=None, progress=0.5).backward()
    assert logits.grad is not None
    at = logits.detach()
    target = None
    if isinstance(loss, AdaptiveConfidenceLoss):
        target = loss.target(at, labels, statistic=None, progress=0.5)

    def held(moved: torch.Tensor) -> torch.Tensor:
        if target is not None:
            return -(target * moved.log_softmax(1)).sum()
        return _in_double(loss, moved, labels)

    for row in range(ROWS):
        for column in range(3):
            step = torch.zeros_like(at)
            step[row, column] = 1e-5
            slope = float(held(at + step) - held(at - step)) / 2e-5
            assert float(logits.grad[row, column]) == pytest.approx(slope, abs=1e-5)


def _in_double(loss: Loss, logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """The sum of a row's loss by its NumPy reference, which is in double precision."""
    reference = next(made for one, made in REFERENCES if one == loss)
    pairs = zip(logits.numpy(), labels.numpy(), strict=True)
    return torch.tensor(sum(reference(z, w) for z, w in pairs), dtype=torch.float64)


@pytest.mark.parametrize("loss", [loss for loss, _ in REFERENCES], ids=str)
def test_extreme_rows_are_finite(loss):
    logits = torch.tensor([[500.0, -500.0], [-500.0, 500.0], [0.0, 0.0]], requires_grad=True)
    labels = torch.tensor([[0.0, 1.0], [0.0, 1.0], [0.5, 0.5]])
    total = loss_sum(loss, logits, labels, statistic=None, progress=0.5)
    total.backward()
    assert torch.isfinite(total)
    assert logits.grad is not None
    assert bool(torch.isfinite(logits.grad).all())


def test_reverse_targets_are_probabilities_and_not_logits():
    """A public version takes the student's raw logits as targets for several classes: its loss
    changes if a constant is added to a row's logits, which changes no probability.
    """
    logits, labels = batch(3)
    for loss in (ReverseXentLoss(), SymmetricXentLoss(), CACELoss(certain_from=0.2)):
        torch.testing.assert_close(each(loss, (logits + 7.0, labels)), each(loss, (logits, labels)))
