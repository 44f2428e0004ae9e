"""Checks of a loss: its values, its gradients, and its independence of the layout of a batch.

Owns the inputs and the limits of these checks. Gradients are compared with central differences in
float64; a detached value keeps its value there, because no gradient flows through it. Layouts run
through the optimizer step of two classes, with its statistics of the global batch.
Shapes: B rows, C two classes.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

from w2s_ray.checks.check import Outcome
from w2s_ray.checks.layouts import LAYOUTS, of_supervisors, step_of
from w2s_ray.checks.settings import same_after_copies
from w2s_ray.learn.losses import labels_for
from w2s_ray.methods.losses import Loss
from w2s_ray.methods.losses.loss import class_1_probability

ROWS = 12
ONE_VALUE = "one value a row"
"""Name of the first check, without which the others say nothing."""
PROGRESS = (0.0, 0.5, 1.0)
"""Shares of training at which a loss is computed."""
DIFFERENCE = 1e-6
"""Half the distance of the two values of a central difference."""
LARGEST_ERROR = 1e-5
"""Of gradients against differences, and of layouts against the whole batch; relative above 1."""
LARGEST_BF16_ERROR = 1e-4
"""Of losses of bf16 logits against the same logits in fp32. Computed in bf16 it is above 1e-3."""
EXTREME = (-1e4, -100.0, 0.0, 100.0, 1e4)
"""Logits of class 1, with 0 for class 0."""
LABELS = (0.0, 1e-6, 0.5, 0.9, 1.0)
"""Labels of class 1."""


def loss_checks(loss: Loss) -> dict[str, Callable[[], Outcome]]:
    """Name -> check, in the order in which they are printed."""
    _, labels_BC = _batch()
    prepared = loss.prepared(labels_BC.float().numpy())
    return {
        ONE_VALUE: partial(_one_value_a_row, prepared),
        "gradients": partial(_gradients, prepared),
        "extreme logits": partial(_extreme_logits, prepared),
        "batches of one": partial(_batches_of_one, prepared),
        "bf16 logits": partial(_bf16, prepared),
        "layouts": partial(_layouts, prepared),
        "settings": partial(same_after_copies, loss),
    }


def _batch() -> tuple[Tensor, Tensor]:
    """Logits and labels in float64; the first two labels are hard."""
    generator = np.random.default_rng(0)
    weak_B = generator.random(ROWS)
    weak_B[:2] = 0.0, 1.0
    logits_BC = torch.from_numpy(generator.normal(scale=2.0, size=(ROWS, 2)))
    return logits_BC, torch.from_numpy(np.stack([1 - weak_B, weak_B], axis=1))


def _statistic(loss: Loss, logits_BC: Tensor, labels_BC: Tensor, progress: float) -> Tensor | None:
    """The statistic as in a first step whose batch has these rows."""
    if not loss.needs_whole_batch:
        return None
    p1_B = class_1_probability(logits_BC.detach())
    given = labels_for(loss, labels_BC, of_supervisors(labels_BC))
    return loss.batch_statistic(p1_B, given, memory=[], progress=progress)


def _with_gradient(
    loss: Loss, logits_BC: Tensor, labels_BC: Tensor, progress: float
) -> tuple[Tensor, Tensor]:
    """loss_B, and the gradient of its sum with respect to the logits."""
    leaf_BC = logits_BC.clone().requires_grad_()
    statistic = _statistic(loss, leaf_BC, labels_BC, progress)
    given = labels_for(loss, labels_BC, of_supervisors(labels_BC))
    loss_B = loss.each(leaf_BC, given, statistic=statistic, progress=progress)
    if not loss_B.requires_grad:
        return loss_B, torch.zeros_like(logits_BC)
    loss_B.sum().backward()
    grad_BC = leaf_BC.grad
    return loss_B.detach(), torch.zeros_like(logits_BC) if grad_BC is None else grad_BC


def _one_value_a_row(loss: Loss) -> Outcome:
    logits_BC, labels_BC = (part.float() for part in _batch())
    loss_B = _with_gradient(loss, logits_BC, labels_BC, 0.5)[0]
    passed = tuple(loss_B.shape) == (ROWS,) and loss_B.is_floating_point()
    return passed, f"shape {tuple(loss_B.shape)} for {ROWS} rows, {_name(loss_B.dtype)}"


def _gradients(loss: Loss) -> Outcome:
    logits_BC, labels_BC = _batch()
    worst = 0.0
    for progress in PROGRESS:
        with _Float64() as recorded:
            grad_BC = _with_gradient(loss, logits_BC, labels_BC, progress)[1]
        statistic = _statistic(loss, logits_BC, labels_BC, progress)
        given = labels_for(loss, labels_BC, of_supervisors(labels_BC))

        def value(
            moved_BC: Tensor,
            known: list[Tensor] = recorded.detached,
            statistic: Tensor | None = statistic,
            progress: float = progress,
            given: Tensor = given,
        ) -> float:
            with torch.no_grad(), _Float64(known):
                _statistic(loss, logits_BC, labels_BC, progress)  # its detached values are first
                return float(
                    loss.each(moved_BC, given, statistic=statistic, progress=progress).sum()
                )

        for row, column in np.ndindex(*logits_BC.shape):
            step_BC = torch.zeros_like(logits_BC)
            step_BC[row, column] = DIFFERENCE
            slope = (value(logits_BC + step_BC) - value(logits_BC - step_BC)) / (2 * DIFFERENCE)
            error = abs(slope - float(grad_BC[row, column])) / max(1.0, abs(slope))
            worst = error if not error <= worst else worst
    figures = f"largest difference from finite differences {worst:.2g} (at most {LARGEST_ERROR:g})"
    return worst <= LARGEST_ERROR, figures


def _extreme_logits(loss: Loss) -> Outcome:
    both = [(logit, label) for logit in EXTREME for label in LABELS]
    logits_BC = torch.tensor([[0.0, logit] for logit, _ in both])
    labels_BC = torch.tensor([[1 - label, label] for _, label in both])
    for progress in PROGRESS:
        loss_B, grad_BC = _with_gradient(loss, logits_BC, labels_BC, progress)
        for (logit, label), value, slopes in zip(both, loss_B.tolist(), grad_BC, strict=True):
            if not (np.isfinite(value) and bool(slopes.isfinite().all())):
                return False, (
                    f"value {value:g} and gradient {slopes.tolist()} at logits [0, {logit:g}] and "
                    f"label {label:g} of class 1"
                )
    return True, f"finite up to logits of {max(EXTREME):g}, with hard and soft labels"


def _batches_of_one(loss: Loss) -> Outcome:
    logits_BC, labels_BC = (part.float() for part in _batch())
    for row in range(ROWS):
        one = slice(row, row + 1)
        loss_B, grad_BC = _with_gradient(loss, logits_BC[one], labels_BC[one], 0.5)
        finite = bool(loss_B.isfinite().all()) and bool(grad_BC.isfinite().all())
        if tuple(loss_B.shape) != (1,) or not finite:
            return False, (
                f"shape {tuple(loss_B.shape)}, value {loss_B.tolist()} and gradient "
                f"{grad_BC.tolist()} of row {row} alone"
            )
    return True, f"finite for each of {ROWS} rows alone"


def _bf16(loss: Loss) -> Outcome:
    logits_BC, labels_BC = (part.float() for part in _batch())
    half_BC = logits_BC.bfloat16()
    found_B, grad_BC = _with_gradient(loss, half_BC, labels_BC, 0.5)
    expected_B, _ = _with_gradient(loss, half_BC.float(), labels_BC, 0.5)
    worst = _largest_error(found_B.float(), expected_B)
    passed = worst <= LARGEST_BF16_ERROR and bool(grad_BC.isfinite().all())
    advice = "" if passed else "; convert logits with .float() first"
    return passed, (
        f"largest difference from fp32 {worst:.2g} (at most {LARGEST_BF16_ERROR:g}){advice}"
    )


def _layouts(loss: Loss) -> Outcome:
    logits_BC, labels_BC = (part.float() for part in _batch())
    (whole, *others) = LAYOUTS
    expected = step_of(loss, logits_BC, labels_BC, whole)
    worst, where = 0.0, ""
    for layout in others:
        error = _largest_error(step_of(loss, logits_BC, labels_BC, layout), expected)
        if not error <= worst:
            worst, where = error, f" with {layout}"
    return worst <= LARGEST_ERROR, (
        f"largest difference from the whole batch {worst:.2g}{where} (at most {LARGEST_ERROR:g})"
    )


def _largest_error(found: Tensor, expected: Tensor) -> float:
    """The largest difference, relative where the expected value is above 1; NaN if one has NaN."""
    return float(((found - expected).abs() / expected.abs().clamp(min=1.0)).max())


def _name(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")


class _Float64(TorchFunctionMode):
    """Within it, fp32 is float64, and detached values are recorded or are those `known` before."""

    def __init__(self, known: list[Tensor] | None = None) -> None:
        super().__init__()
        self.detached: list[Tensor] = []
        self._known = None if known is None else iter(known)

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func is Tensor.float:
            func = Tensor.double
        if func is Tensor.detach and self._known is not None:
            return next(self._known)
        result = func(*map(_wide, args), **{k: _wide(v) for k, v in (kwargs or {}).items()})
        if func is Tensor.detach:
            self.detached.append(result.clone())
        return result


def _wide(value: Any) -> Any:
    return torch.float64 if value is torch.float32 else value
