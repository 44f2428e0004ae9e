"""A simulated supervisor: the same accuracy on the labelled rows, with errors on other rows."""

from __future__ import annotations

from typing import ClassVar, Literal

from w2s_ray.methods.transforms.errors import Errors, UniformErrors
from w2s_ray.methods.transforms.transform import LabelledRows, Transform


class Simulated(Transform):
    """Replace the labels by ground truth with as many errors as the supervisor has, on other rows.

    The labels are hard. Because they are made from ground truth, the table marks the student as
    oracle. Validation rows get such labels too, so that early stopping uses the same supervisor.
    """

    uses_ground_truth: ClassVar[bool] = True
    labels_validation: ClassVar[bool] = True
    kind: Literal["simulated"] = "simulated"
    errors: Errors = UniformErrors()
    """Which rows have the errors."""

    def apply(self, rows: LabelledRows) -> LabelledRows:
        import numpy as np

        truth_N, (count, classes) = rows.ground_truth.classes_N, rows.labels_NC.shape
        random = np.random.default_rng(rows.seed)
        errors = int((rows.labels_NC.argmax(axis=1) != truth_N).sum())
        preference = self.errors.preference(rows, random)
        shuffled_N = random.permutation(count)  # ties are chosen at random
        order_N = np.argsort(-preference.row_N[shuffled_N], kind="stable")
        wrong = shuffled_N[order_N[:errors]]
        truth_NC = np.eye(classes)[truth_N]
        wrong_class_N = np.where(truth_NC == 1, -np.inf, preference.class_NC).argmax(axis=1)
        label_N = truth_N.copy()
        label_N[wrong] = wrong_class_N[wrong]
        return rows.relabelled(np.eye(classes)[label_N])
