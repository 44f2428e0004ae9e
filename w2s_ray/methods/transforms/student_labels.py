"""Labels of an earlier student on the rows whose weak labels are uncertain."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field

from w2s_ray.methods.transforms.transform import LabelledRows, Transform


class StudentLabels(Transform):
    """Keep the rows with a certain weak label; give the others the label of the earlier student if
    that label is certain, and drop the rest (Shi et al. 2025, arXiv 2503.04249).
    """

    of_chains: ClassVar[bool] = True
    kind: Literal["student_labels"] = "student_labels"
    above: float = Field(default=0.75, ge=0, lt=1)
    """A weak label is certain if its most probable class has more than this probability."""
    student_above: float = Field(default=0.75, ge=0, lt=1)
    """The same of the student's label."""

    def apply(self, rows: LabelledRows) -> LabelledRows:
        import numpy as np

        certain_N = rows.labels_NC.max(axis=1) > self.above
        by_student_N = ~certain_N & (rows.of_student_NC.max(axis=1) > self.student_above)
        labels_NC = np.where(by_student_N[:, None], rows.of_student_NC, rows.labels_NC)
        return rows.relabelled(labels_NC).keeping(certain_N | by_student_N)
