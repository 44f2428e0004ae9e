"""When a prediction is right: the only definition, for the metrics of fits and for reports.

Owns this rule. For tasks with answers, the completion equals the right answer, both in normal form.
For classes, the prediction is class 1 if its probability is above one half, and class 0 otherwise.
Shapes: N rows.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from w2s_ray.data.example import normal_answer


@dataclass(frozen=True)
class Truth:
    """Ground truth of N rows."""

    labels_N: np.ndarray | None = None
    """Classes, 0 or 1; None if rows have none."""
    answers: tuple[str, ...] | None = None
    """Right answers in their normal form; None if rows have classes."""

    def __post_init__(self) -> None:
        if self.answers is not None:
            object.__setattr__(self, "answers", tuple(map(normal_answer, self.answers)))


def right(
    probabilities_N: np.ndarray, answers: Sequence[str | None] | None, truth: Truth
) -> np.ndarray:
    """Whether each prediction is right, bool [N].

    Raises:
        ValueError: rows with neither classes nor answers.
    """
    if truth.answers is not None:
        if answers is None:
            raise ValueError("there are answers, but no completions to compare with them")
        return np.array([a == b for a, b in zip(answers, truth.answers, strict=True)], dtype=bool)
    if truth.labels_N is None:
        raise ValueError("rows without classes and answers have no right prediction")
    return (probabilities_N > 0.5) == (truth.labels_N == 1)
