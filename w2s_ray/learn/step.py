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
from w2s_ray.learn.engine import PASS_TOKENS, Engine
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
    if not loss.needs_whole_batch:
        micro_batch = min(micro_batch, rows_of_pass(data, rows, engine))
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


def rows_of_pass(data: FormData, rows: np.ndarray, engine: Engine) -> int:
    """How many rows of a batch to pass forward at once, for a loss that may see parts of a batch.

    On a CPU with one worker, texts are divided so that a pass has about `PASS_TOKENS` tokens.
    Anywhere else, and for activations, it is the whole batch.
    """
    most = PASS_TOKENS.get(engine.device.type)
    if most is None or engine.workers > 1 or isinstance(data.train, ActivationRows):
        return len(rows)
    tokens = int(data.train.lengths[rows].sum())
    return -(-len(rows) // -(-tokens // most))
