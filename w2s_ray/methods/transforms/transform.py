"""The base class of label transforms: settings, and a function of rows with labels.

Owns the interface between transforms and `fits`, which makes a fit's training data. A transform
gets labels and activations but no texts; it gets ground truth only as far as it declares its use.
Shapes: K supervisors, N rows, D width of the activations, C classes.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, ClassVar

from w2s_ray.frozen import Frozen
from w2s_ray.methods.transforms.known_rows import KnownRows, TruthSlice

if TYPE_CHECKING:
    import numpy as np


@dataclass(frozen=True)
class GroundTruth:
    """The input of a transform with `uses_ground_truth`, besides the labels."""

    classes_N: np.ndarray
    """True class of each row, int64."""
    words_N: np.ndarray
    """Whitespace-separated words of each row's texts, int64."""


@dataclass(frozen=True)
class LabelledRows:
    """Rows with their labels: the input and the output of transforms."""

    labels_NC: np.ndarray
    """Class probabilities, float32."""
    rows_N: np.ndarray
    """Indices of these rows among all rows before the first transform, int64."""
    all_activations: Callable[[], np.ndarray]
    """Returns the pretrained model's activations of all rows before the first transform."""
    all_ground_truth: Callable[[], GroundTruth] | None = None
    """Returns the ground truth of all rows before the first transform; None for transforms without
    `uses_ground_truth`."""
    seed: tuple[int, ...] = ()
    """Seeds of a transform's random draws: the fit's seed and the part of the split."""
    all_groups: Callable[[], np.ndarray] | None = None
    """Returns the number of the group of each row before the first transform, int64, -1 without a
    group; None if the groups are not known."""
    labels_KNC: np.ndarray | None = None
    """Class probabilities of each of several supervisors, float32; `labels_NC` is their mean. None
    after a transform has given the rows other labels."""
    weights_N: np.ndarray | None = None
    """How much each row counts in the loss, float32; None = all alike."""
    all_supervisor_activations: Callable[[], np.ndarray] | None = None
    """Returns the supervisor's activations of all rows before the first transform, for transforms
    with `reads_supervisor`."""
    known: KnownRows | None = None
    """The rows of the transform's `truth_slice`; None for transforms without one."""
    all_own_answers: Callable[[], np.ndarray] | None = None
    """Returns the prompted strong model's class probabilities of all rows before the first
    transform, for transforms with `takes_own_answers`."""
    student_NC: np.ndarray | None = None
    """Class probabilities by an earlier student of the same method, float32; None where there is
    none."""

    @cached_property
    def activations_ND(self) -> np.ndarray:
        """The pretrained model's activations of these rows."""
        return self.all_activations()[self.rows_N]

    @cached_property
    def supervisor_activations_ND(self) -> np.ndarray:
        """The last hidden states that the only supervisor has of these rows, after its training."""
        assert self.all_supervisor_activations is not None, "it must set `reads_supervisor`"
        return self.all_supervisor_activations()[self.rows_N]

    @property
    def own_answers_NC(self) -> np.ndarray:
        """The prompted strong model's class probabilities of these rows, float32."""
        assert self.all_own_answers is not None, "the transform must set `takes_own_answers`"
        return self.all_own_answers()[self.rows_N]

    @property
    def groups_N(self) -> np.ndarray:
        """Number of the group of each row, int64; -1 = no group."""
        assert self.all_groups is not None, "the rows have no groups"
        return self.all_groups()[self.rows_N]

    @property
    def of_each_KNC(self) -> np.ndarray:
        """The labels of each supervisor; of one, the labels."""
        return self.labels_NC[None] if self.labels_KNC is None else self.labels_KNC

    @property
    def of_student_NC(self) -> np.ndarray:
        """The labels of the earlier student; without one, the labels."""
        return self.labels_NC if self.student_NC is None else self.student_NC

    @property
    def ground_truth(self) -> GroundTruth:
        """The ground truth of these rows."""
        assert self.all_ground_truth is not None, "the transform must set `uses_ground_truth`"
        truth = self.all_ground_truth()
        return replace(
            truth, classes_N=truth.classes_N[self.rows_N], words_N=truth.words_N[self.rows_N]
        )

    def keeping(self, kept_N: np.ndarray) -> LabelledRows:
        """The rows for which `kept_N` is true."""
        each_KNC, weights_N, student_NC = self.labels_KNC, self.weights_N, self.student_NC
        return replace(
            self,
            labels_NC=self.labels_NC[kept_N],
            rows_N=self.rows_N[kept_N],
            labels_KNC=None if each_KNC is None else each_KNC[:, kept_N],
            weights_N=None if weights_N is None else weights_N[kept_N],
            student_NC=None if student_NC is None else student_NC[kept_N],
        )

    def relabelled(self, labels_NC: np.ndarray) -> LabelledRows:
        """The same rows with other labels."""
        import numpy as np

        return replace(self, labels_NC=labels_NC.astype(np.float32), labels_KNC=None)

    def weighted(self, weights_N: np.ndarray) -> LabelledRows:
        """The same rows, each of which counts this much more or less than before.

        Raises:
            ValueError: a weight that is negative or not finite.
        """
        import numpy as np

        if not (np.isfinite(weights_N).all() and (weights_N >= 0).all()):
            raise ValueError("weights of rows must be finite and at least 0")
        earlier = 1.0 if self.weights_N is None else self.weights_N
        return replace(self, weights_N=(earlier * weights_N).astype(np.float32))


class Transform(Frozen):
    """A change of weak labels before training. A subclass sets `kind` and overrides `apply`.

    A search names its settings `stages.KIND.SETTING`.
    """

    uses_ground_truth: ClassVar[bool] = False
    """Whether it simulates a supervisor from ground truth. Such a transform gets the ground truth
    of the rows, and tables mark its students as oracle."""
    keeps_labels: ClassVar[bool] = False
    """Whether the labels of the remaining rows stay as they are, also each supervisor's."""
    labels_validation: ClassVar[bool] = False
    """Whether validation rows, too, get its labels in place of the supervisor's."""
    reads_supervisor: ClassVar[bool] = False
    """Whether it reads the hidden states of the only supervisor, which must be a trained model. The
    supervisor then keeps its weights in the store."""
    takes_own_answers: ClassVar[bool] = False
    """Whether it needs the prompted strong model's answers (stage `elicit` with `beside`)."""
    of_chains: ClassVar[bool] = False
    """Whether a stage that is a series of students adds it, so that a sweep file can't list it. It
    may use the labels of an earlier student."""

    @property
    def takes_each_supervisor(self) -> bool:
        """Whether it needs the labels of each of several supervisors (`labels_KNC`)."""
        return False

    @property
    def truth_slice(self) -> TruthSlice | None:
        """The rows whose true classes it gets; None = it gets none, as in a plugin."""
        return None

    def apply(self, rows: LabelledRows) -> LabelledRows:
        """The remaining rows with their new labels."""
        raise NotImplementedError(f"{type(self).__name__} doesn't override apply")

    def apply_to_validation(self, rows: LabelledRows) -> LabelledRows:
        """All validation rows with their new labels; called if `labels_validation`."""
        return self.apply(rows)
