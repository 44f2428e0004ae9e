"""The form `choices`: a question and several choices, one of them right."""

from __future__ import annotations

from collections.abc import Collection
from typing import TYPE_CHECKING

from w2s_ray.config.forms.form import ColumnSet, Form, check_language_tuning
from w2s_ray.config.series import SERIES, TrueRowsStage
from w2s_ray.config.stages import Prompt, RandomLabelsStage, Stage, TruthStage, UntrainedStage
from w2s_ray.methods.transforms import Confident, Hard, Temperature, Transform

if TYPE_CHECKING:
    from w2s_ray.config.declared import Model
    from w2s_ray.config.sweep import Sweep


class Choices(Form):
    """A question with two or more choices, which a language model scores by their likelihood.

    The number of choices may differ from row to row, and a choice has no meaning outside its row.
    So a label is a distribution over the row's own choices.
    """

    name = "choices"
    columns = (ColumnSet(frozenset({"text", "choices", "answer"})),)
    columns_in_words = "text, choices and answer"
    labels_in_words = "choices"
    is_language = True
    has_choices = True

    def mistake(self, given: Collection[str]) -> str | None:
        if not {"text", "choices", "label"} <= set(given):
            return None
        return "choices need `answer`, the right one, and no label; write answer instead of label"

    def why_not(self, stage: Stage, task: str) -> str | None:
        if isinstance(stage, UntrainedStage | TruthStage | RandomLabelsStage):
            return None
        if isinstance(stage, Prompt):
            return (
                f"which compares two words, but task {task} has choices (stage untrained scores "
                "them zero-shot)"
            )
        if isinstance(stage, SERIES) and not isinstance(stage, TrueRowsStage):
            return f"which needs the same classes in every row, but task {task} has choices"
        if isinstance(stage, Transform) and not isinstance(stage, Confident | Hard | Temperature):
            return f"which needs the same classes in every row, but task {task} has choices"
        return super().why_not(stage, task)

    def check_model(self, sweep: Sweep, model: Model, task: str) -> None:
        check_language_tuning(sweep, model, task, rows=f"the choices of task {task}")
