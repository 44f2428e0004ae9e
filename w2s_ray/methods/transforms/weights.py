"""Weights rows by the certainty of their labels."""

from __future__ import annotations

from typing import ClassVar, Literal

from w2s_ray.methods.certainty import certainties
from w2s_ray.methods.transforms.transform import LabelledRows, Transform


class Weights(Transform):
    """Weight rows by their weak labels, for any loss.

    The weights are divided by their mean over the training rows, and the loss of a step is the sum
    of weight times loss over the rows of the global batch, divided by their number.
    """

    kind: Literal["weights"] = "weights"
    by: Literal["certainty"] = "certainty"
    """certainty: (C max_c w_c - 1) / (C - 1) of the label w; with two classes |2w - 1| (Afzali et
    al. 2026, arXiv 2603.04968)."""

    keeps_labels: ClassVar[bool] = True

    def apply(self, rows: LabelledRows) -> LabelledRows:
        return rows.weighted(certainties(rows.labels_NC))
