"""Labels made softer or sharper by a temperature."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from w2s_ray.methods.transforms.transform import LabelledRows, Transform


class Temperature(Transform):
    """Divide the labels' log-odds by a temperature."""

    kind: Literal["temperature"] = "temperature"
    by: float = Field(default=2.0, gt=0, le=1e6)
    """The temperature. Above 1 labels become softer, below 1 sharper."""

    def apply(self, rows: LabelledRows) -> LabelledRows:
        import numpy as np

        with np.errstate(divide="ignore"):
            log_NC = np.log(rows.labels_NC.astype(np.float64)) / self.by
        scaled_NC = np.exp(log_NC - log_NC.max(axis=1, keepdims=True))
        return rows.relabelled(scaled_NC / scaled_NC.sum(axis=1, keepdims=True))
