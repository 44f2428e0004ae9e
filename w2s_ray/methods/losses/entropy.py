"""EleutherAI's entropy loss: the target includes the student's own soft prediction."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from pydantic import Field

from w2s_ray.methods.losses.loss import Loss, warmed_up

if TYPE_CHECKING:
    from torch import Tensor


class EntropyLoss(Loss):
    """The confidence loss with the student's own soft prediction, not hardened (EleutherAI).

    Its gradient equals the gradient of cross-entropy with the labels times 1 - alpha. It acts like
    a lower learning rate after warm-up, and serves as a control.
    """

    kind: Literal["entropy"] = "entropy"
    alpha: float = Field(default=0.5, ge=0, le=1)
    """Weight of the student's own prediction after warm-up."""
    warmup_fraction: float = Field(default=0.2, ge=0, le=1)
    """Share of all steps over which alpha rises linearly from 0."""

    def target(
        self, logits_BC: Tensor, labels_BC: Tensor, *, statistic: Tensor | None, progress: float
    ) -> Tensor:
        own = warmed_up(self.alpha, warmup_fraction=self.warmup_fraction, progress=progress)
        return labels_BC * (1.0 - own) + logits_BC.float().softmax(dim=1) * own
