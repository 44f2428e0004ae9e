"""Recipes: the hashed description of a run, and the unhashed facts needed to carry it out.

Identity is decided by type: a field that stands in a recipe is hashed, one that stands anywhere
else is not. A recipe names data by fingerprint and models by content, never by a path; where they
lie is a `ModelSource` or a store's business. It knows nothing of execution and of results.
"""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field, model_validator

from w2s_ray.config.forms import FormName
from w2s_ray.config.settings import Architecture, EarlyStopping, FitSettings, Training
from w2s_ray.config.stages import Prompt
from w2s_ray.errors import InputError
from w2s_ray.frozen import Frozen
from w2s_ray.identity import run_id
from w2s_ray.methods.losses import AnyLoss
from w2s_ray.methods.transforms import AnyTransform

Part = Literal["supervisor_half", "student_half", "validation", "test"]
"""The four disjoint parts of a split."""

PARTS: tuple[Part, ...] = ("supervisor_half", "student_half", "validation", "test")


class Labels(Frozen):
    """What a fit learns from. A run id says the same as a source of that one run."""

    source: Literal["ground_truth", "none"] | tuple[str, ...]
    """`ground_truth`; `none`, for a fit on text alone; or the ids of the fits whose predictions are
    the labels: the mean of their probabilities, where there are several."""
    transforms: tuple[AnyTransform, ...] = ()
    """What is done with the training rows' labels, in this order."""

    @model_validator(mode="before")
    @classmethod
    def _named(cls, value: Any) -> Any:
        if isinstance(value, str):
            return {"source": value if value in ("ground_truth", "none") else (value,)}
        return value

    @model_validator(mode="after")
    def _only_weak_labels_change(self) -> Labels:
        if self.transforms and not self.runs:
            raise InputError(
                f"transforms change weak labels, but the labels are {self.source}; leave them out"
            )
        return self

    @property
    def runs(self) -> tuple[str, ...]:
        """Ids of the fits whose predictions are the labels."""
        return () if isinstance(self.source, str) else self.source


class FitRecipe(Frozen):
    """One training of one model on one label set: everything that changes its numbers.

    Role (supervisor, ceiling, student) is not part of it.
    """

    split: str
    """Fingerprint of the task's split: its rows, labels and parts."""
    form: FormName = "classes"
    """What a row is."""
    train_on: Part
    """The half whose texts are trained on."""
    train_slice: tuple[int, int] | None = None
    """(i, n): the i-th, from 0, of n disjoint slices of that half, whole groups each; null = all of
    it."""
    model: str
    """Identity of the model that training begins with: `hub:NAME@COMMIT`, `sha256:DIGEST`, or
    `run:ID` (`run:ID@STEP`): the weights that a run left (at a step of it)."""
    labels: Labels
    """Where its labels come from."""
    training: Training
    loss: AnyLoss
    early_stopping: EarlyStopping | None = None
    seed: int
    """Seeds data order and every random draw of the fit."""
    prompt: Prompt | None = None
    """How the model is asked, where it is asked and not trained; null = it is trained."""
    predicts: tuple[Part, ...] = ("validation", "test")
    """Parts that the trained model predicts at its end; a supervisor adds the student's half. None:
    it is trained for its weights, which it leaves."""

    architecture: Architecture | None = None
    """What is pretrained, where training begins with no model's weights: `model` is then `new`."""
    checkpoints: tuple[int, ...] = ()
    """Steps after which weights are left along the way, for models named `run:ID@STEP`."""

    @property
    def run_id(self) -> str:
        return run_id(kind="fit", recipe=self.model_dump(mode="json"))

    @property
    def leaves_weights(self) -> bool:
        """Whether other fits may begin with its weights: a language model of running text, and what
        predicts nothing, for it is there for its weights alone.
        """
        return not self.has_labels or not self.predicts

    @property
    def has_labels(self) -> bool:
        """Whether it learns labels; a fit on running text has none."""
        return self.labels.source != "none"

    @property
    def settings(self) -> FitSettings:
        """The part of the recipe that a method or a search may choose."""
        return FitSettings(
            training=self.training, loss=self.loss, early_stopping=self.early_stopping
        )

    @property
    def learns_from_ground_truth(self) -> bool:
        return self.labels.source == "ground_truth"

    @property
    def parents(self) -> tuple[str, ...]:
        """Ids of the fits that it begins with or learns from."""
        return (*((self.begins_with,) if self.begins_with else ()), *self.labels.runs)

    @property
    def begins_with(self) -> str | None:
        """Id of the fit whose weights it begins with; None for a pretrained model."""
        name, _, run = self.model.partition(":")
        return run.partition("@")[0] if name == "run" else None

    def with_settings(self, settings: FitSettings) -> FitRecipe:
        """The same fit under other settings."""
        return self.model_copy(
            update={
                "training": settings.training,
                "loss": settings.loss,
                "early_stopping": settings.early_stopping,
            }
        )


class ModelSource(Frozen):
    """Where a pretrained model is loaded from. Not hashed: the recipe holds its identity."""

    name: str
    """The model's name in tables."""
    location: str
    """A folder, or a hub name."""
    revision: str | None = None
    """The hub commit; null for a folder."""
    identity: str = Field(min_length=1)
    """What the recipe holds: `hub:NAME@COMMIT` or `sha256:DIGEST`."""
    trust_remote_code: bool = False
    provisional: bool = False
    """True where a hub name could not be resolved to a commit; such a plan can't be run."""
