"""The class prior: a control whose labels are the same for every row."""

from __future__ import annotations

from typing import ClassVar, Literal

from w2s_ray.methods.transforms.transform import LabelledRows, Transform


class ClassPrior(Transform):
    """Replace each label by the mean of all labels, also on validation rows.

    A control: the labels have the supervisor's share of each class and nothing else.
    """

    labels_validation: ClassVar[bool] = True
    kind: Literal["class_prior"] = "class_prior"

    def apply(self, rows: LabelledRows) -> LabelledRows:
        import numpy as np

        mean_C = rows.labels_NC.mean(axis=0, dtype=np.float64)
        return rows.relabelled(np.tile(mean_C, (len(rows.rows_N), 1)))
