"""A loss over rows, for every loss: the sum that an optimizer step is made of.

Owns the sum alone; a row's loss is computed by the loss itself. A statistic that rows share is one
of the **global** batch, so that workers, micro-batches and accumulation never change it. Models,
devices and the origin of labels are handled elsewhere. Shapes: B rows, C two classes.
"""

from __future__ import annotations

from torch import Tensor

from w2s_ray.methods.losses import Loss


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

    Rows of weight 0 (padding of a layout) count nothing.
    """
    each_B = loss.each(logits_BC, labels_BC, statistic=statistic, progress=progress)
    return (each_B if weights_B is None else each_B * weights_B).sum()
