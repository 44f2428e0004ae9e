"""A simulated supervisor: as accurate as the real one on the rows it labels, with other errors."""

from __future__ import annotations

from typing import ClassVar, Literal

from w2s_ray.methods.transforms.errors import Errors, UniformErrors
from w2s_ray.methods.transforms.transform import Labelled, Transform


class Simulated(Transform):
    """Replace the labels by ground truth with as many errors as the supervisor has, on other rows.

    The labels are hard. Because they are made from ground truth, the table marks the student as
    oracle. Validation rows get such labels too, so that early stopping uses the same supervisor.
    """

    sees_truth: ClassVar[bool] = True
    kind: Literal["simulated"] = "simulated"
    errors: Errors = UniformErrors()
    """Which rows have the errors."""

    def apply(self, rows: Labelled) -> Labelled:
        import numpy as np

        truth_N, (count, classes) = rows.told.truth_N, rows.labels_NC.shape
        random = np.random.default_rng(rows.told.seed)
        errors = int((rows.labels_NC.argmax(axis=1) != truth_N).sum())
        prefers = self.errors.preference(rows, random)
        shuffled_N = random.permutation(count)  # so that equals are chosen at random
        place_N = np.argsort(-prefers.row_N[shuffled_N], kind="stable")
        wrong = shuffled_N[place_N[:errors]]
        truth_NC = np.eye(classes)[truth_N]
        instead_N = np.where(truth_NC == 1, -np.inf, prefers.class_NC).argmax(axis=1)
        label_N = truth_N.copy()
        label_N[wrong] = instead_N[wrong]
        return rows.relabelled(np.eye(classes)[label_N])
