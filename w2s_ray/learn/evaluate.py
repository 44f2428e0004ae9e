"""Predictions of two classes over many rows, and their agreement with labels.

Owns the batched pass without gradients, spread over workers, in the rows' own order, and the
figures that follow from its margins. It reads no ground truth: labels are arguments. Shapes: M
rows, C two classes.
"""

from __future__ import annotations

import numpy as np
import torch

from w2s_ray.learn.contract import Arrays
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


def predict_margins(engine: InferenceEngine, rows: ClassRows, *, batch: int) -> np.ndarray:
    """The logit of class 1 minus that of class 0 for each row, float32 [M].

    Rows are sorted by length and cut into forward passes of at most `batch` rows and worker; on a
    GPU of as many tokens as `batch` of the longest rows have.
    """
    margins_M = torch.zeros(len(rows), device=engine.device)
    if len(rows) == 0:
        return margins_M.numpy(force=True)
    with torch.no_grad():
        for micro in evaluation_passes(rows.lengths, engine, batch=batch):
            logits_BC = engine.forward(*model_inputs(rows, micro.positions, engine))
            if micro.real:
                at_B = to_device(micro.positions, engine.device)
                margins_M[at_B] = logits_BC[:, 1] - logits_BC[:, 0]
        return engine.sum_over_workers(margins_M).numpy(force=True)


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
