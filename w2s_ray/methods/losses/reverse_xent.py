"""Reverse cross-entropy, symmetric cross-entropy, and the choice between directions by confidence.

The three losses of "reverse" weak-to-strong training. Shapes: B rows, N training rows, C classes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal, Self

from pydantic import Field, model_validator

from w2s_ray.errors import InputError
from w2s_ray.methods.losses.loss import Loss, certainty, cross_entropy

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor

LEAST_LOG = -100.0
"""Smallest logarithm of a label, as in torch's binary cross-entropy."""

Smoothing = Annotated[float, Field(ge=0, le=1)]


def reverse_cross_entropy(logits_BC: Tensor, labels_BC: Tensor, *, smoothing: float) -> Tensor:
    """loss_B = -sum_c p_c log w_c, with p the student's and w the smoothed labels."""
    smoothed_BC = labels_BC.float() * (1.0 - smoothing) + smoothing / labels_BC.shape[1]
    log_BC = smoothed_BC.log().clamp(min=LEAST_LOG)
    return -(logits_BC.float().softmax(dim=1) * log_BC).sum(dim=1)


class ReverseXentLoss(Loss):
    """Reverse cross-entropy: labels and student change places (Yao et al. 2025, arXiv 2502.11107).

    It is `kl` with `direction: reverse` without the student's own entropy. Its gradient is small
    where the label is uncertain, so that such rows teach little.
    """

    kind: Literal["reverse_xent"] = "reverse_xent"
    smoothing: Smoothing = 0.0
    """Share of the uniform distribution that is mixed into the labels, whose logarithm is taken.
    With 0 it is bounded below by -100."""

    def each(
        self, logits_BC: Tensor, labels_BC: Tensor, *, statistic: Tensor | None, progress: float
    ) -> Tensor:
        return reverse_cross_entropy(logits_BC, labels_BC, smoothing=self.smoothing)


class SymmetricXentLoss(Loss):
    """A weighted sum of cross-entropy and reverse cross-entropy (Xu et al. 2025, arXiv 2505.24313;
    Wang et al. 2019).
    """

    kind: Literal["symmetric_xent"] = "symmetric_xent"
    forward: float = Field(default=1.0, ge=0, le=1000)
    """Weight of cross-entropy."""
    reverse: float = Field(default=0.1, ge=0, le=1000)
    """Weight of reverse cross-entropy."""
    smoothing: Smoothing = 0.0
    """As in `reverse_xent`."""

    @model_validator(mode="after")
    def _has_a_part(self) -> Self:
        if self.forward == 0 and self.reverse == 0:
            raise InputError("symmetric_xent has forward 0 and reverse 0; raise one of them")
        return self

    def each(
        self, logits_BC: Tensor, labels_BC: Tensor, *, statistic: Tensor | None, progress: float
    ) -> Tensor:
        reverse_B = reverse_cross_entropy(logits_BC, labels_BC, smoothing=self.smoothing)
        return self.forward * cross_entropy(logits_BC, labels_BC) + self.reverse * reverse_B


class CACELoss(Loss):
    """Confidence-adaptive cross-entropy: forward for rows with certain labels, else reverse (Xu et
    al. 2025, arXiv 2505.24313).

    A label's certainty is its largest probability minus 1/C; with two classes, its distance from
    one half.
    """

    kind: Literal["cace"] = "cace"
    certain_from: float = Field(default=0.01, ge=0, le=1)
    """Least certainty of a label for cross-entropy. The authors' code has 0.01 and 0.1."""
    uncertain_share: Annotated[float, Field(gt=0, lt=1)] | None = None
    """Set `certain_from` to the certainty that this share of the training rows' labels lies below
    (the authors' deciles). null = `certain_from` as it is."""
    smoothing: Smoothing = 0.0
    """As in `reverse_xent`."""

    @model_validator(mode="after")
    def _one_threshold(self) -> Self:
        default = type(self).model_fields["certain_from"].default
        if self.uncertain_share is not None and self.certain_from != default:
            raise InputError(
                f"cace has certain_from {self.certain_from} and uncertain_share "
                f"{self.uncertain_share}, which both set its threshold; remove one"
            )
        return self

    def prepared(self, labels_NC: np.ndarray) -> Self:
        import numpy as np

        if self.uncertain_share is None:
            return self
        certainty_N = labels_NC.astype(np.float64).max(axis=1) - 1 / labels_NC.shape[1]
        bound = float(np.quantile(certainty_N, self.uncertain_share))
        return self.model_copy(update={"certain_from": bound, "uncertain_share": None})

    def each(
        self, logits_BC: Tensor, labels_BC: Tensor, *, statistic: Tensor | None, progress: float
    ) -> Tensor:
        assert self.uncertain_share is None, "prepared() must replace uncertain_share"
        certain_B = certainty(labels_BC) >= self.certain_from
        return cross_entropy(logits_BC, labels_BC).where(
            certain_B, reverse_cross_entropy(logits_BC, labels_BC, smoothing=self.smoothing)
        )
