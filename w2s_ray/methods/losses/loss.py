"""What every loss is: settings, and what a row's loss is given its label and the model's logits.

Owns the contract between a loss and training, and the common case: a cross-entropy with some
target. Shapes: B rows of a global batch or a part of it, W predictions, N training rows, C two
classes (1 = positive).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Self

from w2s_ray.frozen import Frozen

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor


class Loss(Frozen):
    """A loss. A subclass names its `kind`, and gives `target` or, where that isn't enough, `each`.

    It computes with methods of the tensors that it is given and never imports torch.
    """

    looks_at_batch: ClassVar[bool] = False
    """Whether `statistic` must see the whole global batch before any row's loss is known. With
    accumulation, training then makes a first pass without gradients over all micro-batches."""

    @property
    def remembers(self) -> int:
        """How many predictions `statistic` wants to see, the batch's own last; 0 = the batch's."""
        return 0

    def prepared(self, labels_NC: np.ndarray) -> Self:
        """The loss that trains on these labels, where its settings depend on them."""
        return self

    def statistic(self, p1_W: Tensor, labels_BC: Tensor) -> Tensor | None:
        """What rows share: a scalar of the predictions of class 1 and the batch's labels."""
        return None

    def target(
        self, logits_BC: Tensor, labels_BC: Tensor, *, statistic: Tensor | None, progress: float
    ) -> Tensor:
        """target_BC, the distribution that a row's cross-entropy is taken with.

        `logits_BC` are detached: no gradient can flow through a target. `progress` is steps done
        over all steps.
        """
        raise NotImplementedError(f"{type(self).__name__} gives neither target nor each")

    def each(
        self, logits_BC: Tensor, labels_BC: Tensor, *, statistic: Tensor | None, progress: float
    ) -> Tensor:
        """loss_B of each row."""
        target_BC = self.target(
            logits_BC.detach(), labels_BC, statistic=statistic, progress=progress
        )
        return cross_entropy(logits_BC, target_BC)


def cross_entropy(logits_BC: Tensor, target_BC: Tensor) -> Tensor:
    """Cross-entropy of each row with a distribution, in fp32."""
    return -(target_BC * logits_BC.float().log_softmax(dim=1)).sum(dim=1)


def class_1_probability(logits_BC: Tensor) -> Tensor:
    """p1_B in fp32, the model's probability of class 1."""
    return logits_BC.float().softmax(dim=1)[:, 1]


def mixed(labels_BC: Tensor, positive_B: Tensor, weight: float) -> Tensor:
    """Labels with the hard classes `positive_B` mixed in by `weight`."""
    hard_BC = labels_BC.new_zeros(labels_BC.shape)
    hard_BC[:, 1] = positive_B.to(labels_BC.dtype)
    hard_BC[:, 0] = 1.0 - hard_BC[:, 1]
    return labels_BC * (1.0 - weight) + hard_BC * weight


def warmed_up(alpha: float, *, warmup_fraction: float, progress: float) -> float:
    """`alpha` after it has risen linearly from 0 over the first `warmup_fraction` of training."""
    return alpha * (min(1.0, progress / warmup_fraction) if warmup_fraction > 0 else 1.0)
