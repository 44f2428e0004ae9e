"""One optimizer step on one global batch, for every loss and engine.

Owns forward and backward passes over this worker's micro-batches. A step's loss is the mean over
the global batch, whatever the workers, micro-batches and accumulation. Where a loss needs a
statistic of the global batch, a step of one micro-batch takes it from its only forward pass; a step
of several makes a first pass without gradients over all of them, and trains each against the fixed
statistic. It knows nothing of evaluations and of what comes before or after the step. Shapes: B
rows, L tokens, C classes.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from w2s_ray.config import FitRecipe, LpFtTuning
from w2s_ray.learn.batches import MicroBatch, layout
from w2s_ray.learn.contract import AnyData, FitData
from w2s_ray.learn.engine import Engine, model_inputs, to_device
from w2s_ray.learn.language import language_step
from w2s_ray.learn.losses import loss_sum
from w2s_ray.learn.schedule import learning_rate
from w2s_ray.methods.losses import Loss
from w2s_ray.methods.losses.loss import class_1_probability


def optimizer_step(
    rows: np.ndarray,
    *,
    recipe: FitRecipe,
    loss: Loss,
    recent: list[float],
    data: AnyData,
    engine: Engine,
    step: int,
    total_steps: int,
    micro_batch: int,
) -> Tensor:
    """Step `step` (from 0) on the global batch `rows`; this worker's part of the mean loss.

    `loss` is the recipe's, prepared; a language model has one loss only. `recent` holds the latest
    predictions of class 1, as many as the loss remembers, and is brought up to date.
    """
    if isinstance(recipe.training.tuning, LpFtTuning):
        engine.train_head_alone(step < recipe.training.tuning.probe_share * total_steps)
    if not isinstance(data, FitData):
        total = language_step(rows, data=data, engine=engine, micro_batch=micro_batch)
    else:
        total = _two_class_step(
            rows,
            loss=loss,
            recent=recent,
            data=data,
            engine=engine,
            progress=step / total_steps,
            micro_batch=micro_batch,
        )
    engine.step(learning_rate(recipe.training, step, total_steps))
    return total


def _two_class_step(
    rows: np.ndarray,
    *,
    loss: Loss,
    recent: list[float],
    data: FitData,
    engine: Engine,
    progress: float,
    micro_batch: int,
) -> Tensor:
    """Forward and backward passes over the batch; `progress` is steps done over all steps."""
    lengths = data.train.lengths[rows]
    micros = layout(lengths, workers=engine.workers, micro_batch=micro_batch)[engine.rank]
    labels_BC = to_device(data.train_targets_NC[rows], engine.device)
    inputs = [_inputs(data, rows, micro, engine) for micro in micros]
    logits: Tensor | None = None
    statistic: Tensor | None = None
    if loss.needs_whole_batch:
        p1_B = torch.zeros(len(lengths), device=engine.device)
        with torch.set_grad_enabled(len(micros) == 1):
            for micro, (input_ids_BL, lengths_B, at_B) in zip(micros, inputs, strict=True):
                logits = engine.forward(input_ids_BL, lengths_B)
                if micro.real:
                    p1_B[at_B] = class_1_probability(logits.detach())
        p1_B = engine.sum_over_workers(p1_B)
        statistic = loss.statistic(_with_earlier(p1_B, recent, loss.window_size), labels_BC)
    total: Tensor | None = None
    for micro, (input_ids_BL, lengths_B, at_B) in zip(micros, inputs, strict=True):
        if logits is None or len(micros) > 1:
            logits = engine.forward(input_ids_BL, lengths_B)
        part = loss_sum(
            loss,
            logits,
            labels_BC[at_B],
            None if micro.real else torch.zeros_like(logits[:, 0]),
            statistic=statistic,
            progress=progress,
        ) / len(lengths)
        engine.backward(part, last=micro is micros[-1])
        total = part.detach() if total is None else total + part.detach()
    assert total is not None
    return total


def _with_earlier(p1_B: Tensor, recent: list[float], remembers: int) -> Tensor:
    """The latest predictions, the batch's own last; `recent` remembers them."""
    if not remembers:
        return p1_B
    p1_W = torch.cat([p1_B.new_tensor(recent), p1_B])[-remembers:]
    recent[:] = p1_W.tolist()
    return p1_W


def _inputs(
    data: FitData, rows: np.ndarray, micro: MicroBatch, engine: Engine
) -> tuple[Tensor, Tensor, Tensor]:
    """input_ids_BL, lengths_B and the rows' places in the global batch, on the device."""
    input_ids_BL, lengths_B = model_inputs(data.train, rows[micro.positions], engine)
    return input_ids_BL, lengths_B, to_device(micro.positions, engine.device)
