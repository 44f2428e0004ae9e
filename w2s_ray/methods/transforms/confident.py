"""Only rows that the supervisor is sure of."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from w2s_ray.methods.transforms.transform import Labelled, Transform


class Confident(Transform):
    """Rows whose label is less sure than a threshold are dropped."""

    kind: Literal["confident"] = "confident"
    above: float = Field(default=0.75, ge=0, lt=1)
    """A row stays where its most probable class has more than this."""

    def apply(self, rows: Labelled) -> Labelled:
        return rows.keeping(rows.labels_NC.max(axis=1) > self.above)
