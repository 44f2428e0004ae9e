"""The slice of ground truth that a transform of labels may use, and its rows.

Owns the setting that declares the slice. `fits/labels` draws its rows and gives a transform their
true classes and no others. Shapes: S rows of the slice, D width of the activations, C classes.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Literal

from pydantic import Field

from w2s_ray.errors import InputError
from w2s_ray.frozen import Frozen

if TYPE_CHECKING:
    import numpy as np


class TruthSlice(Frozen):
    """Rows whose true classes a transform gets, drawn by the fit's seed. It gets no others."""

    rows: int = Field(default=64, ge=2, le=1_000_000_000)
    """Number of rows."""
    of: Literal["supervisor_half", "student_half", "validation"] = "supervisor_half"
    """The part that they are drawn from. supervisor_half: rows whose true labels trained the
    supervisor, so that no further ones are needed; the table has a note. The supervisor is right
    there more often than elsewhere. student_half, validation: further true labels; the table
    marks the row as oracle."""

    def check(self, *, available: int) -> None:
        """Refuse a slice of more rows than its part has.

        Raises:
            InputError: it has fewer.
        """
        if self.rows > available:
            raise InputError(
                f"truth.rows is {self.rows:,}, but {self.of} has {available:,} rows; lower it, or "
                "set truth.of to another part"
            )

    @property
    def is_oracle(self) -> bool:
        """Whether it needs true labels beyond those of the supervisor."""
        return self.of != "supervisor_half"


@dataclass(frozen=True)
class KnownRows:
    """The rows of a slice, as a transform gets them."""

    classes_S: np.ndarray
    """True class of each row, int64."""
    all_labels: Callable[[], np.ndarray]
    """Returns the supervisor's class probabilities, float32, before any transform."""
    all_activations: Callable[[], np.ndarray]
    """Returns the pretrained model's activations of the rows."""
    all_supervisor_activations: Callable[[], np.ndarray]
    """Returns the supervisor's activations of the rows."""
    all_own_answers: Callable[[], np.ndarray]
    """Returns the prompted strong model's class probabilities, float32."""

    @cached_property
    def labels_SC(self) -> np.ndarray:
        """The supervisor's class probabilities."""
        return self.all_labels()

    @cached_property
    def own_answers_SC(self) -> np.ndarray:
        """The prompted strong model's class probabilities."""
        return self.all_own_answers()

    @cached_property
    def activations_SD(self) -> np.ndarray:
        """The pretrained model's activations of the rows."""
        return self.all_activations()

    @cached_property
    def supervisor_activations_SD(self) -> np.ndarray:
        """The supervisor's activations of the rows."""
        return self.all_supervisor_activations()
