"""Takes the strong model's own answers where it knows them, and smoothed weak labels elsewhere."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import Field

from w2s_ray.methods.transforms.known_rows import TruthSlice
from w2s_ray.methods.transforms.probes import neighbours
from w2s_ray.methods.transforms.row_classifier import right_probabilities
from w2s_ray.methods.transforms.transform import LabelledRows, Transform

if TYPE_CHECKING:
    import numpy as np


class Selective(Transform):
    """Label the rows that the strong model knows by its own prompted answer, and the others by weak
    labels that are smoothed over a graph (selective weak-to-strong generalization, Lang et al.
    2025, arXiv 2511.14166). Needs the stage `elicit` with `beside: true`, which gives the answers.

    P(IK), the probability that the model's answer is right, is predicted from the pretrained
    student's activations, by the classifier of `trust` on a slice of ground truth. A step of the
    smoothing replaces each label by 1 - `smoothing` of the weak label and `smoothing` of the mean
    label of the `k` nearest rows. Classifier, graph, smoothing and defaults are our choice.
    """

    kind: Literal["selective"] = "selective"
    truth: TruthSlice = TruthSlice()
    """The rows that P(IK) is trained on."""
    hidden: int = Field(default=0, ge=0, le=100_000)
    """Width of a hidden layer (ReLU) of P(IK). 0 = logistic regression."""
    l2: float = Field(default=1.0, gt=0, le=1e9)
    """Weight of the squared norm of its weights, over the number of rows of the slice."""
    least: float = Field(default=0.5, ge=0, le=2)
    """A row keeps the model's own answer from this P(IK) on. 0 = every row (`elicit`); above 1 =
    none."""
    k: int = Field(default=10, ge=1, le=1_000_000)
    """Number of neighbours, by Euclidean distance. With fewer rows, all of them."""
    smoothing: float = Field(default=0.5, ge=0, le=1)
    """Share of the neighbours' labels in a smoothed one. 0 = weak labels as they are."""
    steps: int = Field(default=1, ge=1, le=1000)
    """Steps of the smoothing."""

    takes_own_answers: ClassVar[bool] = True

    @property
    def truth_slice(self) -> TruthSlice:
        return self.truth

    def apply(self, rows: LabelledRows) -> LabelledRows:
        import numpy as np

        known = rows.known
        assert known is not None, "the transform has a truth slice"
        knows_N = right_probabilities(
            known.activations_SD,
            known.own_answers_SC.argmax(axis=1) == known.classes_S,
            rows.activations_ND,
            hidden=self.hidden,
            l2=self.l2,
            seed=rows.seed,
            of=f"the strong model's own answer on {self.truth.of}",
        )
        own_N1 = (knows_N >= self.least)[:, None]
        return rows.relabelled(np.where(own_N1, rows.own_answers_NC, self.smoothed(rows)))

    def smoothed(self, rows: LabelledRows) -> np.ndarray:
        """The smoothed weak labels, float64 [N, C]."""
        weak_NC = rows.labels_NC.astype("float64")
        near_NK, found_NC = neighbours(rows.activations_ND, self.k), weak_NC
        for _ in range(self.steps):
            mean_NC = found_NC[near_NK].mean(axis=1)
            found_NC = (1 - self.smoothing) * weak_NC + self.smoothing * mean_NC
        return found_NC
