"""Keeps the rows whose weak label a function of the supervisor's hidden states trusts."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import Field

from w2s_ray.methods.transforms.known_rows import TruthSlice
from w2s_ray.methods.transforms.row_classifier import right_probabilities
from w2s_ray.methods.transforms.transform import LabelledRows, Transform

if TYPE_CHECKING:
    import numpy as np


class Trust(Transform):
    """Keep the rows that a trust function trusts most (neural trust functions, Uzunoğlu et al.
    2026, arXiv 2606.01000).

    The trust of a row is the probability that the supervisor's most probable class is right. A
    network with one hidden layer predicts it from the supervisor's last hidden states, scaled by
    mean and spread over the slice. It is trained on a slice of ground truth: cross-entropy plus
    `l2` / 2 times the squared norm of its weights, by L-BFGS. Needs a single, trained supervisor,
    which keeps its weights in the store. With `bootstrap` and `iterate` each student is the next
    one's supervisor, with a trust function of its own (the paper's chain). Sizes and defaults are
    our choice.
    """

    kind: Literal["trust"] = "trust"
    truth: TruthSlice = TruthSlice()
    """The rows that the trust function is trained on."""
    hidden: int = Field(default=32, ge=0, le=100_000)
    """Width of the hidden layer (ReLU). 0 = logistic regression."""
    l2: float = Field(default=1.0, gt=0, le=1e9)
    """Weight of the squared norm of the weights, over the number of rows of the slice."""
    share: float = Field(default=0.5, gt=0, le=1)
    """Largest share of the rows to keep, those with the most trust; at least one."""
    least: float = Field(default=0.0, ge=0, lt=1)
    """Drop rows with less trust than this. With `share: 1` it alone decides."""

    keeps_labels: ClassVar[bool] = True
    reads_supervisor: ClassVar[bool] = True

    @property
    def truth_slice(self) -> TruthSlice:
        return self.truth

    def apply(self, rows: LabelledRows) -> LabelledRows:
        import numpy as np

        trust_N = self.trust(rows)
        most = max(1, round(self.share * len(trust_N)))
        kept_N = np.zeros(len(trust_N), dtype=bool)
        kept_N[np.argsort(-trust_N, kind="stable")[:most]] = True
        return rows.keeping(kept_N & (trust_N >= self.least))

    def trust(self, rows: LabelledRows) -> np.ndarray:
        """The trust of each row, float64 [N]."""
        known = rows.known
        assert known is not None, "the transform has a truth slice"
        return right_probabilities(
            known.supervisor_activations_SD,
            known.labels_SC.argmax(axis=1) == known.classes_S,
            rows.supervisor_activations_ND,
            hidden=self.hidden,
            l2=self.l2,
            seed=rows.seed,
            of=f"the supervisor's label on {self.truth.of}",
        )
