"""Labels of the second stage of two: a student's where the supervisor was unsure."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field

from w2s_ray.methods.transforms.transform import LabelledRows, Transform


class SecondOpinion(Transform):
    """Keep the rows with a sure weak label; give the others the label of the student before where
    that one is sure, and drop the rest (Shi et al. 2025, arXiv 2503.04249).
    """

    of_chains: ClassVar[bool] = True
    kind: Literal["second_opinion"] = "second_opinion"
    above: float = Field(default=0.75, ge=0, lt=1)
    """A weak label is sure if its most probable class has more than this probability."""
    student_above: float = Field(default=0.75, ge=0, lt=1)
    """The same of the student's label."""

    def apply(self, rows: LabelledRows) -> LabelledRows:
        import numpy as np

        sure_N = rows.labels_NC.max(axis=1) > self.above
        second_N = ~sure_N & (rows.of_student_NC.max(axis=1) > self.student_above)
        labels_NC = np.where(second_N[:, None], rows.of_student_NC, rows.labels_NC)
        return rows.relabelled(labels_NC).keeping(sure_N | second_N)
