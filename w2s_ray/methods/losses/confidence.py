"""The paper's auxiliary confidence loss, with a threshold over a window of predictions."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import Field

from w2s_ray.methods.losses.loss import (
    Loss,
    class_1_probability,
    mixed,
    warmed_up,
)

if TYPE_CHECKING:
    from torch import Tensor


class ConfidenceLoss(Loss):
    """The auxiliary confidence loss, exactly as in the paper's appendix A.4.

    With more than two classes the student's own hardened prediction is its most probable class: a
    threshold that keeps the prior is defined for two classes.
    """

    kind: Literal["confidence"] = "confidence"
    alpha: float = Field(default=0.5, ge=0, le=1)
    """Weight of the student's own hardened prediction after warm-up. The paper uses 0.5, and 0.75
    for the largest students."""
    warmup_fraction: float = Field(default=0.2, ge=0, le=1)
    """Share of all steps over which alpha rises linearly from 0."""
    prior: float = Field(default=0.5, gt=0, lt=1)
    """Share of the predictions that the threshold assigns to class 1."""
    window: int | None = Field(default=None, ge=2, le=10_000_000)
    """Compute the threshold from this many latest predictions, those of the current batch included.
    Useful for small batches (EleutherAI: 32). null = from the global batch alone."""

    needs_whole_batch: ClassVar[bool] = True

    def why_two_classes(self) -> str | None:
        if self.window is not None or self.prior != 0.5:
            return "prior and window set a threshold between two classes; remove them"
        return None

    @property
    def window_size(self) -> int:
        return self.window or 0

    def weight(self, progress: float) -> float:
        """The weight of the student's own hardened prediction."""
        return warmed_up(self.alpha, warmup_fraction=self.warmup_fraction, progress=progress)

    def statistic(self, p1_W: Tensor, labels_BC: Tensor) -> Tensor:
        """The threshold: the `prior` share of the predictions of class 1 are above it.

        It is the midpoint of the two neighbouring predictions, so that differences in rounding
        between engines don't move a row across it. The share is rounded half up to whole rows; if
        predictions are tied at the threshold, fewer are above it.
        """
        descending_W = p1_W.detach().double().sort(descending=True).values
        above = math.floor(self.prior * len(descending_W) + 0.5)
        if above == 0:
            return descending_W.new_full((), math.inf)
        if above == len(descending_W):
            return descending_W.new_full((), -math.inf)
        return (descending_W[above - 1] + descending_W[above]) / 2

    def target(
        self, logits_BC: Tensor, labels_BC: Tensor, *, statistic: Tensor | None, progress: float
    ) -> Tensor:
        if logits_BC.shape[1] > 2:
            own_B = logits_BC.argmax(dim=1)
        else:
            assert statistic is not None
            own_B = (class_1_probability(logits_BC).double() > statistic).long()
        return mixed(labels_BC, own_B, self.weight(progress))
