"""Every loss against an independent NumPy reference, and at its limits."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from w2s_ray.config import (
    ConfidenceLoss,
    ConfidenceReferenceLoss,
    EntropyLoss,
    KLLoss,
    Loss,
    ProductLoss,
    WindowLoss,
    XentLoss,
)
from w2s_ray.learn.batches import layout
from w2s_ray.learn.losses import loss_sum
from w2s_ray.methods.losses.loss import class_1_probability

ROWS = 10


def softmax(logits: np.ndarray) -> np.ndarray:
    raised = np.exp(logits - logits.max(axis=1, keepdims=True))
    return raised / raised.sum(axis=1, keepdims=True)


def batch(seed: int = 0, rows: int = ROWS) -> tuple[torch.Tensor, torch.Tensor]:
    generator = np.random.default_rng(seed)
    logits = torch.tensor(generator.normal(size=(rows, 2)), dtype=torch.float32)
    weak = generator.random(rows).astype(np.float32)
    return logits, torch.tensor(np.stack([1 - weak, weak], axis=1))


def computed(loss: Loss, logits: torch.Tensor, labels: torch.Tensor, progress: float) -> float:
    statistic = loss.statistic(class_1_probability(logits), labels)
    return float(loss_sum(loss, logits, labels, statistic=statistic, progress=progress))


def reference(loss: Loss, logits: np.ndarray, labels: np.ndarray, progress: float) -> float:
    """Written from the papers' formulas, row by row."""
    p = softmax(logits.astype(np.float64))
    y = labels.astype(np.float64)
    if isinstance(loss, XentLoss):
        return float(-(y * np.log(p)).sum())
    if isinstance(loss, KLLoss):
        if loss.direction == "forward":
            return float((y * np.log(y / p)).sum())
        return float((p * np.log(p / y)).sum())
    if isinstance(loss, WindowLoss):
        assert isinstance(loss.radius, float)
        unsure = [i for i in range(len(p)) if abs(p[i, 1] - 0.5) <= loss.radius]
        return float(sum(-(y[i] * np.log(p[i])).sum() for i in unsure))
    if isinstance(loss, EntropyLoss):
        own = loss.alpha * min(1.0, progress / loss.warmup_fraction)
        return float((1 - own) * -(y * np.log(p)).sum() + own * -(p * np.log(p)).sum())
    if isinstance(loss, ProductLoss):
        target = p**loss.beta * y**loss.alpha
        target /= target.sum(axis=1, keepdims=True)
        return float(-(target * np.log(p)).sum())
    if isinstance(loss, ConfidenceLoss):
        alpha = loss.alpha * min(1.0, progress / loss.warmup_fraction)
        above = int(np.floor(loss.prior * len(p) + 0.5))
        winners = set(np.argsort(-p[:, 1])[:above])
        total = 0.0
        for i in range(len(p)):
            hard = 1 if i in winners else 0
            total += (1 - alpha) * -(y[i] * np.log(p[i])).sum() + alpha * -np.log(p[i, hard])
        return total
    assert isinstance(loss, ConfidenceReferenceLoss)
    coefficient = (1.0 if progress > loss.warmup_fraction else progress) * loss.alpha
    threshold = np.quantile(p[:, 0], y[:, 1].mean())
    strong = np.stack([p[:, 0] >= threshold, p[:, 0] < threshold], axis=1).astype(float)
    return float(-((y * (1 - coefficient) + strong * coefficient) * np.log(p)).sum())


LOSSES: list[Loss] = [
    XentLoss(),
    ConfidenceLoss(),
    ConfidenceLoss(alpha=0.75, prior=0.3),
    ConfidenceReferenceLoss(),
    ProductLoss(),
    ProductLoss(alpha=0.5, beta=2.0),
    EntropyLoss(),
    EntropyLoss(alpha=0.9, warmup_fraction=0.02),
]
"""Those that are a cross-entropy with some target."""

OTHERS: list[Loss] = [
    WindowLoss(),
    WindowLoss(radius=0.4),
    KLLoss(),
    KLLoss(direction="reverse"),
]


@pytest.mark.parametrize("loss", LOSSES + OTHERS, ids=lambda loss: f"{loss.kind}")
@pytest.mark.parametrize("progress", [0.0, 0.05, 0.5])
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_matches_a_numpy_reference(loss: Loss, progress: float, seed: int) -> None:
    logits, labels = batch(seed)
    expected = reference(loss, logits.numpy(), labels.numpy(), progress)
    assert computed(loss, logits, labels, progress) == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize(
    "loss",
    [
        ConfidenceLoss(alpha=0),
        ConfidenceReferenceLoss(alpha=0),
        ProductLoss(alpha=1, beta=0),
        EntropyLoss(alpha=0),
        WindowLoss(radius=0.5),
    ],
)
def test_a_loss_without_its_own_part_is_cross_entropy(loss: Loss) -> None:
    logits, labels = batch()
    expected = computed(XentLoss(), logits, labels, 0.5)
    assert computed(loss, logits, labels, 0.5) == pytest.approx(expected, rel=1e-6)


