"""The form `choices`: a question whose choices a language model scores by their likelihood.

Owns the scores, the optimizer step over their softmax, predictions and agreement. A choice's score
is the log-likelihood of its tokens after the question, divided by its unit: none, its characters or
its tokens. By characters it is `acc_norm` of EleutherAI's LM Evaluation Harness, undivided it is
`acc` (lm_eval/api/task.py, ConfigurableTask.process_results). Shapes: B rows of a batch, S
sequences (a question with one of its choices), C the largest number of choices, M rows of a part.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

from w2s_ray.learn.batches import layout
from w2s_ray.learn.contract import Arrays, Predicted
from w2s_ray.learn.device_rows import to_device
from w2s_ray.learn.engine import Engine, evaluation_passes, model_inputs
from w2s_ray.learn.forms.data import FormData, backward_sum
from w2s_ray.learn.losses import loss_sum
from w2s_ray.learn.rows import ChoiceRows
from w2s_ray.methods.losses import Loss

NO_CHOICE = -1e30
"""Logit in place of a choice that a row doesn't have. It is finite, so that its product with a
label of 0 is 0; its probability is 0."""
SCORES = "scores"


@dataclass(frozen=True)
class ChoiceData(FormData):
    """Questions of one fit. Labels are distributions over the choices of each row."""

    train: ChoiceRows
    train_targets_NC: np.ndarray
    """float32 [N, C]; rows sum to 1, and are 0 where a row has no choice."""
    validation: ChoiceRows
    validation_targets_MC: np.ndarray
    """float32 [M, C]; what early stopping looks at: weak labels for a student."""
    predict: Mapping[str, ChoiceRows] = field(default_factory=dict)
    train_weights_N: np.ndarray | None = None
    """How much each row counts, float32 with mean 1; None = all alike."""

    def __post_init__(self) -> None:
        _check("train", self.train, self.train_targets_NC)
        _check("validation", self.validation, self.validation_targets_MC)

    def step(
        self,
        rows: np.ndarray,
        *,
        engine: Engine,
        loss: Loss,
        memory: list[float],
        progress: float,
        micro_batch: int,
    ) -> Tensor:
        """The loss is the mean over the rows of the batch, whatever its layout."""
        assert not loss.needs_whole_batch, "the plan refuses losses of two classes"
        lengths = self.train.lengths[rows]
        micros = layout(lengths, workers=engine.workers, micro_batch=micro_batch)[engine.rank]

        def losses() -> Iterator[Tensor]:
            for micro in micros:
                picked = rows[micro.positions]
                labels_BC = to_device(self.train_targets_NC[picked], engine.device)
                logits_BC = _logits(self.train, picked, engine, width=labels_BC.shape[1])
                counted = _counted(logits_BC, self.train_weights_N, picked, real=micro.real)
                summed = loss_sum(
                    loss, logits_BC, labels_BC, counted, statistic=None, progress=progress
                )
                yield summed / len(rows)

        return backward_sum(engine, losses(), count=len(micros))

    def predictions(self, engine: Engine, part: str, *, batch: int) -> Arrays:
        """`scores` of the choices of a part, one row's after the other's, float32 [S]."""
        rows = self.part(part)
        scores_S = torch.zeros(len(rows.spans), device=engine.device)
        if len(rows) == 0:
            return {SCORES: scores_S.numpy(force=True)}
        with torch.no_grad():
            for micro in evaluation_passes(rows, engine, batch=batch):
                found_S = _scores(rows, micro.positions, engine)
                if micro.real:
                    at_S = to_device(rows.sequences(micro.positions), engine.device)
                    scores_S[at_S] = found_S
            return {SCORES: engine.sum_over_workers(scores_S).numpy(force=True)}

    def judge(self, found: Arrays) -> tuple[float, float]:
        """The share of rows whose likeliest choice is the label's, and cross-entropy in nats."""
        labels_MC = self.validation_targets_MC
        log_MC = log_probabilities(self.validation, found[SCORES], width=labels_MC.shape[1])
        agrees = (log_MC.argmax(axis=1) == labels_MC.argmax(axis=1)).mean()
        return float(agrees), float(-(labels_MC * log_MC).sum(axis=1).mean())

    def predicted(self, found: Arrays, *, part: str) -> Predicted:
        rows = self.part(part)
        p_MC = np.exp(log_probabilities(rows, found[SCORES])).astype(np.float32)
        likeliest = zip(rows.choices, p_MC.argmax(axis=1), strict=True)
        answers = tuple(choices[i] for choices, i in likeliest)
        most_M = p_MC.max(axis=1, initial=0.0)
        return Predicted(most_M, answers, distribution=p_MC, choices=rows.choices)


def log_probabilities(
    rows: ChoiceRows, scores_S: np.ndarray, *, width: int | None = None
) -> np.ndarray:
    """The logarithm of the softmax of each row's scores, float64 [M, C]."""
    every = np.arange(len(rows))
    width = int(rows.counts.max(initial=1)) if width is None else width
    wide_MC = np.full((len(rows), width), NO_CHOICE)
    wide_MC[np.repeat(every, rows.counts), rows.places(every)] = scores_S
    most_M1 = wide_MC.max(axis=1, keepdims=True)
    return wide_MC - most_M1 - np.log(np.exp(wide_MC - most_M1).sum(axis=1, keepdims=True))


def _scores(rows: ChoiceRows, picked: np.ndarray, engine: Engine) -> Tensor:
    """scores_S of the choices of the rows at `picked`."""
    sequences = rows.sequences(picked)
    learned = int(rows.spans.learned[sequences].sum())
    nll_S = engine.forward(*model_inputs(rows, picked, engine), learned)
    return -nll_S / to_device(rows.units[sequences], engine.device)


def _logits(rows: ChoiceRows, picked: np.ndarray, engine: Engine, *, width: int) -> Tensor:
    """logits_BC of the rows at `picked`: the scores, and `NO_CHOICE` after a row's last one."""
    scores_S = _scores(rows, picked, engine)
    row_S = np.repeat(np.arange(len(picked)), rows.counts[picked])
    at = (to_device(row_S, engine.device), to_device(rows.places(picked), engine.device))
    empty_BC = scores_S.new_full((len(picked), width), NO_CHOICE)
    return empty_BC.index_put(at, scores_S)


def _counted(
    logits_BC: Tensor, weights_N: np.ndarray | None, picked: np.ndarray, *, real: bool
) -> Tensor | None:
    """How much the rows at `picked` count: nothing if they only fill a layout."""
    if not real:
        return torch.zeros_like(logits_BC[:, 0])
    return None if weights_N is None else to_device(weights_N[picked], logits_BC.device)


def _check(part: str, rows: ChoiceRows, labels_NC: np.ndarray) -> None:
    if len(labels_NC) != len(rows) or labels_NC.shape[1] < rows.counts.max(initial=1):
        raise ValueError(
            f"{part} has {len(rows)} rows of up to {rows.counts.max(initial=1)} choices, but "
            f"labels of shape {labels_NC.shape}; give a distribution for each row"
        )
