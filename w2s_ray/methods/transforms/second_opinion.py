"""Labels of the second stage of two: a student's where the supervisor was unsure."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import Field

from w2s_ray.methods.transforms.transform import LabelledRows, Transform

if TYPE_CHECKING:
    import numpy as np


class SecondOpinion(Transform):
    """Keep the rows with a sure weak label; give the others the label of the student before where
    that one is sure, and drop the rest (Shi et al. 2025, arXiv 2503.04249).
    """

    of_chains: ClassVar[bool] = True
    labels_validation: ClassVar[bool] = True
    kind: Literal["second_opinion"] = "second_opinion"
    above: float = Field(default=0.75, ge=0, lt=1)
    """A weak label is sure if its most probable class has more than this probability."""
    student_above: float = Field(default=0.75, ge=0, lt=1)
    """The same of the student's label."""

    def apply(self, rows: LabelledRows) -> LabelledRows:
        sure_N, second_N = self._sure(rows)
        return self.apply_to_validation(rows).keeping(sure_N | second_N)

    def apply_to_validation(self, rows: LabelledRows) -> LabelledRows:
        import numpy as np

        _, second_N = self._sure(rows)
        return rows.relabelled(np.where(second_N[:, None], rows.of_student_NC, rows.labels_NC))

    def _sure(self, rows: LabelledRows) -> tuple[np.ndarray, np.ndarray]:
        """Rows with a sure weak label, and of the others those with a sure label of the student."""
        sure_N = rows.labels_NC.max(axis=1) > self.above
        return sure_N, ~sure_N & (rows.of_student_NC.max(axis=1) > self.student_above)
