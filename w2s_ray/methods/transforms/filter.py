"""Rows whose label a probe on the pretrained strong model contradicts are dropped."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from w2s_ray.methods.transforms.probes import Knn, Probe
from w2s_ray.methods.transforms.transform import Labelled, Transform


class Filter(Transform):
    """The rows are dropped whose label a probe contradicts most."""

    kind: Literal["filter"] = "filter"
    by: Probe = Knn()
    """The probe, on the pretrained model's activations of the last token: knn, logistic or
    topofilter."""
    share: float = Field(default=0.1, ge=0, lt=1)
    """Share of the rows that is dropped (topofilter: at least)."""

    def apply(self, rows: Labelled) -> Labelled:
        return rows.keeping(self.by.kept(rows.activations_ND, rows.labels_NC, self.share))
