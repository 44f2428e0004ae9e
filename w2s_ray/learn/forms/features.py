"""The form `features`: a linear probe, softmax regression for any number of classes.

Owns its data, steps, evaluations, early stopping and predictions, by the same settings as other
fits. It doesn't use the loop, since it has no engine and no workers, and C classes instead of two.
Features are centred and scaled by the mean and the spread of the training rows.
Shapes: N training rows, M others, D width, C classes.
"""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from w2s_ray.config import FitRecipe
from w2s_ray.learn.batches import epoch_batches, steps_per_epoch
from w2s_ray.learn.contract import (
    Control,
    FitResult,
    LeaveRequested,
    NonFiniteLoss,
    Observer,
    Predicted,
    StopRequested,
)
from w2s_ray.learn.losses import labels_for, loss_sum
from w2s_ray.learn.schedule import evaluation_steps, learning_rate
from w2s_ray.methods.losses.loss import class_1_probability

FILE = "probe.safetensors"
_SMALLEST_SPREAD = 1e-6


@dataclass(frozen=True)
class FeatureData:
    """Features of images, and labels: distributions over C classes."""

    classes: tuple[str, ...]
    train_ND: np.ndarray
    """float32 [N, D]."""
    train_targets_NC: np.ndarray
    """float32 [N, C]; rows sum to 1."""
    validation_MD: np.ndarray
    validation_targets_MC: np.ndarray
    """What early stopping looks at: weak labels for a student."""
    predict: Mapping[str, np.ndarray]
    """Part -> features of the rows that the trained probe predicts, float32 [M, D]."""
    train_targets_KNC: np.ndarray | None = None
    """The same of each of several supervisors, for a loss that takes them."""
    train_weights_N: np.ndarray | None = None
    """How much each row counts, float32 with mean 1; None = all alike."""


def fit_probe(
    recipe: FitRecipe,
    *,
    data: FeatureData,
    observer: Observer,
    control: Control | None = None,
    weights: Path | None = None,
    head: Path | None = None,
) -> FitResult:
    """Train a probe by `recipe`, and predict the parts of `data.predict`.

    `weights` names a folder for the probe's weights; null = they are not kept. `head` names the
    folder with a probe's weights that training starts from; null = zeros.

    Raises:
        StopRequested, LeaveRequested: by a command of `control`; a probe writes no checkpoint.
        NonFiniteLoss: the loss became NaN or infinite.
    """
    began, this = time.perf_counter(), _Probe(recipe, data, head)
    try:
        _train(this, observer=observer, control=control)
    except NonFiniteLoss:
        if not this.goes_on:
            raise
    if recipe.early_stopping is not None:
        this.restore()
    if weights is not None:
        this.export(weights)
    return this.result(seconds=time.perf_counter() - began)


def _train(this: _Probe, *, observer: Observer, control: Control | None) -> None:
    """Steps until the schedule's end or an early stop."""
    while this.step < this.total_steps and not this.ended:
        for rows in this.batches():
            loss, lr = this.train(rows)
            if not math.isfinite(loss):
                raise NonFiniteLoss(this.step, loss)
            observer.trained(step=this.step, total_steps=this.total_steps, loss=loss, lr=lr)
            if this.step in this.evaluated:
                this.evaluate(observer)
                _obey(control, this)
            if this.ended:
                break


def _obey(control: Control | None, this: _Probe) -> None:
    command = control.next_command() if control is not None else "go"
    if command != "go":
        raise (StopRequested if command == "stop" else LeaveRequested)(this.step, this.total_steps)


