"""Hard labels: the more probable class."""

from __future__ import annotations

from typing import Literal

from w2s_ray.methods.transforms.transform import LabelledRows, Transform


class Hard(Transform):
    """Replace each label by its more probable class. A tie goes to the first class."""

    kind: Literal["hard"] = "hard"

    def apply(self, rows: LabelledRows) -> LabelledRows:
        import numpy as np

        classes = rows.labels_NC.shape[1]
        return rows.relabelled(np.eye(classes)[rows.labels_NC.argmax(axis=1)])
