"""When things happen in a fit: the learning rate of a step, and the steps that are evaluated.

Pure functions of the settings and the number of steps; no state and no tensors.
"""

from __future__ import annotations

import math

from w2s_ray.config import Training


def learning_rate(training: Training, step: int, total_steps: int) -> float:
    """The learning rate of `step` (from 0) of `total_steps`.

    Warm-up rises linearly from 0, which stands before the first step, so that no step is wasted;
    its peak is the first step after warm-up. Decay then reaches 0 where step `total_steps` would
    be.
    """
    warm = round(training.lr_warmup_fraction * total_steps)
    if step < warm:
        return training.lr * (step + 1) / (warm + 1)
    done = (step - warm) / max(1, total_steps - warm)
    match training.schedule:
        case "cosine":
            return training.lr * 0.5 * (1.0 + math.cos(math.pi * done))
        case "linear":
            return training.lr * (1.0 - done)
        case "constant":
            return training.lr


def evaluation_steps(*, epochs: int, steps_per_epoch: int, evaluations_per_epoch: int) -> set[int]:
    """The numbers of steps done at which validation is evaluated.

    They are evenly spaced, with the end of each epoch among them; an epoch with fewer steps than
    evaluations is evaluated after each step.
    """
    within = {
        max(1, round(steps_per_epoch * (i + 1) / evaluations_per_epoch))
        for i in range(evaluations_per_epoch)
    }
    return {epoch * steps_per_epoch + step for epoch in range(epochs) for step in within}
