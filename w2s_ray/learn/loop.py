"""The one training loop, for every loss, engine and role.

Owns the order of things in a fit: steps, evaluations, early stopping, checkpoints, predictions,
and an end that is asked for from outside. It refuses to know where labels came from, what is
shared between workers, and who watches. Shapes: M rows, B rows of a batch.
"""

from __future__ import annotations

import math
import time
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from w2s_ray.learn.batches import epoch_batches, steps_per_epoch
from w2s_ray.learn.checkpoints import Checkpoints
from w2s_ray.learn.contract import (
    Asked,
    Control,
    FitData,
    FitResult,
    Left,
    NonFiniteLoss,
    Observer,
    Stopped,
)
from w2s_ray.learn.engine import Engine, EngineFactory, build_engine
from w2s_ray.learn.evaluate import agreement, cross_entropy, predict_margins, probabilities
from w2s_ray.learn.progress import Progress, resume, save
from w2s_ray.learn.schedule import evaluation_steps, learning_rate
from w2s_ray.learn.step import optimizer_step
from w2s_ray.spec import EarlyStopping, Execution, FitRecipe, ModelSource

LOSSES_AT_ONCE = 8
"""Steps whose losses are read together on a GPU, where reading one waits for it."""
POLL_STEPS = 16
"""Steps between two questions that workers must agree on, besides evaluations: whether a checkpoint
is due, and whether the fit goes on."""
ANSWERS: tuple[Asked, ...] = ("go", "stop", "leave")


@dataclass(frozen=True)
class _Fit:
    """One fit's fixed parts, together."""

    recipe: FitRecipe
    data: FitData
    execution: Execution
    engine: Engine
    observer: Observer
    checkpoints: Checkpoints | None
    control: Control | None
    total_steps: int
    micro_batch: int
    began: float = field(default_factory=time.perf_counter)


