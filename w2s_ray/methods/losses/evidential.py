"""Evidential loss: the logits are evidence for a Dirichlet distribution over the classes."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Literal

from pydantic import Field

from w2s_ray.methods.losses.loss import Loss

if TYPE_CHECKING:
    from torch import Tensor


class EvidentialLoss(Loss):
    """The Bayesian evidential loss of weak-to-strong training (Cui et al. 2024, arXiv 2406.03199;
    evidential learning: Sensoy et al. 2018).

    With a = softplus(logits) + 1 and S their sum, a class y has the loss E(y) = log S - log a_y +
    r KL(Dir(b) || Dir(1)), where b is a with b_y = 1, and r rises from 0 to 1 over training. The
    loss is (1 - own) sum_c w_c E(c) + own E(the student's own class). It is linear in the labels w,
    so that several supervisors of equal weight (the stage `ensemble`) are their mean. The evidence
    is softplus where the authors have relu, which has no gradient at the head's start, zero. A
    public version evaluates E at the label's class alone, so that soft labels cancel.
    """

    kind: Literal["evidential"] = "evidential"
    own: float = Field(default=0.5, ge=0, le=1)
    """Weight of the student's own class."""
    regularization: float = Field(default=1.0, ge=0, le=1000)
    """r at the end of training."""

    def each(
        self, logits_BC: Tensor, labels_BC: Tensor, *, statistic: Tensor | None, progress: float
    ) -> Tensor:
        alpha_BC = logits_BC.float().logaddexp(logits_BC.new_zeros(()).float()) + 1.0
        losses_BC = alpha_BC.sum(dim=1, keepdim=True).log() - alpha_BC.log()
        rate = self.regularization * progress
        if rate > 0:
            losses_BC = losses_BC + rate * _divergence(alpha_BC)
        own_B1 = logits_BC.detach().argmax(dim=1, keepdim=True)
        weak_B = (labels_BC * losses_BC).sum(dim=1)
        return (1.0 - self.own) * weak_B + self.own * losses_BC.gather(1, own_B1)[:, 0]


def _divergence(alpha_BC: Tensor) -> Tensor:
    """KL_BC from the uniform Dirichlet distribution, of alpha with class c's own evidence left
    out.
    """
    classes = alpha_BC.shape[1]
    keep_CC = 1.0 - alpha_BC.new_zeros(classes, classes).fill_diagonal_(1.0)
    b_BCC = 1.0 + (alpha_BC[:, None, :] - 1.0) * keep_CC  # [row, left out, class]
    sum_BC1 = b_BCC.sum(dim=2, keepdim=True)
    return (
        sum_BC1[:, :, 0].lgamma()
        - math.lgamma(classes)
        - b_BCC.lgamma().sum(dim=2)
        + ((b_BCC - 1.0) * (b_BCC.digamma() - sum_BC1.digamma())).sum(dim=2)
    )
