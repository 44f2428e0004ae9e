"""Shuffled labels: a control that keeps the labels' distribution and nothing else."""

from __future__ import annotations

from typing import ClassVar, Literal

from w2s_ray.methods.transforms.transform import LabelledRows, Transform


class ShuffledLabels(Transform):
    """Give each row the label of a random row. Validation rows get shuffled labels, too.

    A control: the labels have the supervisor's confidence and no relation to the rows.
    """

    labels_validation: ClassVar[bool] = True
    kind: Literal["shuffled_labels"] = "shuffled_labels"

    def apply(self, rows: LabelledRows) -> LabelledRows:
        import numpy as np

        order_N = np.random.default_rng(rows.seed).permutation(len(rows.rows_N))
        return rows.relabelled(rows.labels_NC[order_N])
