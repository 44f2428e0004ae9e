"""The stages of a method: what happens between the supervisor and the student that is reported.

Owns the settings of each stage. Label transforms are stages too, and stand with what they compute.
How stages become fits is `chain`'s business.
"""

from __future__ import annotations

from functools import reduce
from operator import or_
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field, model_validator

from w2s_ray.config.names import Line, Name, Seed
from w2s_ray.errors import InputError
from w2s_ray.frozen import Frozen
from w2s_ray.methods.transforms import Transform


def kind_of(stage: Frozen) -> str:
    """The name of a stage in a sweep file."""
    return str(type(stage).model_fields["kind"].default)


class GenerativeStage(Frozen):
    """Language modelling on the task's text, without labels, before the labels are learnt.

    Every student on the way gets it, and so does the ceiling: with the very weights of the student.
    Where a search chooses these settings, the ceiling keeps those that stand here.
    """

    kind: Literal["generative"] = "generative"
    epochs: int = Field(default=1, ge=1, le=100_000)
    """Passes over the text of the student's half."""
    lr: float | None = Field(default=None, gt=0, le=1000)
    """Peak learning rate; null = that of the student's training."""
    batch_size: int | None = Field(default=None, ge=1, le=10_000_000)
    """Rows per step; null = that of the student's training."""


class EnsembleStage(Frozen):
    """Several supervisors label together: the mean of their probabilities."""

    kind: Literal["ensemble"] = "ensemble"
    supervisors: tuple[Name, ...] = ()
    """Models whose supervisors label beside the pair's own, by their names in the sweep."""
    seeds: tuple[Seed, ...] = ()
    """Seeds of further supervisors of the pair's own weak model."""

    @model_validator(mode="after")
    def _more_than_one(self) -> EnsembleStage:
        if not self.supervisors and not self.seeds:
            raise InputError("ensemble has one supervisor; name more in supervisors or seeds")
        return self


class BootstrapStage(Frozen):
    """Models between the weak and the strong one, each taught by the one before.

    Each is trained as the method says, with its own model's settings.
    """

    kind: Literal["bootstrap"] = "bootstrap"
    through: tuple[Name, ...] = ()
    """The models in between, weakest first; empty = `between` of the sweep's."""
    between: int = Field(default=1, ge=1, le=1000)
    """How many of the sweep's models between the two, evenly spread; all where there are fewer, so
    that a pair of neighbours is taught directly."""
    fresh: bool = True
    """Each step labels and trains on a slice of the student's half of its own; false = all on all
    of it."""


class IterateStage(Frozen):
    """Strong-to-strong: the student labels, and a fresh student learns from it."""

    kind: Literal["iterate"] = "iterate"
    times: int = Field(default=1, ge=1, le=100)
    """Fresh students after the first (EleutherAI: 2)."""


class Prompt(Frozen):
    """How a language model is asked for a row's class; nothing is trained."""

    shots: int = Field(default=0, ge=0, le=64)
    """Rows of the training part shown before the question, as many of each class as there are: 0 =
    none, the paper: 5."""
    question: str = Field(default="Answer:", max_length=10_000)
    """Stands after each text, on a line of its own."""
    words: tuple[Line, Line] = ("no", "yes")
    """What stands for class 0 and class 1 after the question; the model's probabilities of the two
    are compared."""


class PromptStage(Prompt):
    """The strong model is asked instead of trained, zero-shot or with examples in its context."""

    kind: Literal["prompt"] = "prompt"
    labels: Literal["weak", "ground_truth"] = "weak"
    """Labels of the examples. With ground truth the student knows what no method may know, and the
    table shows it as an oracle."""


class LinearProbeStage(Frozen):
    """What is reported is a linear probe with ground truth on frozen activations, in place of the
    student.

    It knows what no method may know, and the table shows it as an oracle. It learns from the
    student's half; how long and how fast is ours to choose.
    """

    kind: Literal["linear_probe"] = "linear_probe"
    of: Literal["pretrained", "student"] = "student"
    """Whose activations: those of the model that the student begins with, or the student's after it
    has learnt the weak labels. That one is trained for the probe and leaves its weights."""
    epochs: int = Field(default=5, ge=1, le=100_000)
    """Passes over the rows."""
    lr: float = Field(default=1e-2, gt=0, le=1000)
    """Peak learning rate of the head."""
    batch_size: int | None = Field(default=None, ge=1, le=10_000_000)
    """Rows per step; null = that of the student's training."""


if TYPE_CHECKING:
    Stage = (
        GenerativeStage
        | EnsembleStage
        | BootstrapStage
        | IterateStage
        | PromptStage
        | LinearProbeStage
        | Transform
    )
else:
    Stage = Annotated[
        reduce(
            or_,
            (
                GenerativeStage,
                EnsembleStage,
                BootstrapStage,
                IterateStage,
                PromptStage,
                LinearProbeStage,
                *Transform.__subclasses__(),
            ),
        ),
        Field(discriminator="kind"),
    ]
