"""Cross-entropy in which rows count by the certainty of their labels."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal, Self

from pydantic import Field

from w2s_ray.methods.certainty import certainties
from w2s_ray.methods.losses.loss import Loss, certainty, cross_entropy

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor


class WeightedXentLoss(Loss):
    """Cross-entropy weighted by the certainty of each label (the confidence weights of CW-PO,
    Afzali et al. 2026, arXiv 2603.04968).

    The certainty is (C max_c w_c - 1) / (C - 1), with two classes |2w - 1|: 0 for a label of equal
    probabilities, 1 for a class.
    """

    kind: Literal["weighted_xent"] = "weighted_xent"
    scale: Annotated[float, Field(gt=0, le=1e6)] | Literal["mean"] = "mean"
    """The weights are multiplied by this number. 1: the paper's loss. mean: by 1 over the mean
    certainty of the training rows, so that the learning rate means the same as without weights."""

    def prepared(self, labels_NC: np.ndarray) -> Self:
        if self.scale != "mean":
            return self
        mean = float(certainties(labels_NC).mean())
        return self.model_copy(update={"scale": 1.0 / mean if mean > 0 else 1.0})

    def each(
        self, logits_BC: Tensor, labels_BC: Tensor, *, statistic: Tensor | None, progress: float
    ) -> Tensor:
        assert isinstance(self.scale, float), "prepared() must replace mean"
        classes = labels_BC.shape[1]
        weight_B = certainty(labels_BC) * (self.scale * classes / (classes - 1))
        return weight_B * cross_entropy(logits_BC, labels_BC)
