"""Recipes: the hashed description of a run. And model sources, which are not hashed.

Owns what a run's id depends on: every field of a recipe is hashed, and nothing else is. A recipe
refers to data by fingerprint and to models by content, never by path; a `ModelSource` holds the
path. It holds no execution settings and no results.
"""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field, field_serializer, model_validator

from w2s_ray.config.forms import FORMS, FormName
from w2s_ray.config.settings import EarlyStopping, FitSettings, PretrainArchitecture, Training
from w2s_ray.config.stages import Completions, Prompt
from w2s_ray.errors import InputError
from w2s_ray.frozen import Frozen
from w2s_ray.identity import run_id
from w2s_ray.methods.extractors import AnyExtractor, Exact, is_default
from w2s_ray.methods.losses import AnyLoss, Loss
from w2s_ray.methods.transforms import AnyTransform

Part = Literal["supervisor_half", "student_half", "validation", "test"]
"""The four disjoint parts of a split."""

BUCKET_BATCHES = 16
"""Batches that are sorted by length together, if a recipe doesn't set the number."""

PARTS: tuple[Part, ...] = ("supervisor_half", "student_half", "validation", "test")


def default_bucket_batches(loss: type[Loss]) -> int:
    """How many batches are sorted by length together under a loss, if a recipe doesn't say."""
    return 1 if loss.needs_whole_batch else BUCKET_BATCHES


