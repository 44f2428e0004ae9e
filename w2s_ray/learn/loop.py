"""The one training loop, for every loss, engine and role.

Owns the order within a fit: steps, evaluations, early stopping, checkpoints, predictions, and an
end by command from outside. The origin of labels, the sharing of work between workers and the use
of what observers see are handled elsewhere; each form has its own step and predictions.
"""

from __future__ import annotations

import math
import time
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from w2s_ray.config import EarlyStopping, Execution, FitRecipe, ModelSource
from w2s_ray.errors import InputError
from w2s_ray.learn.batches import epoch_batches, steps_per_epoch
from w2s_ray.learn.checkpoints import Checkpoints
from w2s_ray.learn.contract import (
    Arrays,
    Command,
    Control,
    FitResult,
    LeaveRequested,
    NonFiniteLoss,
    Observer,
    StopRequested,
)
from w2s_ray.learn.engine import Engine
from w2s_ray.learn.engines import EngineFactory, build_engine
from w2s_ray.learn.evaluate import not_finite
from w2s_ray.learn.forms.data import FormData
from w2s_ray.learn.progress import Progress, resume, save
from w2s_ray.learn.schedule import evaluation_steps, learning_rate
from w2s_ray.learn.step import optimizer_step
from w2s_ray.learn.tokens import save_tokenizer
from w2s_ray.methods.losses import Loss

LOSSES_AT_ONCE = 8
"""Steps whose losses are read together on a GPU, where reading one waits for it."""
POLL_STEPS = 16
"""Steps between two decisions that workers must agree on, besides evaluations: whether a checkpoint
is due, and whether the fit goes on."""
COMMANDS: tuple[Command, ...] = ("go", "stop", "leave")


@dataclass(frozen=True)
class _Fit:
    """One fit's fixed parts, together."""

    recipe: FitRecipe
    source: ModelSource
    loss: Loss
    data: FormData
    execution: Execution
    engine: Engine
    observer: Observer
    checkpoints: Checkpoints | None
    control: Control | None
    weights: Path | None
    total_steps: int
    micro_batch: int
    began: float = field(default_factory=time.perf_counter)
    """The time at which an uninterrupted fit would have begun."""

    @property
    def seconds(self) -> float:
        return time.perf_counter() - self.began


def fit(
    recipe: FitRecipe,
    *,
    data: FormData,
    source: ModelSource,
    execution: Execution,
    observer: Observer,
    checkpoints: Checkpoints | None = None,
    control: Control | None = None,
    weights: Path | None = None,
    engine: EngineFactory = build_engine,
) -> FitResult:
    """Train the model at `source` by `recipe` on `data`, and predict the parts of `data.predict`.

    Every worker of the fit calls it with the same arguments. Weights go to the folder `weights` if
    `execution.keep` or the recipe asks for them, those along the way to `step-N` in it. With
    `checkpoints` it goes on from the newest one.

    Raises:
        StopRequested: by a command of `control`.
        LeaveRequested: the same; a checkpoint was written, if `checkpoints` were given.
        NonFiniteLoss: the loss or a prediction became NaN or infinite.
        InputError: a model that can't be used, or a checkpoint of another fit.
    """
    training = recipe.training
    if recipe.early_stopping is not None and len(data.validation) == 0:
        raise InputError("early_stopping needs validation rows; give some, or set it to null")
    keep = "best" if execution.keep == "head" else execution.keep
    if recipe.keeps_weights and keep == "none":
        keep = "best"
    if keep != "none" and weights is None:
        raise InputError(f"weights are to be kept ({keep}); name the folder for them")
    stopping = recipe.early_stopping
    if stopping is not None and stopping.metric == "accuracy" and not recipe.has_labels:
        raise InputError("early_stopping.metric is accuracy, and text has no labels; say loss")
    built = engine(
        training,
        source=source,
        execution=execution,
        seed=recipe.seed,
        form=recipe.trained_form,
        classes=data.classes,
    )
    try:
        this = _Fit(
            recipe,
            source,
            data.prepared(recipe.loss),
            data,
            execution,
            built,
            observer,
            checkpoints,
            control,
            weights,
            total_steps=_epochs(recipe) * steps_per_epoch(len(data.train), training.batch_size),
            micro_batch=execution.rows_at_once(training.batch_size),
        )
        built.device_rows.keep(data.train)
        progress = resume(recipe.run_id, built, checkpoints, weights=weights)
        this = replace(this, began=this.began - progress.seconds)
        built.expect(_epochs(recipe) * data.train.size)
        _train(this, progress)
        if keep == "last" and weights is not None and not _goes_on(this, progress):
            _export(this, weights)
        if recipe.early_stopping is not None:
            built.restore()
            progress.predicted = progress.best_predicted
        if keep == "best" and weights is not None:
            _export(this, weights)
        return _result(this, progress)
    finally:
        built.close()


