"""When a prediction is right: the only definition, for the metrics of fits and for reports.

Owns this rule. For tasks with answers, the completion equals the right answer, both in normal form,
or what the task's extractor takes from the one equals what it takes from the other. For classes,
the prediction is class 1 if its probability is above one half, and class 0 otherwise.
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
    extracted: tuple[str, ...] | None = None
    """What the task's extractor takes from the right answers; None if these are compared whole."""

    def __post_init__(self) -> None:
        if self.answers is not None:
            object.__setattr__(self, "answers", tuple(map(normal_answer, self.answers)))

    @property
    def compared(self) -> tuple[str, ...] | None:
        """The right answers as completions are compared with them."""
        return self.answers if self.extracted is None else self.extracted


def alike(answers: Sequence[str | None], others: Sequence[str | None]) -> np.ndarray:
    """Whether answers are equal, bool [N]. Where nothing was extracted (None) they are not."""
    pairs = zip(answers, others, strict=True)
    return np.array([a is not None and a == b for a, b in pairs], dtype=bool)


def right(
    probabilities_N: np.ndarray, answers: Sequence[str | None] | None, truth: Truth
) -> np.ndarray:
    """Whether each prediction is right, bool [N]. `answers` are as `truth.compared`.

    Raises:
        ValueError: rows with neither classes nor answers.
    """
    if truth.compared is not None:
        if answers is None:
            raise ValueError("there are answers, but no completions to compare with them")
        return alike(answers, truth.compared)
    if truth.labels_N is None:
        raise ValueError("rows without classes and answers have no right prediction")
    return (probabilities_N > 0.5) == (truth.labels_N == 1)
