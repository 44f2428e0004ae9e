"""Keeps only rows with a confident weak label."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field

from w2s_ray.methods.transforms.transform import LabelledRows, Transform


class Confident(Transform):
    """Drop rows on which the supervisor is unsure."""

    kind: Literal["confident"] = "confident"
    above: float = Field(default=0.75, ge=0, lt=1)
    """Keep a row if its most probable class has more than this probability."""

    keeps_labels: ClassVar[bool] = True

    def apply(self, rows: LabelledRows) -> LabelledRows:
        return rows.keeping(rows.labels_NC.max(axis=1) > self.above)
