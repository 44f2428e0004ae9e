"""One optimizer step on one global batch, for every form, loss and engine.

Owns the order within a step: what is trained, the form's forward and backward passes over this
worker's micro-batches, the learning rate. A step's loss is the mean over the global batch, whatever
the workers, micro-batches and accumulation. Evaluations, and what comes before and after the step,
are the loop's.
"""

from __future__ import annotations

import numpy as np
from torch import Tensor

from w2s_ray.config import FitRecipe, LpFtTuning
from w2s_ray.learn.engine import Engine
from w2s_ray.learn.forms.data import FormData
from w2s_ray.learn.schedule import learning_rate
from w2s_ray.methods.losses import Loss


def optimizer_step(
    rows: np.ndarray,
    *,
    recipe: FitRecipe,
    loss: Loss,
    memory: list[float],
    data: FormData,
    engine: Engine,
    step: int,
    total_steps: int,
    micro_batch: int,
) -> Tensor:
    """Step `step` (from 0) on the global batch `rows`; this worker's part of the mean loss.

    `loss` is the recipe's, prepared; `memory` is what it keeps from step to step (see
    `FormData.step`).
    """
    if isinstance(recipe.training.tuning, LpFtTuning):
        engine.train_head_alone(step < recipe.training.tuning.probe_share * total_steps)
    total = data.step(
        rows,
        engine=engine,
        loss=loss,
        memory=memory,
        progress=step / total_steps,
        micro_batch=micro_batch,
    )
    engine.step(learning_rate(recipe.training, step, total_steps))
    return total
