"""A simulated supervisor: as accurate as the real one on the rows it labels, with other errors."""

from __future__ import annotations

from typing import ClassVar, Literal

from w2s_ray.methods.transforms.errors import Errors, UniformErrors
from w2s_ray.methods.transforms.transform import Labelled, Transform


class Simulated(Transform):
    """Labels become the truth but for as many errors as they have, on rows of another choice.

    They are hard, and made from ground truth, so the table shows their student as an oracle.
    Validation rows are labelled alike, by themselves: early stopping sees the same supervisor.
    """

    sees_truth: ClassVar[bool] = True
    kind: Literal["simulated"] = "simulated"
    errors: Errors = UniformErrors()
    """Where the errors are: uniform, length, confidence or adversarial."""

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
