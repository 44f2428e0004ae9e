"""Keeps the rows on which several supervisors agree."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field

from w2s_ray.methods.transforms.transform import LabelledRows, Transform


class Consensus(Transform):
    """Drop rows on which too few supervisors predict the class of their mean label (supervisor
    consensus of DC-W2S, Chan et al. 2026, arXiv 2603.08095). Needs the stage `ensemble`.
    """

    kind: Literal["consensus"] = "consensus"
    share: float = Field(default=1.0, gt=0, le=1)
    """Keep a row if at least this share of the supervisors predict that class."""

    keeps_labels: ClassVar[bool] = True

    @property
    def takes_each_supervisor(self) -> bool:
        return True

    def apply(self, rows: LabelledRows) -> LabelledRows:
        each_KNC = rows.labels_KNC if rows.labels_KNC is not None else rows.labels_NC[None]
        agrees_KN = each_KNC.argmax(axis=2) == rows.labels_NC.argmax(axis=1)
        return rows.keeping(agrees_KN.mean(axis=0) >= self.share - 1e-9)
