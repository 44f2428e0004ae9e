"""A mixture of supervisors whose weights are learned together with the student."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import Field

from w2s_ray.methods.losses.loss import Loss, cross_entropy

if TYPE_CHECKING:
    from torch import Tensor

LEAST = 1e-6
"""Smallest weight of a supervisor, and smallest distance of predictions from 0 and 1."""


class MixtureLoss(Loss):
    """RAVEN: cross-entropy with a mixture of the supervisors' labels, whose weights are learned
    (Jeon et al. 2025, arXiv 2510.21332).

    The weights start equal. In the first phase they stay so, and only rows on which all supervisors
    predict the same class count. Then each step moves them down the gradient of the step's loss,
    bounds them below by 1e-6, and divides them by their sum. The method needs the stage `ensemble`
    and two classes. The authors train on 70 % of an unlabelled out-of-distribution set.
    """

    kind: Literal["mixture"] = "mixture"
    lr: float = Field(default=1e-3, gt=0, le=1000)
    """Learning rate of the supervisors' weights."""
    agreed_fraction: float = Field(default=0.2, ge=0, le=1)
    """Share of all steps of the first phase. The authors' code has 0.2 and 0.5: a share of all
    epochs for images, a number of epochs for preferences."""

    needs_whole_batch: ClassVar[bool] = True

    @property
    def takes_each_supervisor(self) -> bool:
        return True

    def why_two_classes(self) -> str:
        return "its weights are learned from the predictions of class 1; use another loss"

    def batch_statistic(
        self, p1_B: Tensor, labels_BC: Tensor, *, memory: list[float], progress: float
    ) -> Tensor:
        """weights_K of this step; `memory` has the next step's."""
        labels_KBC = labels_BC
        count = len(labels_KBC)
        weights_K = p1_B.double().new_tensor(memory or [1.0 / count] * count)
        if progress >= self.agreed_fraction:
            p1 = p1_B.double().clamp(LEAST, 1 - LEAST)
            w1_KB = labels_KBC[:, :, 1].double()
            each_K = -(w1_KB * p1.log() + (1 - w1_KB) * (1 - p1).log()).mean(dim=1)
            # d/da_k of the loss with target sum_k a_k w_k / sum_k a_k, at weights that sum to 1
            slope_K = each_K - (weights_K * each_K).sum()
            moved_K = (weights_K - self.lr * slope_K).clamp(min=LEAST)
            memory[:] = (moved_K / moved_K.sum()).tolist()
        return weights_K

    def each(
        self, logits_BC: Tensor, labels_BC: Tensor, *, statistic: Tensor | None, progress: float
    ) -> Tensor:
        assert statistic is not None
        labels_KBC = labels_BC
        target_BC = (statistic[:, None, None] * labels_KBC).sum(dim=0).float()
        loss_B = cross_entropy(logits_BC, target_BC)
        if progress >= self.agreed_fraction:
            return loss_B
        classes_KB = labels_KBC.argmax(dim=2)
        return loss_B * (classes_KB == classes_KB[0]).all(dim=0)
