"""Keeps the rows from which weak-to-strong generalization is said to come: overlap density."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Literal

from w2s_ray.methods.certainty import certainties
from w2s_ray.methods.transforms.transform import LabelledRows, Transform

if TYPE_CHECKING:
    import numpy as np

_AT_ONCE = 4096
"""Rows whose inner products with the hard rows are in memory together."""


class Overlap(Transform):
    """Keep rows that have both what the supervisor knows and what only the strong model can learn
    (Shin et al. 2025, arXiv 2412.03881, algorithm 1).

    Rows whose labels have little confidence |2w - 1| are hard. Another row overlaps if its
    activations have a large inner product with the activations of a hard row; the rest is easy.
    Both bounds are change points: the cut of the sorted values into two parts with the least sum of
    squared deviations from the parts' means. If all values are equal, the bound is their median.
    """

    kind: Literal["overlap"] = "overlap"
    keep: Literal["overlap", "overlap_and_easy", "overlap_and_hard"] = "overlap"
    """The rows to keep. The paper selects those that overlap."""

    keeps_labels: ClassVar[bool] = True

    def apply(self, rows: LabelledRows) -> LabelledRows:
        confidence_N = certainties(rows.labels_NC)
        hard_N = confidence_N < change_point(confidence_N)
        score_N = _largest_products(rows.activations_ND, hard_N)
        overlap_N = ~hard_N
        if hard_N.any() and not hard_N.all():
            overlap_N = overlap_N & (score_N >= change_point(score_N[~hard_N]))
        match self.keep:
            case "overlap":
                kept_N = overlap_N
            case "overlap_and_easy":
                kept_N = ~hard_N
            case "overlap_and_hard":
                kept_N = overlap_N | hard_N
        return rows.keeping(kept_N)


def change_point(values_N: np.ndarray) -> float:
    """The smallest value of the upper part, when sorted values are cut in two with the least sum of
    squared deviations; the median if all are equal.
    """
    import numpy as np

    sorted_N = np.sort(values_N.astype(np.float64))
    if len(sorted_N) < 2 or sorted_N[0] == sorted_N[-1]:
        return float(np.median(sorted_N))
    before_N = np.arange(1, len(sorted_N))
    sums_N = np.cumsum(sorted_N)
    low_N, high_N = sums_N[:-1] / before_N, (sums_N[-1] - sums_N[:-1]) / before_N[::-1]
    # the sum of squared deviations is least where that between the two means is largest
    between_N = before_N * before_N[::-1] * (high_N - low_N) ** 2
    return float(sorted_N[1 + int(between_N.argmax())])


def _largest_products(activations_ND: np.ndarray, hard_N: np.ndarray) -> np.ndarray:
    """The largest inner product of each row's activations with a hard row's, float64."""
    import numpy as np

    if not hard_N.any():
        return np.zeros(len(hard_N))
    wide_ND = activations_ND.astype(np.float64)
    hard_HD = wide_ND[hard_N]
    starts = range(0, len(wide_ND), _AT_ONCE)
    return np.concatenate(
        [(wide_ND[start : start + _AT_ONCE] @ hard_HD.T).max(axis=1) for start in starts]
    )