def _epochs(recipe: FitRecipe) -> int:
    """Epochs of the schedule; none where nothing is trained."""
    return recipe.training.epochs if recipe.trained else 0


def _export(this: _Fit, folder: Path) -> None:
    """Write the weights to `folder`; with the tokenizer, where other fits may begin with them."""
    this.engine.export(folder)
    has_model = this.engine.rank == 0 and (folder / "config.json").exists()
    if this.recipe.keeps_weights and has_model:
        save_tokenizer(this.source, folder)


def _goes_on(this: _Fit, progress: Progress) -> bool:
    """Whether training goes on although early stopping has fixed the result."""
    stopping = this.recipe.early_stopping
    return progress.stopped and stopping is not None and stopping.finish_schedule


def _train(this: _Fit, progress: Progress) -> None:
    """Steps until the schedule's end or an early stop; `progress` is where it starts and ends.

    A loss that isn't finite after the stop ends training there: the result is fixed already.
    """
    try:
        _steps(this, progress)
    except NonFiniteLoss:
        if not _goes_on(this, progress):
            raise


def _steps(this: _Fit, progress: Progress) -> None:
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
    while progress.step < this.total_steps and not _ended(this, progress):
        epoch, done = divmod(progress.step, per_epoch)
        batches = epoch_batches(
            this.data.train.lengths,
            batch_size=training.batch_size,
            bucket_batches=this.recipe.bucket_batches,
            seed=this.recipe.seed,
            epoch=epoch,
        )
        for rows in batches[done:]:
            pending.append(_step(this, rows, progress))
            progress.step += 1
            progress.predicted = {}
            progress.tokens += int(this.data.train.lengths[rows].sum())
            if progress.step in this.recipe.checkpoints and this.weights is not None:
                _export(this, this.weights / f"step-{progress.step}")
            evaluates = progress.step in evaluated
            polls = progress.step % POLL_STEPS == 0
            last = progress.step == this.total_steps
            if evaluates or polls or last or len(pending) >= at_once:
                _report_losses(this, pending, progress)
            if evaluates:
                _evaluate(this, progress)
            command = _command(this, together=evaluates or polls)
            if command == "leave":
                _report_losses(this, pending, progress)
            saves = evaluates or (polls and this.execution.checkpoint_every_s > 0)
            _save_or_end(this, progress, command, may_save=saves)
            if _ended(this, progress):
                break


def _ended(this: _Fit, progress: Progress) -> bool:
    return progress.stopped and not _goes_on(this, progress)


def _step(this: _Fit, rows: np.ndarray, progress: Progress) -> Tensor:
    return optimizer_step(
        rows,
        recipe=this.recipe,
        loss=this.loss,
        memory=progress.recent,
        data=this.data,
        engine=this.engine,
        step=progress.step,
        total_steps=this.total_steps,
        micro_batch=this.micro_batch,
    )


def _command(this: _Fit, *, together: bool) -> Command:
    """The command to the fit; several workers agree on one only at steps taken `together`."""
    if this.engine.workers > 1 and not together:
        return "go"
    command = this.control.next_command() if this.control is not None else "go"
    return COMMANDS[this.engine.agree(COMMANDS.index(command))]


