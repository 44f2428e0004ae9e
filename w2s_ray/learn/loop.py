"""The one training loop, for every loss, engine and role.

Owns the order of things in a fit: steps, evaluations, early stopping, checkpoints, predictions.
It refuses to know where labels came from, what is shared between workers, and who watches. A
step's loss is the mean over the global batch, whatever the workers, micro-batches and
accumulation. Where a loss needs a statistic of the global batch, a step of one micro-batch takes it
from its only forward pass; a step of several makes a first pass without gradients over all of
them, and trains each against the fixed statistic. Shapes: B rows, L tokens, C classes.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from w2s_ray.learn.batches import MicroBatch, epoch_batches, layout, steps_per_epoch
from w2s_ray.learn.checkpoints import Checkpoints
from w2s_ray.learn.contract import FitData, FitResult, NonFiniteLoss, Observer
from w2s_ray.learn.engine import Engine, EngineFactory, build_engine, to_device
from w2s_ray.learn.evaluate import agreement, cross_entropy, predict_margins, probabilities
from w2s_ray.learn.losses import (
    batch_statistics,
    class_1_probability,
    loss_sum,
    needs_batch_statistics,
)
from w2s_ray.learn.progress import Progress, resume, save_if_due
from w2s_ray.learn.schedule import evaluation_steps, learning_rate
from w2s_ray.learn.tokens import TokenRows
from w2s_ray.spec import EarlyStopping, Execution, FitRecipe, ModelSource

LOSSES_AT_ONCE = 8
"""Steps whose losses are read together on a GPU, where reading one waits for it."""
POLL_STEPS = 16
"""Steps between two questions whether a checkpoint is due, besides evaluations."""


@dataclass(frozen=True)
class _Fit:
    """One fit's fixed parts, together."""

    recipe: FitRecipe
    data: FitData
    execution: Execution
    engine: Engine
    total_steps: int
    micro_batch: int


