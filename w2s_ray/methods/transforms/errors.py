"""Kinds of errors of a simulated supervisor: the wrong rows, and their wrong classes.

Owns the preference of each kind; `simulated` owns the number of errors. The paper compares
supervisors of equal accuracy with different errors; the choice of rows here is ours. Shapes: N
rows, C classes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field

from w2s_ray.frozen import Frozen
from w2s_ray.methods.transforms.probes import Logistic

if TYPE_CHECKING:
    import numpy as np

    from w2s_ray.methods.transforms.transform import LabelledRows


@dataclass(frozen=True)
class Preference:
    """Scores of errors: rows with the highest scores become wrong, with the highest wrong class."""

    row_N: np.ndarray
    class_NC: np.ndarray


class UniformErrors(Frozen):
    """Errors on rows drawn uniformly at random."""

    kind: Literal["uniform"] = "uniform"

    def preference(self, rows: LabelledRows, random: np.random.Generator) -> Preference:
        """Random rows and classes."""
        return Preference(random.random(len(rows.rows_N)), random.random(rows.labels_NC.shape))


class LengthErrors(Frozen):
    """Errors on rows drawn by length: the longer a text, the more likely it is wrong."""

    kind: Literal["length"] = "length"
    power: float | None = Field(default=1.0, gt=0, le=1000)
    """Weight of a row: its number of words to this power. null = exactly the longest texts are
    wrong."""

    def preference(self, rows: LabelledRows, random: np.random.Generator) -> Preference:
        """A weighted draw without replacement (Efraimidis and Spirakis 2006), to random classes."""
        import numpy as np

        words_N = np.maximum(rows.ground_truth.words_N, 1).astype(np.float64)
        row_N = words_N
        if self.power is not None:
            row_N = np.log(1 - random.random(len(words_N))) / words_N**self.power
        return Preference(row_N, random.random(rows.labels_NC.shape))


class ConfidenceErrors(Frozen):
    """Errors on the rows that the real supervisor is least sure of."""

    kind: Literal["confidence"] = "confidence"

    def preference(self, rows: LabelledRows, random: np.random.Generator) -> Preference:
        """Rows with the lowest probability of the most probable class, to the next class."""
        return Preference(-rows.labels_NC.max(axis=1), rows.labels_NC)


class AdversarialErrors(Frozen):
    """Errors that the student's own features make easy to learn.

    A logistic regression is fitted to ground truth on the pretrained student's activations. Rows
    are made wrong in order of how little probability it gives to their true class. With as many
    errors as the regression makes, the labels are exactly the predictions of a linear map.
    """

    kind: Literal["adversarial"] = "adversarial"
    l2: float = Field(default=1e-2, gt=0, le=1e9)
    """Weight of the squared norm of the regression's coefficients. Larger values give simpler
    errors."""

    def preference(self, rows: LabelledRows, random: np.random.Generator) -> Preference:
        """Rows with the lowest probability of the true class, to the most probable class."""
        import numpy as np

        truth_N = rows.ground_truth.classes_N
        one_hot_NC = np.eye(rows.labels_NC.shape[1])[truth_N]
        predicted_NC = Logistic(l2=self.l2).predict(rows.activations_ND, one_hot_NC)
        return Preference(-predicted_NC[np.arange(len(truth_N)), truth_N], predicted_NC)


Errors = Annotated[
    UniformErrors | LengthErrors | ConfidenceErrors | AdversarialErrors,
    Field(discriminator="kind"),
]
