"""How far apart the predicted probabilities of two classes lie: the contrast of weak labels.

Owns its figures, which a fit's record has for each predicted part, and the remark on labels that
lie close together. Labels of a small spread hardly change under temperature 1: a learning rate
that was tuned on hard labels suits them badly.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Collection, Mapping
from statistics import fmean
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from w2s_ray.learn.contract import Predicted

LOW_CONTRAST = 0.1
"""Standard deviation of weak labels below which a remark says so."""
_WEAK_LABELS = "student_half"
"""The part whose predictions are weak labels."""


def contrast(predicted: Predicted) -> dict[str, float]:
    """The contrast of the predictions of classes; empty for other predictions.

    Of two classes, `spread` is the standard deviation of the probability of class 1, and `class_1`
    the share of rows with more than 0.5. Of several, `largest_class` is the share of rows of the
    class that is predicted most often.
    """
    if predicted.classes is not None and predicted.answers:
        (_, rows), *_ = Counter(predicted.answers).most_common(1)
        return {"largest_class": rows / len(predicted.answers)}
    if predicted.answers is not None or predicted.classes is not None:
        return {}
    p_N = predicted.probabilities.astype(np.float64)
    return {"spread": float(p_N.std()), "class_1": float((p_N > 0.5).mean())}


def mean_contrast(
    summaries: Collection[Mapping[str, Any]],
) -> tuple[float | None, float | None]:
    """Spread and share of class 1 of supervisors' labels of the student's half, by their records.

    Each is a mean over the `summaries`; None where one of them lacks it.
    """
    return _mean(summaries, "spread"), _mean(summaries, "class_1")


def _mean(summaries: Collection[Mapping[str, Any]], name: str) -> float | None:
    found = [summary.get(f"{_WEAK_LABELS}_{name}") for summary in summaries]
    numbers = [v for v in found if isinstance(v, int | float) and math.isfinite(v)]
    return fmean(numbers) if numbers and len(numbers) == len(found) else None


def low_contrast(spread: float | None, class_1: float | None) -> str | None:
    """The figures of labels that lie close together, in words; None for other labels."""
    if spread is None or class_1 is None or spread >= LOW_CONTRAST:
        return None
    return f"standard deviation {spread:.2f}, {class_1:.0%} class 1"