class _Probe:
    """One probe while it is trained."""

    def __init__(self, recipe: FitRecipe, data: FeatureData, head: Path | None) -> None:
        training = recipe.training
        self.recipe, self.data = recipe, data
        self.loss = recipe.loss.prepared(data.train_targets_NC)
        self.mean_D = data.train_ND.mean(axis=0, dtype=np.float64)
        spread_D = data.train_ND.std(axis=0, dtype=np.float64)
        self.spread_D = np.where(spread_D > _SMALLEST_SPREAD, spread_D, 1.0)
        width, classes = data.train_ND.shape[1], data.train_targets_NC.shape[1]
        self.head = torch.nn.Linear(width, classes)
        torch.nn.init.zeros_(self.head.weight)
        torch.nn.init.zeros_(self.head.bias)
        if head is not None:
            self.begin_with(head)
        self.optimizer = torch.optim.AdamW(
            self.head.parameters(),
            lr=training.lr,
            betas=training.betas,
            weight_decay=training.weight_decay,
        )
        self.train_ND = self.scaled(data.train_ND)
        self.labels = torch.from_numpy(
            labels_for(self.loss, data.train_targets_NC, data.train_targets_KNC)
        )
        weights_N = data.train_weights_N
        self.weights_N = None if weights_N is None else torch.from_numpy(weights_N)
        self.inputs = {"validation": data.validation_MD, **data.predict}
        per_epoch = steps_per_epoch(len(data.train_ND), training.batch_size)
        self.total_steps = training.epochs * per_epoch if recipe.trained else 0
        self.evaluated = evaluation_steps(
            epochs=training.epochs,
            steps_per_epoch=per_epoch,
            evaluations_per_epoch=training.evaluations_per_epoch,
        )
        self.per_epoch, self.step, self.rows, self.passed = per_epoch, 0, 0, 0
        self.train_loss, self.memory = math.nan, list[float]()
        self.best_value, self.best_step, self.stale, self.stopped = -math.inf, 0, 0, False
        self.stopping_step = 0
        self.best: dict[str, Tensor] = {}

    @property
    def goes_on(self) -> bool:
        """Whether training goes on although early stopping has fixed the result."""
        stopping = self.recipe.early_stopping
        return self.stopped and stopping is not None and stopping.finish_schedule

    @property
    def ended(self) -> bool:
        """Whether early stopping ended training."""
        return self.stopped and not self.goes_on

    def scaled(self, features_MD: np.ndarray) -> Tensor:
        return torch.from_numpy(
            ((features_MD - self.mean_D) / self.spread_D).astype(np.float32, copy=False)
        )

    def batches(self) -> list[np.ndarray]:
        """The batches of the epoch that begins now."""
        return epoch_batches(
            np.ones(len(self.train_ND), dtype=np.int64),
            batch_size=self.recipe.training.batch_size,
            bucket_batches=1,
            seed=self.recipe.seed,
            epoch=self.step // self.per_epoch,
        )

    def train(self, rows: np.ndarray) -> tuple[float, float]:
        """One step; its loss and learning rate."""
        lr = learning_rate(self.recipe.training, self.step, self.total_steps)
        for group in self.optimizer.param_groups:
            group["lr"] = lr
        at = torch.from_numpy(rows)
        logits_BC, labels = self.head(self.train_ND[at]), self.labels[..., at, :]
        progress, statistic = self.step / self.total_steps, None
        if self.loss.needs_whole_batch:
            p1_B = class_1_probability(logits_BC.detach())
            statistic = self.loss.batch_statistic(
                p1_B, labels, memory=self.memory, progress=progress
            )
        summed = loss_sum(
            self.loss,
            logits_BC,
            labels,
            None if self.weights_N is None else self.weights_N[at],
            statistic=statistic,
            progress=progress,
        )
        loss = summed / len(rows)
        self.optimizer.zero_grad()
        loss.backward()
        if self.recipe.training.clip_norm is not None:
            torch.nn.utils.clip_grad_norm_(self.head.parameters(), self.recipe.training.clip_norm)
        self.optimizer.step()
        self.step, self.rows, self.train_loss = self.step + 1, self.rows + len(rows), loss.item()
        return self.train_loss, lr

    def probabilities(self, part: str) -> np.ndarray:
        """Class probabilities of a part's rows by the present weights, float32 [M, C]."""
        features_MD = self.inputs[part]
        self.passed += len(features_MD)
        with torch.no_grad():
            return self.head(self.scaled(features_MD)).double().softmax(dim=1).float().numpy()

    def predicted(self, part: str) -> Predicted:
        """The same in the form that observers and results have."""
        found_MC, names = self.probabilities(part), self.data.classes
        likeliest = tuple(names[i] for i in found_MC.argmax(axis=1))
        return Predicted(found_MC.max(axis=1), likeliest, names, found_MC)

    def evaluate(self, observer: Observer) -> None:
        found = self.predicted("validation")
        assert found.distribution is not None
        agrees, loss = _against(found.distribution, self.data.validation_targets_MC)
        self._watch(agrees, loss)
        observer.evaluated(
            step=self.step,
            total_steps=self.total_steps,
            predicted=found,
            agreement=agrees,
            loss=loss,
            predict=self.predicted,
        )

    def _watch(self, agrees: float, loss: float) -> None:
        """Keep the best weights; stop after `patience` evaluations without better ones."""
        stopping = self.recipe.early_stopping
        if stopping is None or self.stopped:
            return
        value = agrees if stopping.metric == "accuracy" else -loss
        if value > self.best_value + stopping.min_delta:
            self.best_value, self.best_step, self.stale = value, self.step, 0
            self.best = {name: p.clone() for name, p in self.head.state_dict().items()}
            return
        self.stale += 1
        self.stopped = self.stale >= stopping.patience
        self.stopping_step = self.step if self.stopped else 0

    def restore(self) -> None:
        self.head.load_state_dict(self.best)

    def export(self, folder: Path) -> None:
        """Write weights that take features as they come, and the scaling that is in them."""
        from safetensors.torch import save_file

        mean_D, spread_D = torch.from_numpy(self.mean_D), torch.from_numpy(self.spread_D)
        weight_CD = self.head.weight.detach().double() / spread_D
        bias_C = self.head.bias.detach().double() - weight_CD @ mean_D
        folder.mkdir(parents=True, exist_ok=True)
        state = {"weight": weight_CD.float(), "bias": bias_C.float()}
        save_file({**state, "mean": mean_D, "spread": spread_D}, folder / FILE)

    def begin_with(self, folder: Path) -> None:
        """Begin with the weights and the scaling that `export` wrote."""
        from safetensors.torch import load_file

        state = load_file(folder / FILE)
        self.mean_D, self.spread_D = state["mean"].numpy(), state["spread"].numpy()
        weight_CD = state["weight"].double()
        with torch.no_grad():
            self.head.weight.copy_(weight_CD * state["spread"])
            self.head.bias.copy_(state["bias"].double() + weight_CD @ state["mean"])

    def result(self, *, seconds: float) -> FitResult:
        agrees, loss = _against(self.probabilities("validation"), self.data.validation_targets_MC)
        found = {part: self.predicted(part) for part in self.data.predict}
        size = sum(p.numel() for p in self.head.parameters())
        return FitResult(
            predicted=found,
            losses={},
            steps=self.step,
            total_steps=self.total_steps,
            best_step=self.best_step if self.recipe.early_stopping else self.step,
            stopped_early=self.stopped and self.step < self.total_steps,
            stopping_step=self.stopping_step or None,
            validation_agreement=agrees,
            validation_loss=loss,
            train_loss=self.train_loss if self.step else None,
            parameters=size,
            trained_parameters=size,
            tokens=self.rows,
            planned_tokens=self.total_steps // self.per_epoch * len(self.train_ND),
            evaluated_tokens=self.passed,
            seconds=seconds,
        )


def _against(found_MC: np.ndarray, targets_MC: np.ndarray) -> tuple[float, float]:
    """Share of rows whose likeliest class is the labels', and cross-entropy with them in nats."""
    agrees = float((found_MC.argmax(axis=1) == targets_MC.argmax(axis=1)).mean())
    log_MC = np.log(np.clip(found_MC.astype(np.float64), 1e-12, 1.0))
    return agrees, float(-(targets_MC * log_MC).sum(axis=1).mean())