def test_product_without_labels_is_self_training() -> None:
    logits, labels = batch()
    found = ProductLoss(alpha=0, beta=1).target(logits, labels, statistic=None, progress=0.0)
    torch.testing.assert_close(found, torch.softmax(logits, dim=1))


def test_product_of_certain_opposites_is_finite() -> None:
    logits = torch.tensor([[500.0, -500.0], [0.0, 0.0]], requires_grad=True)
    labels = torch.tensor([[0.0, 1.0], [1.0, 0.0]])
    loss = loss_sum(ProductLoss(), logits, labels, statistic=None, progress=0.0)
    loss.backward()
    assert torch.isfinite(loss)
    assert logits.grad is not None
    assert torch.isfinite(logits.grad).all()


def test_the_confidence_weight_rises_linearly_and_stays() -> None:
    loss = ConfidenceLoss(alpha=0.6, warmup_fraction=0.2)
    weights = [loss.weight(progress) for progress in (0.0, 0.05, 0.1, 0.2, 0.9)]
    assert weights == pytest.approx([0.0, 0.15, 0.3, 0.6, 0.6])
    assert ConfidenceLoss(alpha=0.6, warmup_fraction=0).weight(0.0) == 0.6


def test_the_reference_weight_jumps() -> None:
    loss = ConfidenceReferenceLoss(alpha=0.5, warmup_fraction=0.1)
    weights = [loss.weight(progress) for progress in (0.0, 0.1, 0.11, 1.0)]
    assert weights == pytest.approx([0.0, 0.05, 0.5, 0.5])


@pytest.mark.parametrize("loss", LOSSES, ids=lambda loss: f"{loss.kind}")
def test_no_gradient_flows_through_the_target(loss: Loss) -> None:
    logits, labels = batch()
    logits.requires_grad_(True)
    statistic = loss.statistic(class_1_probability(logits), labels)
    target = loss.target(logits.detach(), labels, statistic=statistic, progress=0.5)
    assert not target.requires_grad
    loss_sum(loss, logits, labels, statistic=statistic, progress=0.5).backward()
    expected = torch.softmax(logits.detach(), dim=1) * target.sum(1, keepdim=True) - target
    torch.testing.assert_close(logits.grad, expected, atol=1e-6, rtol=1e-5)


@given(
    st.lists(st.integers(-1000, 1000), min_size=1, max_size=60, unique=True),
    st.floats(0.05, 0.95),
)
def test_exactly_the_prior_share_lies_above_the_threshold(values: list[int], prior: float) -> None:
    p1 = torch.sigmoid(torch.tensor(values, dtype=torch.float64) / 100).float()
    labels = torch.full((len(values), 2), 0.5)
    if len(set(p1.tolist())) < len(values):
        return
    threshold = ConfidenceLoss(prior=prior).statistic(p1, labels)
    assert threshold is not None
    assert int((p1.double() > threshold).sum()) == int(np.floor(prior * len(values) + 0.5))


@pytest.mark.parametrize("shape", [(), (ROWS, 1), (ROWS, 2)])
def test_a_loss_that_gives_no_value_for_each_row_is_refused(shape: tuple[int, ...]) -> None:
    class Wrong(XentLoss):
        def each(self, logits_BC: torch.Tensor, *_: object, **__: object) -> torch.Tensor:
            return logits_BC.new_zeros(shape)

    logits, labels = batch()
    with pytest.raises(ValueError, match=r"loss xent gives a value of shape .* return one value"):
        loss_sum(Wrong(), logits, labels, statistic=None, progress=0.0)


def test_rows_of_weight_zero_count_nothing() -> None:
    logits, labels = batch()
    weights = torch.ones(ROWS)
    weights[3] = 0
    kept = [i for i in range(ROWS) if i != 3]
    whole = loss_sum(XentLoss(), logits, labels, weights, statistic=None, progress=0.0)
    part = loss_sum(XentLoss(), logits[kept], labels[kept], statistic=None, progress=0.0)
    torch.testing.assert_close(whole, part)


