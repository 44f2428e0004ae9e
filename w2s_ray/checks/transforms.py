"""Checks of a transform of labels: which rows it keeps, what labels it gives, and repetition.

Owns the rows that these checks use. A transform whose result depends on the seed draws at random;
for it the check of the order of rows is not possible. Shapes: N rows, C two classes, D width.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property, partial

import numpy as np

from w2s_ray.checks.check import Outcome
from w2s_ray.checks.settings import same_after_copies
from w2s_ray.methods.transforms import Transform
from w2s_ray.methods.transforms.transform import LabelledRows

ROWS, WIDTH = 200, 8
LARGEST_SUM_ERROR = 1e-3
"""Of a row's probabilities, as training requires."""
LARGEST_ORDER_ERROR = 1e-3
"""Of labels when the rows are in another order."""


def transform_checks(transform: Transform) -> dict[str, Callable[[], Outcome]]:
    """Name -> check, in the order in which they are printed."""
    inputs = _Inputs()
    return {
        "rows": partial(_rows, transform, inputs),
        "distributions": partial(_distributions, transform, inputs),
        "deterministic": partial(_deterministic, transform, inputs),
        "input unchanged": partial(_input_unchanged, transform, inputs),
        "settings": partial(same_after_copies, transform),
    }


class _Inputs:
    """Rows whose activations say something about their labels."""

    @cached_property
    def labels_NC(self) -> np.ndarray:
        weak_N = np.random.default_rng(0).random(ROWS).astype(np.float32)
        return np.stack([1 - weak_N, weak_N], axis=1)

    @cached_property
    def activations_ND(self) -> np.ndarray:
        noise_ND = np.random.default_rng(1).normal(size=(ROWS, WIDTH)).astype(np.float32)
        return noise_ND + 4 * (self.labels_NC[:, 1:] - 0.5)

    @cached_property
    def supervisor_activations_ND(self) -> np.ndarray:
        return self.activations_ND[:, ::-1]

    @cached_property
    def own_answers_NC(self) -> np.ndarray:
        return self.labels_NC[::-1]

    def rows(self, *, order: np.ndarray | None = None, seed: int = 0) -> LabelledRows:
        """The rows in an order, by default their own."""
        rows_N = np.arange(ROWS) if order is None else order
        return LabelledRows(
            self.labels_NC[rows_N].copy(),
            rows_N.copy(),
            self.activations_ND.copy,
            None,
            (seed, 0),
            all_groups=lambda: np.arange(ROWS) // 3,
            all_supervisor_activations=self.supervisor_activations_ND.copy,
            all_own_answers=self.own_answers_NC.copy,
        )


def _rows(transform: Transform, inputs: _Inputs) -> Outcome:
    """Labels stay with their rows: the order of the rows must not decide which row gets which."""
    made = transform.apply(inputs.rows())
    kept_N, labels_NC = made.rows_N, made.labels_NC
    if len(kept_N) != len(labels_NC) or len({*kept_N.tolist()} & {*range(ROWS)}) != len(kept_N):
        return False, f"{len(labels_NC)} labels of {len(kept_N)} rows among {ROWS}"
    figures = f"{len(kept_N)} of {ROWS} rows kept"
    if not _equal(made, transform.apply(inputs.rows(seed=1))):
        return True, f"{figures}; drawn at random, so that their order was not checked"
    order = np.random.default_rng(2).permutation(ROWS)
    other = transform.apply(inputs.rows(order=order))
    expected = dict(zip(kept_N.tolist(), labels_NC, strict=True))
    found = dict(zip(other.rows_N.tolist(), other.labels_NC, strict=True))
    if expected.keys() != found.keys():
        differ = len(expected.keys() ^ found.keys())
        return False, f"{figures}; {differ} others if the rows are in another order"
    worst = max((float(np.abs(found[row] - expected[row]).max()) for row in found), default=0.0)
    return worst <= LARGEST_ORDER_ERROR, (
        f"{figures}; largest difference of a label in another order {worst:.2g} (at most "
        f"{LARGEST_ORDER_ERROR:g})"
    )


def _distributions(transform: Transform, inputs: _Inputs) -> Outcome:
    labels_NC = transform.apply(inputs.rows()).labels_NC
    if labels_NC.ndim != 2 or labels_NC.shape[1] != 2 or labels_NC.dtype != np.float32:
        return False, f"labels of shape {labels_NC.shape}, {labels_NC.dtype}; give float32 [N, 2]"
    error = float(np.abs(labels_NC.astype(np.float64).sum(axis=1) - 1).max(initial=0.0))
    least = float(labels_NC.min(initial=1.0))
    passed = error <= LARGEST_SUM_ERROR and least >= 0
    return (
        passed,
        f"sums differ from 1 by at most {error:.2g}; least probability {least:.2g}",
    )


def _deterministic(transform: Transform, inputs: _Inputs) -> Outcome:
    first, second = transform.apply(inputs.rows()), transform.apply(inputs.rows())
    if _equal(first, second):
        return True, "the same rows and labels a second time"
    if len(first.labels_NC) != len(second.labels_NC):
        return False, f"{len(first.labels_NC)} rows, and {len(second.labels_NC)} a second time"
    worst = float(np.abs(first.labels_NC - second.labels_NC).max())
    return (
        False,
        f"labels differ by up to {worst:.2g} a second time; draw with `rows.seed`",
    )


def _input_unchanged(transform: Transform, inputs: _Inputs) -> Outcome:
    given, before = inputs.rows(), inputs.rows()
    transform.apply(given)
    if _equal(given, before):
        return True, "labels and rows are as before"
    changed = int((given.labels_NC != before.labels_NC).any(axis=1).sum())
    return False, f"{changed} labels of its input are changed; change a copy"


def _equal(one: LabelledRows, other: LabelledRows) -> bool:
    return np.array_equal(one.rows_N, other.rows_N) and np.array_equal(
        one.labels_NC, other.labels_NC, equal_nan=True
    )
