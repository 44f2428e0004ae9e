"""The public reference implementation's product loss."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from pydantic import Field

from w2s_ray.methods.losses.loss import Loss

if TYPE_CHECKING:
    from torch import Tensor


class ProductLoss(Loss):
    """The public reference implementation's product loss: target ∝ student^beta · label^alpha."""

    kind: Literal["product"] = "product"
    alpha: float = Field(default=1.0, ge=0, le=1000)
    """Exponent of the labels."""
    beta: float = Field(default=1.0, ge=0, le=1000)
    """Exponent of the student's own (detached) prediction."""

    def target(
        self, logits_BC: Tensor, labels_BC: Tensor, *, statistic: Tensor | None, progress: float
    ) -> Tensor:
        """Computed with logarithms, because a confident student would give 0 / 0."""
        log_BC = self.beta * logits_BC.float().log_softmax(dim=1)
        if self.alpha > 0:
            log_BC = log_BC + self.alpha * labels_BC.log()
        return log_BC.softmax(dim=1)
