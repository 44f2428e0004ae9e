"""The form `answers`: a prompt and its right answer."""

from __future__ import annotations

from typing import TYPE_CHECKING

from w2s_ray.config.forms.form import ColumnSet, Form, check_tuning
from w2s_ray.config.settings import Training
from w2s_ray.config.space import branches
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

    def why_not(self, stage: Stage, task: str) -> str | None:
        has = self.labels_in_words
        if isinstance(stage, EnsembleStage):
            return f"which averages probabilities, but task {task} has {has}"
        if isinstance(stage, Transform):
            return f"which changes labels of classes, but task {task} has {has}"
        return super().why_not(stage, task)

    def check_model(self, sweep: Sweep, model: Model, task: str) -> None:
        _check_training(
            sweep.ground_truth_settings(model).training, f"models.{model.label}.training", task
        )
        for name in sweep.methods:
            training = sweep.student_settings(name, model).training
            _check_training(training, f"methods.{name}.training", task)
        for where, space in sweep.spaces.items():
            for branch in branches(space):
                tried = str(branch.fixed.get("training.tuning.kind"))
                check_tuning(tried, f"{where}.training", rows=_answers_of(task))
            if sweep.search.metric == "log_loss":
                raise InputError(
                    f"search.metric is log_loss, but task {task} has answers, for which it is not "
                    "defined; set metric: accuracy"
                )


def _check_training(training: Training, where: str, task: str) -> None:
    if training.answer_tokens >= training.max_tokens:
        raise InputError(
            f"{where}: max_tokens is {training.max_tokens}, but the answers of task {task} need "
            f"{training.answer_tokens} of them; raise max_tokens or lower answer_tokens"
        )
    check_tuning(training.tuning.kind, where, rows=_answers_of(task))


def _answers_of(task: str) -> str:
    return f"the answers of task {task}"
