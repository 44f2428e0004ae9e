"""The form `answers`: a prompt and its right answer."""

from __future__ import annotations

from typing import TYPE_CHECKING

from w2s_ray.config.forms.form import ColumnSet, Form, check_language_tuning, trainings
from w2s_ray.config.series import SERIES, BoostingStage
from w2s_ray.config.stages import EnsembleStage, Stage
from w2s_ray.errors import InputError
from w2s_ray.methods.transforms import Transform

if TYPE_CHECKING:
    from w2s_ray.config.declared import Model
    from w2s_ray.config.sweep import Sweep


class Answers(Form):
    """A prompt, which a language model completes, and its right answer."""

    name = "answers"
    columns = (ColumnSet(frozenset({"text", "answer"})),)
    columns_in_words = "text and answer"
    labels_in_words = "answers of many tokens"
    is_language = True
    is_completed = True
    has_weights = False

    def why_not(self, stage: Stage, task: str) -> str | None:
        has = self.labels_in_words
        if isinstance(stage, EnsembleStage | BoostingStage):
            return f"which averages probabilities, but task {task} has {has}"
        if isinstance(stage, SERIES):
            return f"which needs classes, but task {task} has {has}"
        if isinstance(stage, Transform):
            return f"which changes labels of classes, but task {task} has {has}"
        return super().why_not(stage, task)

    def check_model(self, sweep: Sweep, model: Model, task: str) -> None:
        for where, training in trainings(sweep, model, task):
            if training.answer_tokens >= training.max_tokens:
                raise InputError(
                    f"{where}: max_tokens is {training.max_tokens}, but the answers of task "
                    f"{task} need {training.answer_tokens} of them; raise max_tokens or lower "
                    "answer_tokens"
                )
        check_language_tuning(sweep, model, task, rows=f"the answers of task {task}")
        if sweep.spaces and sweep.search.metric == "log_loss":
            raise InputError(
                f"search.metric is log_loss, but task {task} has answers, for which it is not "
                "defined; set metric: accuracy"
            )