class Labels(Frozen):
    """The labels that a fit is trained on. A run id is short for a source of that one run."""

    source: Literal["ground_truth", "random", "none"] | tuple[str, ...]
    """`ground_truth`; `random`, one of two classes by chance; `none`, for language modelling; or
    the ids of the fits whose predictions are the labels. With several fits, the label is the mean
    of their probabilities."""
    transforms: tuple[AnyTransform, ...] = ()
    """Transforms of the training rows' labels, applied in this order."""
    own_answers: str | None = Field(default=None, exclude_if=lambda run: run is None)
    """Id of the fit that prompted the strong model for labels of its own, for transforms that use
    both; null = none."""
    weighted_by: Literal["boosting"] | None = Field(default=None, exclude_if=lambda by: by is None)
    """boosting: the mean's weights are the votes of a boosted series of fits, from their errors on
    the supervisor's half. null = equal weights."""
    student: str | None = Field(default=None, exclude_if=lambda run: run is None)
    """Id of an earlier student of the same method, whose predictions a transform uses, too."""
    least_share: float = Field(default=0.0, exclude_if=lambda share: share == 0)
    """Training rows are dropped where the label has a smaller share of the source's samples."""
    agreed_with: str | None = Field(default=None, exclude_if=lambda run: run is None)
    """Id of a fit; training rows are dropped where its answer is not the label's."""
    learned: Literal["both", "weak", "strong"] = Field(
        default="both", exclude_if=lambda learned: learned == "both"
    )
    """Which completions of agreeing fits are learned; strong are those of `agreed_with`."""

    @model_validator(mode="before")
    @classmethod
    def _from_source(cls, value: Any) -> Any:
        if isinstance(value, str):
            return {"source": value if value in ("ground_truth", "random", "none") else (value,)}
        return value

    @model_validator(mode="after")
    def _only_weak_labels_change(self) -> Labels:
        if self.transforms and not self.runs:
            raise InputError(
                f"transforms change weak labels, but the labels are {self.source}; remove them"
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
    """The half of the training rows that is trained on."""
    train_slice: tuple[int, int] | None = None
    """(i, n): slice i, from 0, of n disjoint slices of that half. Groups of rows are not divided.
    null = the whole half."""
    slices: Literal["by_place", "drawn"] = Field(
        default="by_place", exclude_if=lambda slices: slices == "by_place"
    )
    """How rows are divided into slices. drawn: at random. by_place: in the order of the part, as in
    fits of earlier versions, whose first and last slices were mostly of one class."""
    one_row_in: int | None = Field(default=None, exclude_if=lambda count: count is None)
    """One row in this many of these rows is trained on, drawn by the seed; null = all."""
    model: str
    """Identity of the model that training starts from: `hub:NAME@COMMIT`, `sha256:DIGEST`, or
    `run:ID` (`run:ID@STEP`), the weights of a run at its end (at a step)."""
    head: str | None = Field(default=None, exclude_if=lambda run: run is None)
    """Id of the fit whose head training starts from; null = a new head, of zeros."""
    labels: Labels
    """The labels that it is trained on."""
    boosted_after: tuple[str, ...] = Field(default=(), exclude_if=lambda runs: not runs)
    """Ids of the earlier fits of a boosted series, whose errors on the training rows weight these
    rows; empty = all rows count alike."""
    training: Training
    loss: AnyLoss
    early_stopping: EarlyStopping | None = None
    seed: int
    """Seeds data order and every random draw of the fit."""
    prompt: Prompt | None = None
    """The prompt, if the model is prompted and not trained; null = it is trained."""
    extract: AnyExtractor = Field(default=Exact(), exclude_if=is_default)
    """How the answers in completions are found."""
    completions: Completions | None = Field(default=None, exclude_if=lambda given: given is None)
    """How the parts in `predicts` are completed at the end; null = by the most probable completion
    of each prompt, without examples, as in every evaluation."""
    trained: bool = Field(default=True, exclude_if=lambda trained: trained)
    """false: the model predicts as it starts, with a head of zeros, and nothing is trained."""
    predicts: tuple[Part, ...] = ("validation", "test")
    """Parts that the trained model predicts at the end; a supervisor adds the student's half.
    Empty = the fit is trained only for its weights, which are kept."""

    architecture: PretrainArchitecture | None = None
    """The architecture to pretrain from random weights; `model` is then `new`."""
    checkpoints: tuple[int, ...] = ()
    """Steps whose weights are kept, for models named `run:ID@STEP`."""

    @property
    def run_id(self) -> str:
        return run_id(kind="fit", recipe=self.model_dump(mode="json"))

    @property
    def trained_form(self) -> FormName:
        """The form in which its rows are trained: their own, or `policies` for pairs."""
        return FORMS[self.form].trained_as(self.training)

    @property
    def bucket_batches(self) -> int:
        """Batches that are drawn together and sorted by length; 1 = plain shuffling."""
        given = self.training.bucket_batches
        if given is not None:
            return given
        return default_bucket_batches(type(self.loss))

    @field_serializer("training")
    def _with_bucket_batches(self, training: Training) -> Training:
        return training.model_copy(update={"bucket_batches": self.bucket_batches})

    @property
    def keeps_weights(self) -> bool:
        """Whether other fits may start from its weights: true for language models of running text
        and for fits that predict nothing.
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
        """Ids of the fits that it starts from or whose predictions it uses."""
        labels = self.labels
        before = (self.initial_run, self.head, labels.student, *self.boosted_after)
        runs = (*before, *labels.runs, labels.own_answers, labels.agreed_with)
        return tuple(dict.fromkeys(run for run in runs if run is not None))

    @property
    def read_runs(self) -> tuple[str, ...]:
        """The fit whose hidden states its transforms read, or none."""
        reads = any(transform.reads_supervisor for transform in self.labels.transforms)
        return self.labels.runs if reads else ()

    @property
    def initial_run(self) -> str | None:
        """Id of the fit whose weights it starts from; None for a pretrained model."""
        name, _, run = self.model.partition(":")
        return run.partition("@")[0] if name == "run" else None

    def with_settings(self, settings: FitSettings) -> FitRecipe:
        """The same fit with other settings."""
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
    """The model in a recipe: `hub:NAME@COMMIT` or `sha256:DIGEST`."""
    trust_remote_code: bool = False
    head: str | None = None
    """A folder with the head that training starts from; null = a new head, of zeros."""
    provisional: bool = False
    """True if its files are unknown (a hub name that could not be resolved to a commit, a missing
    feature file); such a plan can't be run."""
    note: str = ""
    """Why it is provisional."""
