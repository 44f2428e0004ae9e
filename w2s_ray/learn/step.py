"""One optimizer step on one global batch, for every form, loss and engine.

Owns the order within a step: what is trained, the form's forward and backward passes over this
worker's micro-batches, the learning rate. A step's loss is the mean over the global batch, whatever
the workers, micro-batches and accumulation. Evaluations, and what comes before and after the step,
are the loop's.
"""

from __future__ import annotations

import numpy as np
from torch import Tensor

from w2s_ray.config import CPU_PASS_TOKENS, FitRecipe, LpFtTuning
from w2s_ray.learn.engine import Engine
from w2s_ray.learn.forms.data import FormData
from w2s_ray.learn.rows import ActivationRows
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
    most = micro_batch if loss.needs_whole_batch else rows_of_pass(data, rows, engine)
    total = data.step(
        rows,
        engine=engine,
        loss=loss,
        memory=memory,
        progress=step / total_steps,
        micro_batch=min(micro_batch, most),
    )
    engine.step(learning_rate(recipe.training, step, total_steps))
    return total


def rows_of_pass(data: FormData, rows: np.ndarray, engine: Engine) -> int:
    """The most rows of a forward pass of a batch: on a CPU those of about `CPU_PASS_TOKENS` tokens.

    A loss that compares the rows of a batch would need a second pass.
    """
    is_text = not isinstance(data.train, ActivationRows)
    if engine.device.type != "cpu" or engine.workers > 1 or not is_text:
        return len(rows)
    tokens = int(data.train.lengths[rows].sum())
    return -(-len(rows) // -(-tokens // CPU_PASS_TOKENS))
