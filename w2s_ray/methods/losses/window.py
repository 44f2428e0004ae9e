"""EleutherAI's confidence window: training only on rows with an uncertain prediction."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal, Self

from pydantic import Field

from w2s_ray.methods.losses.loss import Loss, class_1_probability, cross_entropy

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor


class WindowLoss(Loss):
    """Cross-entropy of rows with an uncertain prediction; other rows have loss 0 (EleutherAI)."""

    kind: Literal["window"] = "window"
    radius: Annotated[float, Field(gt=0, le=0.5)] | Literal["median_weak"] = 0.15
    """A row counts if the student's probability is at most this far from one half. median_weak: the
    median distance of the training rows' labels from one half."""

    def why_two_classes(self) -> str:
        return "it has a threshold between two classes; use another loss"

    def prepared(self, labels_NC: np.ndarray) -> Self:
        import numpy as np

        if self.radius != "median_weak":
            return self
        radius = float(np.median(np.abs(labels_NC[:, 1].astype(np.float64) - 0.5)))
        return self.model_copy(update={"radius": radius})

    def each(
        self, logits_BC: Tensor, labels_BC: Tensor, *, statistic: Tensor | None, progress: float
    ) -> Tensor:
        assert isinstance(self.radius, float), "prepared() must replace median_weak"
        distance_B = (class_1_probability(logits_BC.detach()).double() - 0.5).abs()
        return cross_entropy(logits_BC, labels_BC) * (distance_B <= self.radius)