def _save_or_end(this: _Fit, progress: Progress, command: Command, *, may_save: bool) -> None:
    """Write a checkpoint where one is due or the fit is to leave, and end the fit by command."""
    if command == "stop":
        raise StopRequested(progress.step, this.total_steps)
    kept = this.checkpoints
    if kept is not None and (command == "leave" or (may_save and this.engine.agree(kept.due()))):
        progress.seconds = this.seconds
        save(progress, this.engine, kept, weights=this.weights)
    if command == "leave":
        raise LeaveRequested(progress.step, this.total_steps)


def _report_losses(this: _Fit, pending: list[Tensor], progress: Progress) -> None:
    """Read the losses of the newest steps and report them; the first that isn't finite raises."""
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
    """A validation pass, the decision about early stopping, and a call to the observer."""
    found = _predicted(this, progress, "validation")
    agreement, loss = this.data.judge(found)
    stopping = this.recipe.early_stopping
    if stopping is not None and not progress.stopped:
        _watch(this.engine, stopping, progress, -loss if stopping.metric == "loss" else agreement)
        if _goes_on(this, progress) and this.execution.keep == "last" and this.weights is not None:
            _export(this, this.weights)
    this.observer.evaluated(
        step=progress.step,
        total_steps=this.total_steps,
        predicted=this.data.predicted(found, part="validation"),
        agreement=agreement,
        loss=loss,
        predict=lambda part: this.data.predicted(_arrays(this, progress, part), part=part),
    )


def _predicted(this: _Fit, progress: Progress, part: str) -> Arrays:
    """Predictions of a part by the present weights.

    Raises:
        NonFiniteLoss: NaN or infinity among them.
    """
    found = _arrays(this, progress, part)
    wrong = not_finite(found)
    if wrong is not None:
        raise NonFiniteLoss(progress.step, wrong)
    return found


def _arrays(this: _Fit, progress: Progress, part: str) -> Arrays:
    """Predictions of a part by the present weights, made once for all callers."""
    if part not in progress.predicted:
        batch = this.execution.evaluation_batch
        progress.predicted[part] = this.data.predictions(this.engine, part, batch=batch)
        progress.evaluated_tokens += this.data.part(part).size
    return progress.predicted[part]


def _final(this: _Fit, progress: Progress, part: str) -> Arrays:
    """Predictions of a part for the result."""
    found = _predicted(this, progress, part)
    progress.evaluated_tokens += this.data.final_passes * this.data.part(part).size
    return this.data.final(this.engine, part, found, batch=this.execution.evaluation_batch)


def _watch(
    engine: Engine, stopping: EarlyStopping, progress: Progress, value: float | None
) -> None:
    """Keep the best state; stop after `patience` evaluations without a better one."""
    assert value is not None, "text without labels can't stop by accuracy"
    if value > progress.best_value + stopping.min_delta:
        progress.best_value, progress.best_step, progress.stale = value, progress.step, 0
        progress.best_predicted = progress.predicted
        engine.snapshot()
        return
    progress.stale += 1
    progress.stopped = progress.stale >= stopping.patience
    progress.stopping_step = progress.step if progress.stopped else 0


def _result(this: _Fit, progress: Progress) -> FitResult:
    found = {part: _final(this, progress, part) for part in this.data.predict}
    agreement = loss = None
    if len(this.data.validation):
        agreement, loss = this.data.judge(_predicted(this, progress, "validation"))
    predicted, losses = this.data.results(found)
    return FitResult(
        predicted=predicted,
        losses=losses,
        steps=progress.step,
        total_steps=this.total_steps,
        best_step=progress.best_step if this.recipe.early_stopping else progress.step,
        stopped_early=progress.stopped and progress.step < this.total_steps,
        stopping_step=progress.stopping_step or None,
        validation_agreement=agreement,
        validation_loss=loss,
        train_loss=progress.train_loss if progress.step else None,
        parameters=this.engine.parameters,
        trained_parameters=this.engine.trained_parameters,
        tokens=progress.tokens,
        planned_tokens=_epochs(this.recipe) * this.data.train.size,
        evaluated_tokens=progress.evaluated_tokens,
        seconds=this.seconds,
        compiled=this.engine.compiled,
    )