def fit(
    recipe: FitRecipe,
    *,
    data: FitData,
    source: ModelSource,
    execution: Execution,
    observer: Observer,
    checkpoints: Checkpoints | None = None,
    control: Control | None = None,
    weights: Path | None = None,
    engine: EngineFactory = build_engine,
) -> FitResult:
    """Train the model at `source` by `recipe` on `data`, and predict every part asked for.

    Every worker of the fit calls it with the same arguments. Weights go to the folder `weights` if
    `execution.keep` asks for them. With `checkpoints` it goes on from the newest one.

    Raises:
        Stopped: `control` asked to stop.
        Left: `control` asked to leave; a checkpoint was written, if `checkpoints` were given.
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
            observer,
            checkpoints,
            control,
            total_steps=training.epochs * steps_per_epoch(len(data.train), training.batch_size),
            micro_batch=execution.micro_batch or -(-training.batch_size // built.workers),
        )
        progress = resume(recipe.run_id, built, checkpoints)
        _train(this, progress)
        if execution.keep == "last" and weights is not None:
            built.export(weights)
        if recipe.early_stopping is not None:
            built.restore()
            progress.margins = progress.best_margins
        if execution.keep == "best" and weights is not None:
            built.export(weights)
        return _result(this, progress)
    finally:
        built.close()


def _train(this: _Fit, progress: Progress) -> None:
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
            progress.margins = {}
            progress.tokens += int(this.data.train.lengths[rows].sum())
            evaluates = progress.step in evaluated
            polls = progress.step % POLL_STEPS == 0
            last = progress.step == this.total_steps
            if evaluates or polls or last or len(pending) >= at_once:
                _report_losses(this, pending, progress)
            if evaluates:
                _evaluate(this, progress)
            asked = _asked(this, together=evaluates or polls)
            if asked == "leave":
                _report_losses(this, pending, progress)
            saves = evaluates or (polls and this.execution.checkpoint_every_s > 0)
            _save_or_end(this, progress, asked, may_save=saves)
            if progress.stopped:
                break


def _step(this: _Fit, rows: np.ndarray, step: int) -> Tensor:
    return optimizer_step(
        rows,
        recipe=this.recipe,
        data=this.data,
        engine=this.engine,
        step=step,
        total_steps=this.total_steps,
        micro_batch=this.micro_batch,
    )


def _asked(this: _Fit, *, together: bool) -> Asked:
    """What is asked of the fit; several workers can be asked only where they come `together`."""
    if this.engine.workers > 1 and not together:
        return "go"
    asked = this.control.asked() if this.control is not None else "go"
    return ANSWERS[this.engine.agree(ANSWERS.index(asked))]


def _save_or_end(this: _Fit, progress: Progress, asked: Asked, *, may_save: bool) -> None:
    """Write a checkpoint where one is due or the fit is to leave, and end it if that is asked."""
    if asked == "stop":
        raise Stopped(progress.step, this.total_steps)
    kept = this.checkpoints
    if kept is not None and (asked == "leave" or (may_save and this.engine.agree(kept.due()))):
        save(progress, this.engine, kept)
    if asked == "leave":
        raise Left(progress.step, this.total_steps)


def _report_losses(this: _Fit, pending: list[Tensor], progress: Progress) -> None:
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
        this.observer.trained(step=step, total_steps=this.total_steps, loss=loss, lr=lr)


def _evaluate(this: _Fit, progress: Progress) -> None:
    """A validation pass, what early stopping makes of it, and a call to the observer."""
    labels_MC = this.data.validation_targets_MC
    margins_M = _predicted(this, progress, "validation")
    loss, agrees = cross_entropy(margins_M, labels_MC), agreement(margins_M, labels_MC)
    stopping = this.recipe.early_stopping
    if stopping is not None:
        _watch(this.engine, stopping, progress, agrees if stopping.metric == "accuracy" else -loss)
    this.observer.evaluated(
        step=progress.step,
        total_steps=this.total_steps,
        probabilities=probabilities(margins_M),
        agreement=agrees,
        loss=loss,
        predict=lambda part: probabilities(_margins(this, progress, part)),
    )


def _predicted(this: _Fit, progress: Progress, part: str) -> np.ndarray:
    """Margins of a part by the present weights, float32 [M]; NaN or infinity = they diverged."""
    margins_M = _margins(this, progress, part)
    wrong_M = ~np.isfinite(margins_M)
    if wrong_M.any():
        raise NonFiniteLoss(progress.step, float(margins_M[wrong_M][0]))
    return margins_M


def _margins(this: _Fit, progress: Progress, part: str) -> np.ndarray:
    """Margins of a part by the present weights, from one pass however often they are asked for."""
    if part not in progress.margins:
        rows = this.data.part(part)
        progress.margins[part] = predict_margins(
            this.engine, rows, batch=this.execution.evaluation_batch
        )
        progress.evaluated_tokens += len(rows.values)
    return progress.margins[part]


def _watch(engine: Engine, stopping: EarlyStopping, progress: Progress, value: float) -> None:
    """Keep the best state; stop after `patience` evaluations without a better one."""
    if value > progress.best_value + stopping.min_delta:
        progress.best_value, progress.best_step, progress.stale = value, progress.step, 0
        progress.best_margins = progress.margins
        engine.snapshot()
        return
    progress.stale += 1
    progress.stopped = progress.stale >= stopping.patience


def _result(this: _Fit, progress: Progress) -> FitResult:
    predicted = {part: _predicted(this, progress, part) for part in this.data.predict}
    agrees = loss = None
    if len(this.data.validation):
        margins_M = _predicted(this, progress, "validation")
        labels_MC = this.data.validation_targets_MC
        agrees, loss = agreement(margins_M, labels_MC), cross_entropy(margins_M, labels_MC)
    return FitResult(
        probabilities={part: probabilities(values) for part, values in predicted.items()},
        steps=progress.step,
        total_steps=this.total_steps,
        best_step=progress.best_step if this.recipe.early_stopping else progress.step,
        stopped_early=progress.stopped and progress.step < this.total_steps,
        validation_agreement=agrees,
        validation_loss=loss,
        train_loss=progress.train_loss,
        parameters=this.engine.parameters,
        trained_parameters=this.engine.trained_parameters,
        tokens=progress.tokens,
        planned_tokens=this.recipe.training.epochs * len(this.data.train.values),
        evaluated_tokens=progress.evaluated_tokens,
        seconds=time.perf_counter() - this.began,
    )
