"""The public reference implementation's variant of the confidence loss."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import Field

from w2s_ray.methods.losses.loss import Loss, class_1_probability, mixed

if TYPE_CHECKING:
    from torch import Tensor


class ConfidenceReferenceLoss(Loss):
    """The public reference implementation's variant of the confidence loss.

    Its threshold is the quantile of the batch's mean weak label. Its warm-up jumps: up to
    `warmup_fraction` the weight is `alpha` times the share of training done, afterwards `alpha`.
    """

    kind: Literal["confidence_reference"] = "confidence_reference"
    alpha: float = Field(default=0.5, ge=0, le=1)
    """Weight of the student's own hardened prediction."""
    warmup_fraction: float = Field(default=0.1, ge=0, le=1)
    """Share of training after which the weight jumps to `alpha`."""

    needs_whole_batch: ClassVar[bool] = True

    def why_two_classes(self) -> str:
        return "it has a threshold between two classes; use another loss"

    def weight(self, progress: float) -> float:
        """The weight of the student's own hardened prediction."""
        return self.alpha * (1.0 if progress > self.warmup_fraction else progress)

    def statistic(self, p1_W: Tensor, labels_BC: Tensor) -> Tensor:
        """The threshold: the quantile of class 0's probabilities at the mean label of class 1."""
        mean_label = labels_BC[:, 1].double().mean().clamp(0.0, 1.0)
        return (1.0 - p1_W.detach().double()).quantile(mean_label)

    def target(
        self, logits_BC: Tensor, labels_BC: Tensor, *, statistic: Tensor | None, progress: float
    ) -> Tensor:
        assert statistic is not None
        p0_B = 1.0 - class_1_probability(logits_BC).double()
        return mixed(labels_BC, (p0_B < statistic).long(), self.weight(progress))