def fit(
    recipe: FitRecipe,
    *,
    data: FitData,
    source: ModelSource,
    execution: Execution,
    observer: Observer,
    checkpoints: Checkpoints | None = None,
    weights: Path | None = None,
    engine: EngineFactory = build_engine,
) -> FitResult:
    """Train the model at `source` by `recipe` on `data`, and predict every part asked for.

    Every worker of the fit calls it with the same arguments. Weights go to the folder `weights` if
    `execution.keep` asks for them. With `checkpoints` it goes on from the newest one.

    Raises:
        NonFiniteLoss: the loss or a prediction became NaN or infinite.
        ValueError: a model that can't be used, or a checkpoint of another fit.
    """
    training = recipe.training
    if recipe.early_stopping is not None and len(data.validation) == 0:
        raise ValueError("early_stopping needs validation rows; give some, or set it to null")
    if execution.keep != "none" and weights is None:
        raise ValueError(f"execution.keep is {execution.keep}; name the folder for the weights")
    built = engine(training, source=source, execution=execution, seed=recipe.seed)
    try:
        this = _Fit(
            recipe,
            data,
            execution,
            built,
            total_steps=training.epochs * steps_per_epoch(len(data.train), training.batch_size),
            micro_batch=execution.micro_batch or -(-training.batch_size // built.workers),
        )
        progress = resume(recipe.run_id, built, checkpoints)
        _train(this, progress, observer, checkpoints)
        if execution.keep == "last" and weights is not None:
            built.export(weights)
        if recipe.early_stopping is not None:
            built.restore()
        if execution.keep == "best" and weights is not None:
            built.export(weights)
        return _result(this, progress)
    finally:
        built.close()


def _train(
    this: _Fit, progress: Progress, observer: Observer, checkpoints: Checkpoints | None
) -> None:
    """Steps until the schedule's end or an early stop; `progress` is where it starts and ends."""
    training = this.recipe.training
    per_epoch = this.total_steps // training.epochs
    evaluated = (
        evaluation_steps(
            epochs=training.epochs,
            steps_per_epoch=per_epoch,
            evaluations_per_epoch=training.evaluations_per_epoch,
        )
        if len(this.data.validation)
        else set()
    )
    at_once = LOSSES_AT_ONCE if this.engine.device.type == "cuda" else 1
    pending: list[Tensor] = []
    while progress.step < this.total_steps and not progress.stopped:
        epoch, done = divmod(progress.step, per_epoch)
        batches = epoch_batches(
            this.data.train.lengths,
            batch_size=training.batch_size,
            bucket_batches=training.bucket_batches,
            seed=this.recipe.seed,
            epoch=epoch,
        )
        for rows in batches[done:]:
            pending.append(_step(this, rows, progress.step))
            progress.step += 1
            progress.tokens += int(this.data.train.lengths[rows].sum())
            evaluates = progress.step in evaluated
            polls = this.execution.checkpoint_every_s > 0 and progress.step % POLL_STEPS == 0
            last = progress.step == this.total_steps
            if evaluates or polls or last or len(pending) >= at_once:
                _report_losses(this, pending, progress, observer)
            if evaluates:
                _evaluate(this, progress, observer)
            if (evaluates or polls) and checkpoints is not None:
                save_if_due(progress, this.engine, checkpoints)
            if progress.stopped:
                break


def _step(this: _Fit, rows: np.ndarray, step: int) -> Tensor:
    """One optimizer step on the global batch `rows`; this worker's part of the mean loss."""
    engine, loss = this.engine, this.recipe.loss
    lengths = this.data.train.lengths[rows]
    micros = layout(lengths, workers=engine.workers, micro_batch=this.micro_batch)[engine.rank]
    labels_BC = to_device(this.data.train_targets_NC[rows], engine.device)
    inputs = [_inputs(this, rows, micro) for micro in micros]
    logits: Tensor | None = None
    statistics: Tensor | None = None
    if needs_batch_statistics(loss):
        p1_B = torch.zeros(len(lengths), device=engine.device)
        with torch.set_grad_enabled(len(micros) == 1):
            for micro, (input_ids_BL, lengths_B, at_B) in zip(micros, inputs, strict=True):
                logits = engine.forward(input_ids_BL, lengths_B)
                if micro.real:
                    p1_B[at_B] = class_1_probability(logits.detach())
        statistics = batch_statistics(loss, engine.sum_over_workers(p1_B), labels_BC)
    total: Tensor | None = None
    for micro, (input_ids_BL, lengths_B, at_B) in zip(micros, inputs, strict=True):
        if logits is None or len(micros) > 1:
            logits = engine.forward(input_ids_BL, lengths_B)
        part = loss_sum(
            loss,
            logits,
            labels_BC[at_B],
            None if micro.real else torch.zeros_like(logits[:, 0]),
            statistics=statistics,
            progress=step / this.total_steps,
        ) / len(lengths)
        engine.backward(part, last=micro is micros[-1])
        total = part.detach() if total is None else total + part.detach()
    engine.step(learning_rate(this.recipe.training, step, this.total_steps))
    assert total is not None
    return total


def _inputs(this: _Fit, rows: np.ndarray, micro: MicroBatch) -> tuple[Tensor, Tensor, Tensor]:
    """input_ids_BL, lengths_B and the rows' places in the global batch, on the device."""
    device = this.engine.device
    picked = rows[micro.positions]
    input_ids_BL, lengths_B = this.data.train.pad(picked, this.engine.model.pad_id)
    return (
        to_device(input_ids_BL, device),
        to_device(lengths_B, device),
        (to_device(micro.positions, device)),
    )


def _report_losses(
    this: _Fit, pending: list[Tensor], progress: Progress, observer: Observer
) -> None:
    """Read the losses of the newest steps, raise at the first that is not finite, tell the rest."""
    if not pending:
        return
    losses = this.engine.sum_over_workers(torch.stack(pending)).tolist()
    first = progress.step - len(losses) + 1
    pending.clear()
    for step, loss in enumerate(losses, start=first):
        if not math.isfinite(loss):
            raise NonFiniteLoss(step, loss)
        progress.train_loss = loss
        lr = learning_rate(this.recipe.training, step - 1, this.total_steps)
        observer.trained(step=step, total_steps=this.total_steps, loss=loss, lr=lr)


def _evaluate(this: _Fit, progress: Progress, observer: Observer) -> None:
    """A validation pass, what early stopping makes of it, and a call to the observer."""
    labels_MC = this.data.validation_targets_MC
    margins_M = _predicted(this, this.data.validation, progress.step)
    loss, agrees = cross_entropy(margins_M, labels_MC), agreement(margins_M, labels_MC)
    stopping = this.recipe.early_stopping
    if stopping is not None:
        _watch(this.engine, stopping, progress, agrees if stopping.metric == "accuracy" else -loss)
    observer.evaluated(
        step=progress.step,
        total_steps=this.total_steps,
        probabilities=probabilities(margins_M),
        agreement=agrees,
        loss=loss,
    )


def _predicted(this: _Fit, rows: TokenRows, step: int) -> np.ndarray:
    """Margins of `rows`, float32 [M]; weights that give NaN or infinity have diverged."""
    margins_M = predict_margins(this.engine, rows, batch=this.execution.evaluation_batch)
    wrong_M = ~np.isfinite(margins_M)
    if wrong_M.any():
        raise NonFiniteLoss(step, float(margins_M[wrong_M][0]))
    return margins_M


def _watch(engine: Engine, stopping: EarlyStopping, progress: Progress, value: float) -> None:
    """Keep the best state; stop after `patience` evaluations without a better one."""
    if value > progress.best_value + stopping.min_delta:
        progress.best_value, progress.best_step, progress.stale = value, progress.step, 0
        engine.snapshot()
        return
    progress.stale += 1
    progress.stopped = progress.stale >= stopping.patience


def _result(this: _Fit, progress: Progress) -> FitResult:
    margins = {
        part: _predicted(this, rows, progress.step) for part, rows in this.data.predict.items()
    }
    return FitResult(
        probabilities={part: probabilities(values) for part, values in margins.items()},
        steps=progress.step,
        total_steps=this.total_steps,
        best_step=progress.best_step if this.recipe.early_stopping else progress.step,
        stopped_early=progress.stopped and progress.step < this.total_steps,
        train_loss=progress.train_loss,
        parameters=this.engine.parameters,
        trained_parameters=this.engine.trained_parameters,
        tokens=progress.tokens,
    )
