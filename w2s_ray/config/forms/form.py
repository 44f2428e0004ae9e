"""What every form declares: its columns, facts about its rows, and what can't be done with them.

Owns the contract between a form and the declarations, the reading of rows and the plan. A form is
one file beside this one, without torch; how it is trained stands in `learn/forms`, how rows become
its data in `fits/forms`. Where code depends on the form, it reads a fact from here.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from w2s_ray.config.space import OneOf
from w2s_ray.config.stages import LinearProbeStage, PromptStage, Stage, kind_of
from w2s_ray.errors import InputError

if TYPE_CHECKING:
    from w2s_ray.config.declared import Method, Model
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
    """A form of task. A subclass gives its name, its columns and the facts that differ."""

    name: ClassVar[str]
    columns: ClassVar[tuple[ColumnSet, ...]]
    columns_in_words: ClassVar[str]
    """The columns to give, for an error."""
    labels_in_words: ClassVar[str | None] = None
    """What rows have in place of one of two classes; None = they have one of two classes."""
    texts: ClassVar[int] = 1
    """Texts that a model reads of a row."""
    is_language: ClassVar[bool] = False
    """Whether a causal language model reads and writes the rows with its own pretrained head."""
    is_completed: ClassVar[bool] = False
    """Whether rows are prompts that a model completes."""
    has_halves: ClassVar[bool] = True
    """Whether training rows are halved between supervisor and student."""
    has_texts: ClassVar[bool] = True
    """Whether rows have texts; else a probe reads features."""
    not_estimated: ClassVar[str | None] = None
    """Why the cost of its fits isn't estimated; None = it is."""

    @property
    def has_two_classes(self) -> bool:
        """Whether a row's label is one of two classes, so that parts can be balanced."""
        return self.labels_in_words is None

    def is_made_by(self, given: Collection[str]) -> bool:
        """Whether the columns `given` make a row of this form."""
        return any(columns.is_met_by(given) for columns in self.columns)

    def mistake(self, given: Collection[str]) -> str | None:
        """An error for columns that are nearly this form's; None = they aren't."""
        return None

    def why_not(self, stage: Stage, task: str) -> str | None:
        """Why a stage of a method can't be used on `task`, as a relative clause; None = it can."""
        if isinstance(stage, PromptStage):
            return f"which asks for one of two classes, and task {task} has {self.name}"
        if isinstance(stage, LinearProbeStage) and not self.has_two_classes:
            has = self.labels_in_words
            return f"which reads one of two classes from a text, and task {task} has {has}"
        return None

    def check(self, sweep: Sweep, task: str) -> None:
        """Refuse what the rows of `task` can't be used for.

        Raises:
            InputError: names the task, the method or the model, and the remedy.
        """
        for name, method in sweep.methods.items():
            for stage in method.stages:
                why = self.why_not(stage, task)
                if why is not None:
                    raise InputError(
                        f"methods.{name}.stages has {kind_of(stage)}, {why}; leave it out"
                    )
            self.check_method(name, method, task)
            for kind in _losses(method):
                if kind != "xent" and not self.has_two_classes:
                    raise InputError(
                        f"methods.{name}: loss {kind} is of two classes, and task {task} has "
                        f"{self.labels_in_words}; use xent"
                    )
        for model in sweep.models:
            self.check_model(sweep, model, task)

    def check_method(self, name: str, method: Method, task: str) -> None:
        """Refuse a method, besides its stages one by one and its loss."""

    def check_model(self, sweep: Sweep, model: Model, task: str) -> None:
        """Refuse a model with the settings that it is trained with."""


def check_tuning(kind: str, where: str, *, has: str) -> None:
    """Refuse the kinds of tuning that train a head which language models don't have."""
    if kind in ("probe", "lp_ft"):
        raise InputError(
            f"{where}.tuning is {kind}, and a language model has no head of its own to train on "
            f"{has}; choose full, lora or last_layers"
        )


def _losses(method: Method) -> Iterator[str]:
    """Kinds of the losses that the method has or may try."""
    yield str(method.loss.model_dump()["kind"])
    space = method.search.get("loss")
    if isinstance(space, OneOf):
        yield from (str(kind) for kind in space.kinds())
