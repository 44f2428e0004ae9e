"""Labels of several supervisors, combined by each one's confusion matrix."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from pydantic import Field

from w2s_ray.methods.transforms.transform import LabelledRows, Transform

if TYPE_CHECKING:
    import numpy as np


class DawidSkene(Transform):
    """Replace labels by the posterior of a model in which each supervisor has a confusion matrix
    (Dawid and Skene 1979), fitted by expectation maximization. Needs the stage `ensemble`.

    Supervisors are taken to err independently, given the true class. It starts from the mean vote.
    With one or two supervisors the confusion matrices are not determined by the labels. Soft votes
    that lie close together hardly tell the classes apart, and the posterior may then end in one
    class for every row: set `votes: hard`.
    """

    kind: Literal["dawid_skene"] = "dawid_skene"
    iterations: int = Field(default=50, ge=1, le=10_000)
    """Most steps of expectation maximization; fewer if the labels no longer change."""
    smoothing: float = Field(default=1.0, ge=1e-6, le=1_000_000)
    """Rows added to each entry of a confusion matrix, and to each class."""
    votes: Literal["soft", "hard"] = Field(default="soft", exclude_if=lambda votes: votes == "soft")
    """soft: a label's probabilities are shares of a vote. hard: a vote for its most probable class,
    as in Dawid and Skene's model."""

    @property
    def takes_each_supervisor(self) -> bool:
        return True

    def apply(self, rows: LabelledRows) -> LabelledRows:
        each_KNC = rows.labels_KNC if rows.labels_KNC is not None else rows.labels_NC[None]
        return rows.relabelled(self.posterior(each_KNC))

    def posterior(self, labels_KNC: np.ndarray) -> np.ndarray:
        """The class probabilities [N, C] of rows with these labels by each supervisor.

        The evidence of a soft vote is the mean log-likelihood under the label.
        """
        import numpy as np

        votes_KNC = labels_KNC.astype(np.float64)
        if self.votes == "hard":
            votes_KNC = np.eye(votes_KNC.shape[2])[votes_KNC.argmax(axis=2)]
        found_NC = votes_KNC.mean(axis=0)
        for _ in range(self.iterations):
            prior_C = found_NC.sum(axis=0) + self.smoothing
            counts_KCC = np.einsum("nt,knl->ktl", found_NC, votes_KNC) + self.smoothing
            confusion_KCC = counts_KCC / counts_KCC.sum(axis=2, keepdims=True)
            log_NC = np.log(prior_C / prior_C.sum()) + np.einsum(
                "knl,ktl->nt", votes_KNC, np.log(confusion_KCC)
            )
            raised_NC = np.exp(log_NC - log_NC.max(axis=1, keepdims=True))
            earlier_NC, found_NC = found_NC, raised_NC / raised_NC.sum(axis=1, keepdims=True)
            if np.abs(found_NC - earlier_NC).max() < 1e-6:
                break
        return found_NC
