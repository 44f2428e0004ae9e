"""Kullback-Leibler divergence between the labels and the student, in either direction."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from w2s_ray.methods.losses.loss import Loss

if TYPE_CHECKING:
    from torch import Tensor

LEAST = 1e-6
"""Smallest distance of labels from 0 and 1 in the reverse divergence, which uses logarithms."""


class KLLoss(Loss):
    """Kullback-Leibler divergence between labels and student.

    forward is KL(labels ‖ student): cross-entropy minus the entropy of the labels, with the same
    gradient. reverse is KL(student ‖ labels), which is mode-seeking.
    """

    kind: Literal["kl"] = "kl"
    direction: Literal["forward", "reverse"] = "forward"
    """Which of the two divergences."""

    def each(
        self, logits_BC: Tensor, labels_BC: Tensor, *, statistic: Tensor | None, progress: float
    ) -> Tensor:
        log_p_BC = logits_BC.float().log_softmax(dim=1)
        if self.direction == "forward":
            own_B = (labels_BC * labels_BC.clamp(min=LEAST**4).log()).sum(dim=1)
            return own_B - (labels_BC * log_p_BC).sum(dim=1)
        log_label_BC = labels_BC.clamp(LEAST, 1 - LEAST).log()
        return (log_p_BC.exp() * (log_p_BC - log_label_BC)).sum(dim=1)
