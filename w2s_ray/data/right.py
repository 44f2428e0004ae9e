"""When a prediction is right: the one definition, for fits' own figures and for reports.

Owns the rule alone. With answers: the completion is the right answer, both in their normal form.
Else: class 1 has more than half the probability where it is the label; a tie is class 0. Shapes: N
rows.
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
    """Classes, 0 or 1; null where there are none."""
    answers: tuple[str, ...] | None = None
    """Right answers in their normal form; null where rows have classes."""

    def __post_init__(self) -> None:
        if self.answers is not None:
            object.__setattr__(self, "answers", tuple(map(normal_answer, self.answers)))


def right(
    probabilities_N: np.ndarray, answers: Sequence[str | None] | None, truth: Truth
) -> np.ndarray:
    """Whether each prediction is right, bool [N].

    Raises:
        ValueError: rows without classes and answers have no right prediction.
    """
    if truth.answers is not None:
        if answers is None:
            raise ValueError("there are right answers, but no completions to compare with them")
        return np.array([a == b for a, b in zip(answers, truth.answers, strict=True)], dtype=bool)
    if truth.labels_N is None:
        raise ValueError("rows without classes and answers have no right prediction")
    return (probabilities_N > 0.5) == (truth.labels_N == 1)
