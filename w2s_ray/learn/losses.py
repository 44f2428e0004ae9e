"""The losses of a fit: what a row's target is, given its label and the student's own prediction.

Every loss here is a cross-entropy with some target, so this module owns targets. Two of them need
a threshold, which is a statistic of the **global** batch: it is measured over all rows of an
optimizer step, so that workers, micro-batches and accumulation never change it. It knows nothing
of models, devices or who the labels came from. Shapes: B rows, C two classes (1 = positive).
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from w2s_ray.spec import (
    ConfidenceLoss,
    ConfidenceReferenceLoss,
    Loss,
    ProductLoss,
    XentLoss,
)


def needs_batch_statistics(loss: Loss) -> bool:
    """Whether `batch_statistics` must see the whole global batch before any row's loss is known.

    With accumulation the loop then makes a first pass without gradients over all micro-batches,
    gathers it across workers, and trains each micro-batch against the fixed statistic.
    """
    return isinstance(loss, ConfidenceLoss | ConfidenceReferenceLoss)


def class_1_probability(logits_BC: Tensor) -> Tensor:
    """p1_B in fp32, the student's probability of class 1."""
    return torch.softmax(logits_BC.float(), dim=1)[:, 1]


def batch_statistics(loss: Loss, p1_B: Tensor, labels_BC: Tensor) -> Tensor | None:
    """The threshold over the global batch's predictions and labels, a float64 scalar tensor.

    `ConfidenceLoss`: a probability of class 1 with exactly the `prior` share of the batch above
    it, half way between the two neighbouring predictions, so that rounding that differs between
    execution layouts moves no row across. `ConfidenceReferenceLoss`: the quantile of class 0's
    probabilities at the mean label of class 1.
    """
    match loss:
        case ConfidenceLoss():
            return _threshold_above(p1_B.detach().double(), loss.prior)
        case ConfidenceReferenceLoss():
            mean_label = labels_BC[:, 1].double().mean().clamp(0.0, 1.0)
            return torch.quantile(1.0 - p1_B.detach().double(), mean_label)
        case _:
            return None


def confidence_weight(loss: Loss, progress: float) -> float:
    """The weight of the student's own hardened prediction at `progress`, steps done / all steps."""
    match loss:
        case ConfidenceLoss():
            warm = loss.warmup_fraction
            return loss.alpha * (min(1.0, progress / warm) if warm > 0 else 1.0)
        case ConfidenceReferenceLoss():
            return loss.alpha * (1.0 if progress > loss.warmup_fraction else progress)
        case _:
            return 0.0


def targets(
    loss: Loss, logits_BC: Tensor, labels_BC: Tensor, *, statistics: Tensor | None, progress: float
) -> Tensor:
    """target_BC, the detached distribution that a row's cross-entropy is taken with."""
    match loss:
        case XentLoss():
            return labels_BC
        case ConfidenceLoss():
            assert statistics is not None
            hard_B = class_1_probability(logits_BC.detach()).double() > statistics
            return _mixed(labels_BC, hard_B, confidence_weight(loss, progress))
        case ConfidenceReferenceLoss():
            assert statistics is not None
            p0_B = 1.0 - class_1_probability(logits_BC.detach()).double()
            return _mixed(labels_BC, p0_B < statistics, confidence_weight(loss, progress))
        case ProductLoss():
            return _product(loss, logits_BC.detach(), labels_BC)


def loss_sum(
    loss: Loss,
    logits_BC: Tensor,
    labels_BC: Tensor,
    weights_B: Tensor | None = None,
    *,
    statistics: Tensor | None,
    progress: float,
) -> Tensor:
    """The loss summed over rows; the loop divides by the rows of the global batch.

    Rows of weight 0 (padding of a layout) count nothing. No gradient flows through the targets.
    """
    target_BC = targets(loss, logits_BC, labels_BC, statistics=statistics, progress=progress)
    if weights_B is None:
        return torch.nn.functional.cross_entropy(logits_BC.float(), target_BC, reduction="sum")
    each_B = torch.nn.functional.cross_entropy(logits_BC.float(), target_BC, reduction="none")
    return (each_B * weights_B).sum()


def _threshold_above(p1_B: Tensor, share: float) -> Tensor:
    """A value with `share` of `p1_B`, rounded half up to whole rows, strictly above it.

    Where predictions tie across the cut, fewer lie above.
    """
    rows = len(p1_B)
    above = math.floor(share * rows + 0.5)
    descending_B = torch.sort(p1_B, descending=True).values
    if above == 0:
        return torch.full_like(descending_B[0], math.inf)
    if above == rows:
        return torch.full_like(descending_B[0], -math.inf)
    return (descending_B[above - 1] + descending_B[above]) / 2


def _mixed(labels_BC: Tensor, positive_B: Tensor, weight: float) -> Tensor:
    hard_BC = torch.stack([~positive_B, positive_B], dim=1).to(labels_BC.dtype)
    return labels_BC * (1.0 - weight) + hard_BC * weight


def _product(loss: ProductLoss, logits_BC: Tensor, labels_BC: Tensor) -> Tensor:
    """Normalised p^beta · label^alpha, by logarithms: a confident student must not give 0 / 0."""
    log_BC = loss.beta * torch.log_softmax(logits_BC.float(), dim=1)
    if loss.alpha > 0:
        log_BC = log_BC + loss.alpha * labels_BC.log()
    return torch.softmax(log_BC, dim=1)
