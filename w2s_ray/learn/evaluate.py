"""Predictions of classes over many rows, and the agreement of two classes with labels.

Owns the batched pass without gradients, spread over workers, in the rows' own order, and the
figures that follow from its margins. It reads no ground truth: labels are arguments. Shapes: M
rows, C classes.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor

from w2s_ray.learn.contract import Arrays, Predicted
from w2s_ray.learn.device_rows import to_device
from w2s_ray.learn.engine import InferenceEngine, evaluation_passes, model_inputs
from w2s_ray.learn.rows import ClassRows


def not_finite(found: Arrays) -> float | None:
    """The first value that is NaN or infinite."""
    for values in found.values():
        wrong = ~np.isfinite(values)
        if wrong.any():
            return float(values[wrong][0])
    return None


def forward(engine: InferenceEngine, inputs: tuple[Any, ...]) -> Tensor:
    """logits_BC of a model with a head of classes."""
    return engine.forward(*inputs)


def predict_logits(
    engine: InferenceEngine,
    rows: ClassRows,
    *,
    classes: int,
    batch: int,
    logits: Callable[[InferenceEngine, tuple[Any, ...]], Tensor] = forward,
) -> np.ndarray:
    """The logits of each row, float32 [M, C] of `classes` = C.

    `evaluation_passes` says which rows share a forward pass, and `logits` computes one pass.
    """
    logits_MC = torch.zeros((len(rows), classes), device=engine.device)
    if len(rows) == 0:
        return logits_MC.numpy(force=True)
    with torch.no_grad():
        for micro in evaluation_passes(rows, engine, batch=batch):
            logits_BC = logits(engine, model_inputs(rows, micro.positions, engine))
            if micro.real:
                logits_MC[to_device(micro.positions, engine.device)] = logits_BC
        return engine.sum_over_workers(logits_MC).numpy(force=True)


def predict_margins(
    engine: InferenceEngine,
    rows: ClassRows,
    *,
    batch: int,
    logits: Callable[[InferenceEngine, tuple[Any, ...]], Tensor] = forward,
) -> np.ndarray:
    """The logit of class 1 minus that of class 0 for each row, float32 [M]."""
    logits_MC = predict_logits(engine, rows, classes=2, batch=batch, logits=logits)
    return logits_MC[:, 1] - logits_MC[:, 0]


def log_softmax(logits_MC: np.ndarray) -> np.ndarray:
    """Logarithms of the classes' probabilities, float64 [M, C]."""
    wide_MC = logits_MC.astype(np.float64)
    return wide_MC - np.logaddexp.reduce(wide_MC, axis=1, keepdims=True)


def of_classes(logits_MC: np.ndarray, names: tuple[str, ...]) -> Predicted:
    """Predictions of several classes with these names."""
    p_MC = np.exp(log_softmax(logits_MC)).astype(np.float32)
    likeliest = tuple(names[i] for i in logits_MC.argmax(axis=1))
    return Predicted(p_MC.max(axis=1), likeliest, names, p_MC)


def against_labels(logits_MC: np.ndarray, labels_MC: np.ndarray) -> tuple[float, float]:
    """Share of rows whose likeliest class is the label's, and cross-entropy with it in nats."""
    agrees = float((logits_MC.argmax(axis=1) == labels_MC.argmax(axis=1)).mean())
    return agrees, float(-(labels_MC * log_softmax(logits_MC)).sum(axis=1).mean())


def probabilities(margins_M: np.ndarray) -> np.ndarray:
    """Class 1's probability of each row, float32 [M]."""
    wide_M = margins_M.astype(np.float64)
    return np.exp(-np.logaddexp(0.0, -wide_M)).astype(np.float32)


def agreement(margins_M: np.ndarray, targets_MC: np.ndarray) -> float:
    """Share of rows whose more probable class is the label's; a tie counts as class 0."""
    return float(np.mean((margins_M > 0) == (targets_MC[:, 1] > 0.5)))


def cross_entropy(margins_M: np.ndarray, targets_MC: np.ndarray) -> float:
    """Mean cross-entropy with the labels, in nats."""
    wide_M = margins_M.astype(np.float64)
    each_M = targets_MC[:, 1] * np.logaddexp(0.0, -wide_M) + targets_MC[:, 0] * np.logaddexp(
        0.0, wide_M
    )
    return float(each_M.mean())
