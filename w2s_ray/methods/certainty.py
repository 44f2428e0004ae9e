"""The certainty of labels, by which losses and transforms weight or choose rows.

Shapes: N rows, C classes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np


def certainties(labels_NC: np.ndarray) -> np.ndarray:
    """(C max_c w_c - 1) / (C - 1) of each label w, float64 [N]: 0 for equal probabilities, 1 for a
    class; with two classes |2w - 1|.
    """
    classes = labels_NC.shape[1]
    return ((classes * labels_NC.astype("float64").max(axis=1) - 1) / (classes - 1)).clip(min=0)
