"""The base class of the forms of tasks: columns, properties of rows, and checks of settings.

Owns the interface that the sweep file, the readers of rows and the plan use. A form is one file in
this folder, without torch. Its training is in `learn/forms`, and the conversion of its rows to
training data is in `fits/forms`. Other code reads the properties of a form and never its name.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from w2s_ray.config.space import branches
from w2s_ray.config.stages import (
    AgreedAnswersStage,
    LinearProbeStage,
    Prompt,
    RandomLabelsStage,
    SelfConsistencyStage,
    Stage,
    TruthStage,
    UntrainedStage,
    kind_of,
)
from w2s_ray.errors import InputError
from w2s_ray.methods.extractors import is_default
from w2s_ray.methods.losses import Loss

if TYPE_CHECKING:
    from w2s_ray.config.declared import Method, Model
    from w2s_ray.config.settings import Training
    from w2s_ray.config.sweep import Sweep


@dataclass(frozen=True)
class ColumnSet:
    """Columns of a file that make a row of a form."""

    needed: frozenset[str]
    optional: frozenset[str] = frozenset()

    def is_met_by(self, given: Collection[str]) -> bool:
        """Whether `given` has all needed columns and no other but optional ones."""
        return self.needed <= set(given) <= self.needed | self.optional


class Form:
    """A form of task. A subclass sets its name, its columns and the properties that differ."""

    name: ClassVar[str]
    columns: ClassVar[tuple[ColumnSet, ...]]
    columns_in_words: ClassVar[str]
    """The columns as text, for errors."""
    labels_in_words: ClassVar[str | None] = None
    """The labels of rows as text, for errors; None = one of two classes."""
    texts: ClassVar[int] = 1
    """Number of texts in a row."""
    is_language: ClassVar[bool] = False
    """Whether a causal language model is trained with its pretrained head."""
    is_completed: ClassVar[bool] = False
    """Whether rows are prompts that a model completes."""
    has_several_classes: ClassVar[bool] = False
    """Whether a row's label is one of any number of classes."""
    has_choices: ClassVar[bool] = False
    """Whether rows are prompts with choices, which a model reads after the prompt one by one."""
    has_halves: ClassVar[bool] = True
    """Whether training rows are halved between supervisor and student."""
    has_texts: ClassVar[bool] = True
    """Whether rows have texts; otherwise a probe is trained on features."""
    has_weights: ClassVar[bool] = True
    """Whether training rows can have weights from a column."""
    not_estimated: ClassVar[str | None] = None
    """Why the cost of its fits is not estimated; None = it is estimated."""

    @property
    def has_prompts(self) -> bool:
        """Whether a row's text is a prompt, so that a chat template begins the assistant's turn."""
        return self.is_completed or self.has_choices

    @property
    def has_two_classes(self) -> bool:
        """Whether a row's label is one of two classes, so that parts can be balanced."""
        return self.labels_in_words is None

    @property
    def has_classes(self) -> bool:
        """Whether a row's label is one of two or more classes, the same ones in every row."""
        return self.has_two_classes or self.has_several_classes

    def trained_as(self, training: Training) -> str:
        """The name of the form whose model and data rows are trained in under `training`."""
        return self.name

    def is_made_by(self, given: Collection[str]) -> bool:
        """Whether the columns `given` make a row of this form."""
        return any(columns.is_met_by(given) for columns in self.columns)

    def mistake(self, given: Collection[str]) -> str | None:
        """An error message for columns that are almost those of this form; else None."""
        return None

    def why_not(self, stage: Stage, task: str) -> str | None:
        """Why a stage can't be used on `task`, as a relative clause for an error; None = it can."""
        if isinstance(stage, Prompt):
            return f"which predicts the class of a text, but task {task} has {self.name}"
        if isinstance(stage, SelfConsistencyStage | AgreedAnswersStage) and not self.is_completed:
            return f"which compares completions of prompts, but task {task} has {self.name}"
        if isinstance(stage, LinearProbeStage) and not (self.has_classes and self.has_texts):
            has = "no texts" if self.has_classes else self.labels_in_words
            return f"which predicts the class of a text, but task {task} has {has}"
        control = isinstance(stage, TruthStage | RandomLabelsStage | UntrainedStage)
        if control and not self.has_classes:
            return f"which needs classes, but task {task} has {self.labels_in_words}"
        return None

    def why_not_loss(self, loss: Loss) -> str | None:
        """Why a loss can't be used on rows without two classes, with a remedy; None = it can."""
        if self.has_several_classes:
            return loss.why_two_classes()
        return None if kind_of(loss) == "xent" else "use xent"

    def check(self, sweep: Sweep, task: str) -> None:
        """Refuse settings that are impossible for `task`.

        Raises:
            InputError: names the task, the method or the model, and the remedy.
        """
        if sweep.controls is not None and not self.has_classes:
            raise InputError(
                f"controls need classes, but task {task} has {self.labels_in_words}; remove "
                "controls, or put the task into a sweep of its own"
            )
        if sweep.seal and not self.has_two_classes:
            raise InputError(
                f"seal needs two classes, but task {task} has {self.labels_in_words}; remove seal, "
                "or put the task into a sweep of its own"
            )
        extract = next(each.extract for each in sweep.tasks if each.name == task)
        if not (self.is_completed or is_default(extract)):
            raise InputError(
                f"task {task}: extract is for tasks with text and answer, and it has {self.name}; "
                "remove extract"
            )
        for name, method in sweep.methods_on(task).items():
            for stage in method.stages:
                why = self.why_not(stage, task)
                if why is not None:
                    raise InputError(
                        f"methods.{name}.stages has {kind_of(stage)}, {why}; remove it"
                    )
            self.check_method(name, method, task)
            for loss in method.losses() if not self.has_two_classes else ():
                why = self.why_not_loss(loss)
                if why is not None:
                    raise InputError(
                        f"methods.{name}: loss {kind_of(loss)} needs two classes, but task {task} "
                        f"has {self.labels_in_words}; {why}"
                    )
        for model in sweep.models:
            for where, training in trainings(sweep, model, task):
                if self.texts == 1 and training.pair_model.kind != "reward":
                    raise InputError(
                        f"{where}.pair_model is {training.pair_model.kind}, but task {task} has no "
                        "pairs; remove it, or put the task into a sweep of its own"
                    )
            self.check_model(sweep, model, task)

    def check_method(self, name: str, method: Method, task: str) -> None:
        """Refuse a method for other reasons than its stages and its loss."""

    def check_model(self, sweep: Sweep, model: Model, task: str) -> None:
        """Refuse a model, with its settings."""


def trainings(sweep: Sweep, model: Model, task: str) -> Iterator[tuple[str, Training]]:
    """The settings with which `model` is trained on `task` in each role and method, with their
    key.
    """
    yield f"models.{model.label}.training", sweep.ground_truth_settings(model).training
    for name in sweep.methods_on(task):
        if not sweep.is_control(name):
            yield f"methods.{name}.training", sweep.student_settings(name, model).training


def check_language_tuning(sweep: Sweep, model: Model, task: str, *, rows: str) -> None:
    """Refuse the kinds of tuning that train a classification head, searched ones included."""
    for where, training in trainings(sweep, model, task):
        check_tuning(training.tuning.kind, where, rows=rows)
    for where, space in sweep.spaces.items():
        for branch in branches(space):
            tried = str(branch.fixed.get("training.tuning.kind"))
            check_tuning(tried, f"{where}.training", rows=rows)


def check_tuning(kind: str, where: str, *, rows: str) -> None:
    """Refuse the kinds of tuning that train a classification head."""
    if kind in ("probe", "lp_ft"):
        raise InputError(
            f"{where}.tuning is {kind}, but training on {rows} uses no classification head; choose "
            "full, lora or last_layers"
        )
