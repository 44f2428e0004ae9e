"""Labels are replaced by what a probe on the pretrained strong model says."""

from __future__ import annotations

from typing import Literal

from w2s_ray.methods.transforms.probes import Knn, Probe
from w2s_ray.methods.transforms.transform import Labelled, Transform


class Relabel(Transform):
    """A row gets the label that a probe gives it."""

    kind: Literal["relabel"] = "relabel"
    by: Probe = Knn()
    """The probe, on the pretrained model's activations of the last token: knn, logistic or
    topofilter."""

    def apply(self, rows: Labelled) -> Labelled:
        return rows.relabelled(self.by.predict(rows.activations_ND, rows.labels_NC))
