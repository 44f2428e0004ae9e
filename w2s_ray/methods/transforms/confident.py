"""Only rows that the supervisor is sure of."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from w2s_ray.methods.transforms.transform import Labelled, Transform


class Confident(Transform):
    """Drop rows on which the supervisor is unsure."""

    kind: Literal["confident"] = "confident"
    above: float = Field(default=0.75, ge=0, lt=1)
    """Keep a row if its most probable class has more than this probability."""

    def apply(self, rows: Labelled) -> Labelled:
        return rows.keeping(rows.labels_NC.max(axis=1) > self.above)
