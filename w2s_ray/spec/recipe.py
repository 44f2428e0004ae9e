"""Recipes: the hashed description of a run, and the unhashed facts needed to carry it out.

Identity is decided by type: a field that stands in a recipe is hashed, one that stands anywhere
else is not. A recipe names data by fingerprint and models by content, never by a path; where they
lie is a `ModelSource` or a store's business. It knows nothing of execution and of results.
"""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field

from w2s_ray.identity import run_id
from w2s_ray.spec.merge import with_settings
from w2s_ray.spec.settings import EarlyStopping, FitSettings, Frozen, Loss, Training
from w2s_ray.spec.space import Choices

Part = Literal["supervisor_half", "student_half", "validation", "test"]
"""The four disjoint parts of a split."""

PARTS: tuple[Part, ...] = ("supervisor_half", "student_half", "validation", "test")


class FitRecipe(Frozen):
    """One training of one model on one label set: everything that changes its numbers.

    Role (supervisor, ceiling, student) is not part of it.
    """

    split: str
    """Fingerprint of the task's split: its rows, labels and parts."""
    train_on: Part
    """The half whose texts are trained on."""
    model: str
    """Content identity of the pretrained model: `hub:NAME@COMMIT` or `sha256:DIGEST`."""
    labels: str
    """`ground_truth`, or the run id of the fit whose predictions are the labels."""
    training: Training
    loss: Loss
    early_stopping: EarlyStopping | None = None
    seed: int
    """Seeds data order and every random draw of the fit."""
    predicts: tuple[Part, ...] = ("validation", "test")
    """Parts that the trained model predicts at its end; a supervisor adds the student's half."""

    @property
    def run_id(self) -> str:
        return run_id(kind="fit", recipe=self.model_dump(mode="json"))

    @property
    def settings(self) -> FitSettings:
        """The part of the recipe that a method or a search may choose."""
        return FitSettings(
            training=self.training, loss=self.loss, early_stopping=self.early_stopping
        )

    @property
    def learns_from_ground_truth(self) -> bool:
        return self.labels == "ground_truth"

    def with_settings(self, settings: FitSettings) -> FitRecipe:
        """The same fit under other settings."""
        return self.model_copy(
            update={
                "training": settings.training,
                "loss": settings.loss,
                "early_stopping": settings.early_stopping,
            }
        )


class StudyRecipe(Frozen):
    """The search of one method's settings over one cell or several.

    A trial trains one fit for each cell, and each fit has an id of its own. The study's result is
    the winner's settings.
    """

    cells: tuple[FitRecipe, ...] = Field(min_length=1)
    """The fits that a trial trains, before the trial's settings are put in."""
    space: dict[str, Choices]
    """Dotted setting -> what to try."""
    trials: int
    objective: Literal["transfer", "weak_validation", "oracle"]
    metric: Literal["accuracy", "log_loss"]
    cost: bool = False
    """Whether a trial's training FLOPs are a second objective."""
    sampler: Literal["tpe", "random", "grid", "gp", "nsga2"]
    scheduler: Literal["none", "asha", "median"]
    grace_evaluations: int
    reduction_factor: float
    concurrent_trials: int
    seed: int
    warm_start: tuple[str, ...] = ()
    """Ids of the studies whose winners' settings are tried first, in this order."""

    @property
    def run_id(self) -> str:
        return run_id(kind="study", recipe=self.model_dump(mode="json"))

    def trial_fits(self, settings: dict[str, Any]) -> tuple[FitRecipe, ...]:
        """The fits of the trial that tries `settings` (dotted)."""
        return tuple(_tried(cell, settings) for cell in self.cells)


def _tried(fit: FitRecipe, settings: dict[str, Any]) -> FitRecipe:
    return fit.with_settings(with_settings(fit.settings, settings, where="search"))


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
