"""Drops rows whose label a probe on the pretrained strong model contradicts."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field

from w2s_ray.methods.transforms.probes import Knn, Probe
from w2s_ray.methods.transforms.transform import LabelledRows, Transform


class Filter(Transform):
    """Drop the rows whose label a probe contradicts most."""

    kind: Literal["filter"] = "filter"
    by: Probe = Knn()
    """The probe, on the pretrained student's activations of the last token."""
    share: float = Field(default=0.1, ge=0, lt=1)
    """Share of the rows to drop. topofilter may drop more."""

    keeps_labels: ClassVar[bool] = True

    def apply(self, rows: LabelledRows) -> LabelledRows:
        return rows.keeping(self.by.kept(rows.activations_ND, rows.labels_NC, self.share))
