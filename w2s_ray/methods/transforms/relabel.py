"""Replaces labels by the predictions of a probe on the pretrained strong model."""

from __future__ import annotations

from typing import Literal

from w2s_ray.methods.transforms.probes import Knn, Probe
from w2s_ray.methods.transforms.transform import LabelledRows, Transform


class Relabel(Transform):
    """Replace each label by the prediction of a probe."""

    kind: Literal["relabel"] = "relabel"
    by: Probe = Knn()
    """The probe, on the pretrained student's activations of the last token."""

    def apply(self, rows: LabelledRows) -> LabelledRows:
        return rows.relabelled(self.by.predict(rows.activations_ND, rows.labels_NC))
