"""The base class of losses: settings, and the loss of each row from its label and its logits.

Owns the interface between losses and training, and the common case: cross-entropy with a target. It
imports no torch. Shapes: B rows of a global batch or a part of it, W predictions, N training rows,
C classes (of two, 1 = positive).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Self

from w2s_ray.frozen import Frozen

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor


class Loss(Frozen):
    """A loss. A subclass sets `kind`, and overrides `target` or, for other forms, `each`.

    It uses the methods of its tensors and never imports torch.
    """

    needs_whole_batch: ClassVar[bool] = False
    """Whether `statistic` needs the predictions of the whole global batch. With gradient
    accumulation, training then makes a first pass without gradients over all micro-batches."""

    @property
    def takes_each_supervisor(self) -> bool:
        """Whether it gets each supervisor's labels, [K, B, C], instead of their mean [B, C]."""
        return False

    @property
    def window_size(self) -> int:
        """Number of latest predictions that `statistic` gets, ending with the batch's own; 0 = only
        the batch's.
        """
        return 0

    def batch_statistic(
        self, p1_B: Tensor, labels_BC: Tensor, *, memory: list[float], progress: float
    ) -> Tensor | None:
        """What rows share in this step, from the global batch and what the loss remembers.

        `memory` is empty at first, is brought up to date here, and is part of a checkpoint. By
        default it has the latest predictions of class 1, as many as `window_size`.
        """
        if not self.window_size:
            return self.statistic(p1_B, labels_BC)
        latest = [*memory, *p1_B.tolist()][-self.window_size :]
        memory[:] = latest
        return self.statistic(p1_B.new_tensor(latest), labels_BC)

    def why_two_classes(self) -> str | None:
        """Why the loss needs two classes, as a clause for an error; None = any number will do."""
        return None

    def prepared(self, labels_NC: np.ndarray) -> Self:
        """The loss for training on these labels, if its settings depend on the labels."""
        return self

    def statistic(self, p1_W: Tensor, labels_BC: Tensor) -> Tensor | None:
        """A scalar of the predictions of class 1 and the batch's labels, for all rows."""
        return None

    def target(
        self, logits_BC: Tensor, labels_BC: Tensor, *, statistic: Tensor | None, progress: float
    ) -> Tensor:
        """target_BC, the target distribution of each row's cross-entropy.

        `logits_BC` are detached: no gradient flows through a target. `progress` is the share of all
        steps that are done.
        """
        raise NotImplementedError(f"{type(self).__name__} overrides neither target nor each")

    def each(
        self, logits_BC: Tensor, labels_BC: Tensor, *, statistic: Tensor | None, progress: float
    ) -> Tensor:
        """loss_B of each row."""
        target_BC = self.target(
            logits_BC.detach(), labels_BC, statistic=statistic, progress=progress
        )
        return cross_entropy(logits_BC, target_BC)


def cross_entropy(logits_BC: Tensor, target_BC: Tensor) -> Tensor:
    """Cross-entropy of each row with its target distribution, in fp32."""
    return -(target_BC * logits_BC.float().log_softmax(dim=1)).sum(dim=1)


def class_1_probability(logits_BC: Tensor) -> Tensor:
    """p1_B in fp32, the model's probability of class 1."""
    return logits_BC.float().softmax(dim=1)[:, 1]


def certainty(labels_BC: Tensor) -> Tensor:
    """certainty_B, a label's largest probability minus 1/C: 0 for equal probabilities."""
    return labels_BC.float().amax(dim=1) - 1.0 / labels_BC.shape[1]


def mixed(labels_BC: Tensor, classes_B: Tensor, weight: float | Tensor) -> Tensor:
    """The mean of labels and classes, with this weight of the classes: a number, or [B, 1]."""
    hard_BC = labels_BC.new_zeros(labels_BC.shape).scatter(1, classes_B[:, None], 1.0)
    return labels_BC * (1.0 - weight) + hard_BC * weight


def warmed_up(alpha: float, *, warmup_fraction: float, progress: float) -> float:
    """`alpha` after it has risen linearly from 0 over the first `warmup_fraction` of training."""
    return alpha * (min(1.0, progress / warmup_fraction) if warmup_fraction > 0 else 1.0)
