"""Labels of a layer of co-supervised learning: one of several specialists for each row."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import Field

from w2s_ray.methods.transforms.transform import LabelledRows, Transform

if TYPE_CHECKING:
    import numpy as np

LEAST = 1e-12
"""Smallest probability in a logarithm."""


class Specialists(Transform):
    """Give each row the label of the specialist that is nearest to the student before, and keep the
    rows on which that student agrees most (Liu and Alahi 2024, arXiv 2402.15505).

    The nearest specialist k has the least KL(student || label_k). The share of rows whose class is
    among the student's `top` classes is kept: the rows with the least cross-entropy of the student
    with their class. A layer of one specialist drops no row, as in the authors' code.
    """

    of_chains: ClassVar[bool] = True
    labels_validation: ClassVar[bool] = True
    kind: Literal["specialists"] = "specialists"
    top: int | None = Field(default=3, ge=1, le=10_000)
    """At most C - 1 of C classes are counted; null = every row is kept."""

    @property
    def takes_each_supervisor(self) -> bool:
        return True

    def apply(self, rows: LabelledRows) -> LabelledRows:
        import numpy as np

        taught = self.apply_to_validation(rows)
        of_student_NC = rows.of_student_NC
        if self.top is None or rows.of_each_KNC.shape[0] == 1:
            return taught
        own_N1 = np.take_along_axis(
            of_student_NC, taught.labels_NC.argmax(axis=1, keepdims=True), axis=1
        )
        among_N = (of_student_NC > own_N1).sum(axis=1) < min(self.top, of_student_NC.shape[1] - 1)
        kept_N = np.zeros(len(among_N), bool)
        kept_N[np.argsort(-own_N1[:, 0], kind="stable")[: among_N.sum()]] = True
        return taught.keeping(kept_N)

    def apply_to_validation(self, rows: LabelledRows) -> LabelledRows:
        return rows.relabelled(nearest(rows.of_student_NC, rows.of_each_KNC))


def nearest(student_NC: np.ndarray, labels_KNC: np.ndarray) -> np.ndarray:
    """The label of each row [N, C] with the least KL divergence from the student's."""
    import numpy as np

    wide_NC = student_NC.astype(np.float64)
    log_ratio_KNC = np.log(wide_NC.clip(LEAST)) - np.log(labels_KNC.astype(np.float64).clip(LEAST))
    choice_N = (wide_NC * log_ratio_KNC).sum(axis=2).argmin(axis=0)
    return labels_KNC[choice_N, np.arange(len(choice_N))]
