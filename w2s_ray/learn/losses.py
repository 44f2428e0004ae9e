"""A loss over rows, for every loss: the sum that an optimizer step is made of.

Owns the sum alone; a row's loss is computed by the loss itself. A statistic that rows share is one
of the **global** batch, so that workers, micro-batches and accumulation never change it. Models,
devices and the origin of labels are handled elsewhere. Shapes: K supervisors, N training rows, B
rows, C classes.
"""

from __future__ import annotations

from typing import TypeVar

import numpy as np
from torch import Tensor

from w2s_ray.errors import InputError
from w2s_ray.methods.kinds import kind_of
from w2s_ray.methods.losses import Loss

A = TypeVar("A", np.ndarray, Tensor)


def loss_sum(
    loss: Loss,
    logits_BC: Tensor,
    labels_BC: Tensor,
    weights_B: Tensor | None = None,
    *,
    statistic: Tensor | None,
    progress: float,
) -> Tensor:
    """The loss summed over rows; the loop divides by the rows of the global batch.

    Rows of weight 0 (padding of a layout) count nothing. Weights have mean 1 over the training
    rows, so that the result is a weighted mean over them and does not depend on a batch's others.

    Raises:
        InputError: the loss doesn't give one value for each row.
    """
    each_B = loss.each(logits_BC, labels_BC, statistic=statistic, progress=progress)
    if each_B.shape != logits_BC.shape[:1]:
        raise InputError(
            f"loss {kind_of(type(loss))} gives a value of shape {tuple(each_B.shape)} for "
            f"{len(logits_BC)} rows; return one value for each row (`w2s check` tests a loss)"
        )
    return (each_B if weights_B is None else each_B * weights_B).sum()


def labels_for(loss: Loss, labels_NC: A, labels_KNC: A | None) -> A:
    """What `loss` gets as labels: each supervisor's [K, N, C], or one label for each row [N, C].

    One label a row stands for a single supervisor.
    """
    if not loss.takes_each_supervisor:
        return labels_NC
    return labels_NC[None] if labels_KNC is None else labels_KNC
