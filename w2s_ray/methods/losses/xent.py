"""Cross-entropy: the paper's naive method."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from w2s_ray.methods.losses.loss import Loss

if TYPE_CHECKING:
    from torch import Tensor


class XentLoss(Loss):
    """Cross-entropy with the (soft) labels: the paper's naive method."""

    kind: Literal["xent"] = "xent"

    def target(
        self, logits_BC: Tensor, labels_BC: Tensor, *, statistic: Tensor | None, progress: float
    ) -> Tensor:
        return labels_BC
