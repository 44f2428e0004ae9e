"""Adaptive confidence: the weight of the student's own class differs from row to row."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from pydantic import Field

from w2s_ray.methods.losses.loss import Loss, mixed

if TYPE_CHECKING:
    from torch import Tensor


class AdaptiveConfidenceLoss(Loss):
    """AdaptConf: cross-entropy with the label and with the student's own class, weighted for each
    row by how much the two disagree (Guo et al. 2024, arXiv 2402.03749).

    The own class has the weight a = exp(CE(p, own) / T) / (exp(CE(p, own) / T) + exp(CE(p, weak) /
    T)), where own and weak are the student's and the label's most probable class. It is at most one
    half. No gradient flows through it. The authors' code adds cross-entropy with ground truth,
    which this loss doesn't have: a student must not see it.
    """

    kind: Literal["adaptive_confidence"] = "adaptive_confidence"
    temperature: float = Field(default=0.5, ge=1e-6, le=1000)
    """T. The authors' code has 0.5, and 4 for ImageNet. Large: a weight of one half everywhere.
    Small: one half where the two agree, else 0."""

    def target(
        self, logits_BC: Tensor, labels_BC: Tensor, *, statistic: Tensor | None, progress: float
    ) -> Tensor:
        log_p_BC = logits_BC.float().log_softmax(dim=1)
        own_B1 = log_p_BC.argmax(dim=1, keepdim=True)
        weak_B1 = labels_BC.argmax(dim=1, keepdim=True)
        less_B1 = log_p_BC.gather(1, weak_B1) - log_p_BC.gather(1, own_B1)
        weight_B1 = (less_B1 / self.temperature).sigmoid()
        return mixed(labels_BC, own_B1[:, 0], weight_B1)
