"""What every label transform is: settings, and what it makes of the labels of the rows.

Owns the contract between a transform and the making of a fit's data. A transform sees labels and
activations, never a text, and ground truth only where it is declared to. Shapes: N rows, D width of
the activations, C classes.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, ClassVar

from w2s_ray.frozen import Frozen

if TYPE_CHECKING:
    import numpy as np


@dataclass(frozen=True)
class Told:
    """What a transform that `sees_truth` is told of rows besides their labels."""

    truth_N: np.ndarray
    """Class of each row, int64."""
    words_N: np.ndarray
    """Whitespace-separated words of each row's texts, int64."""
    seed: tuple[int, ...]
    """Seeds its random draws; of the fit and of the part of the split."""


@dataclass(frozen=True)
class Labelled:
    """Rows with their labels, as far as a transform may know them."""

    labels_NC: np.ndarray
    """Class probabilities, float32."""
    rows_N: np.ndarray
    """Places of these rows among those that there were at first, int64."""
    activate: Callable[[], np.ndarray]
    """Gives the pretrained model's activations of all rows that there were at first."""
    tell: Callable[[], Told] | None = None
    """Tells of all rows that there were at first; None for a transform that may not see truth."""

    @cached_property
    def activations_ND(self) -> np.ndarray:
        """The pretrained model's activations of these rows."""
        return self.activate()[self.rows_N]

    @property
    def told(self) -> Told:
        """What is told of these rows."""
        assert self.tell is not None, "a transform without `sees_truth` asks for the truth"
        every = self.tell()
        return replace(
            every, truth_N=every.truth_N[self.rows_N], words_N=every.words_N[self.rows_N]
        )

    def keeping(self, kept_N: np.ndarray) -> Labelled:
        """Only the rows where `kept_N` is true."""
        return replace(self, labels_NC=self.labels_NC[kept_N], rows_N=self.rows_N[kept_N])

    def relabelled(self, labels_NC: np.ndarray) -> Labelled:
        """The same rows with other labels."""
        import numpy as np

        return replace(self, labels_NC=labels_NC.astype(np.float32))


class Transform(Frozen):
    """A change of weak labels before training. A subclass names its `kind`, and gives `apply`.

    Its settings are searched by `stages.KIND.SETTING`.
    """

    sees_truth: ClassVar[bool] = False
    """Whether it stands for a supervisor and is made from ground truth: it is told of its rows,
    labels validation too, and its student is an oracle."""

    def apply(self, rows: Labelled) -> Labelled:
        """The rows that are left, with the labels that they have now."""
        raise NotImplementedError(f"{type(self).__name__} gives no apply")