@pytest.mark.parametrize("loss", LOSSES + OTHERS, ids=lambda loss: f"{loss.kind}")
@pytest.mark.parametrize(("workers", "micro"), [(1, 10), (1, 3), (2, 5), (3, 1), (4, 2)])
def test_targets_of_the_global_batch_do_not_depend_on_its_layout(
    loss: Loss, workers: int, micro: int
) -> None:
    logits, labels = batch()
    whole = computed(loss, logits, labels, 0.5)
    p1 = torch.zeros(ROWS)
    dealt = [
        part
        for worker in layout(np.arange(ROWS), workers=workers, micro_batch=micro)
        for part in worker
        if part.real
    ]
    for part in dealt:
        p1[part.positions] = class_1_probability(logits[part.positions])
    statistic = loss.statistic(p1, labels)
    parts = [
        loss_sum(loss, logits[at], labels[at], statistic=statistic, progress=0.5)
        for at in (part.positions for part in dealt)
    ]
    assert float(sum(parts)) == pytest.approx(whole, rel=1e-6)


@pytest.mark.parametrize(
    "loss", [ConfidenceLoss(alpha=0.7), ConfidenceReferenceLoss(), EntropyLoss()], ids=repr
)
def test_the_gradient_is_that_of_the_loss_with_its_target_held_fixed(loss: Loss) -> None:
    """By finite differences in double precision: the target is a constant of the step."""
    logits, labels = batch(seed=4)
    logits = logits.double().requires_grad_(True)
    statistic = loss.statistic(class_1_probability(logits), labels)
    loss_sum(loss, logits, labels, statistic=statistic, progress=0.5).backward()
    assert logits.grad is not None
    target = (
        loss.target(logits.detach(), labels, statistic=statistic, progress=0.5).double().numpy()
    )
    at = logits.detach().numpy()

    def held(moved: np.ndarray) -> float:
        return float(-(target * np.log(softmax(moved))).sum())

    for row in range(ROWS):
        for side in (0, 1):
            step = np.zeros_like(at)
            step[row, side] = 1e-5
            slope = (held(at + step) - held(at - step)) / 2e-5
            assert float(logits.grad[row, side]) == pytest.approx(slope, abs=2e-6)


def test_the_papers_warm_up_does_not_jump_and_the_references_does() -> None:
    """A trap of the public implementation: its weight leaps from the warm-up's share to all."""
    before, after = 0.0999, 0.1001
    paper = ConfidenceLoss(alpha=0.5, warmup_fraction=0.1)
    reference = ConfidenceReferenceLoss(alpha=0.5, warmup_fraction=0.1)
    assert paper.weight(after) - paper.weight(before) < 0.001
    assert reference.weight(after) - reference.weight(before) > 0.4
    steps = [paper.weight(step / 100) for step in range(101)]
    assert max(b - a for a, b in pairwise(steps)) == pytest.approx(0.05)


def test_entropy_pulls_like_weaker_cross_entropy() -> None:
    grads = []
    for loss in (EntropyLoss(alpha=0.75, warmup_fraction=0), XentLoss()):
        logits, labels = batch()
        logits.requires_grad_(True)
        loss_sum(loss, logits, labels, statistic=None, progress=0.5).backward()
        grads.append(logits.grad)
    torch.testing.assert_close(grads[0], grads[1] * 0.25)


def test_forward_kl_has_the_gradient_of_cross_entropy_and_is_zero_on_its_own_labels() -> None:
    logits, _ = batch()
    labels = torch.softmax(logits, dim=1)
    for direction in ("forward", "reverse"):
        found = loss_sum(KLLoss(direction=direction), logits, labels, statistic=None, progress=0.0)
        assert float(found) == pytest.approx(0.0, abs=1e-6)
    certain = torch.tensor([[0.0, 1.0], [1.0, 0.0]])
    for loss in (KLLoss(), KLLoss(direction="reverse")):
        found = loss_sum(loss, logits[:2], certain, statistic=None, progress=0.0)
        assert torch.isfinite(found)


def test_a_window_as_wide_as_the_weak_labels_median() -> None:
    weak = np.array([0.5, 0.6, 0.9, 1.0, 0.05], dtype=np.float32)
    made = WindowLoss(radius="median_weak").prepared(np.stack([1 - weak, weak], axis=1))
    assert made.radius == pytest.approx(0.4)
    assert WindowLoss().prepared(np.stack([1 - weak, weak], axis=1)) == WindowLoss()


def test_rows_outside_the_window_leave_no_gradient() -> None:
    logits = torch.tensor([[0.0, 0.2], [0.0, 3.0], [-3.0, 0.0]], requires_grad=True)
    labels = torch.tensor([[1.0, 0.0]] * 3)
    loss_sum(WindowLoss(), logits, labels, statistic=None, progress=0.0).backward()
    assert logits.grad is not None
    assert logits.grad[0].abs().sum() > 0
    assert logits.grad[1:].abs().sum() == 0
