"""What a task's form rules out: stages, losses, what is tuned, a search's metric, corpora as tasks.

Owns these checks alone, before any row is read: a task's declaration says its form, but the sweep
file by itself doesn't know the declarations of named tasks.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from w2s_ray.config import (
    EnsembleStage,
    Form,
    GenerativeStage,
    LinearProbeStage,
    Method,
    Model,
    OneOf,
    PromptStage,
    Stage,
    Sweep,
    Training,
    branches,
)
from w2s_ray.config.stages import kind_of
from w2s_ray.errors import InputError
from w2s_ray.methods.transforms import Simulated, Transform

_MANY = {"answers": "answers of many tokens", "features": "several classes"}
"""Forms of more than two classes, in words."""
_OF_A_HEAD = ("probe", "lp_ft")
"""Kinds of tuning that train a head which language models don't have."""


def check_forms(sweep: Sweep, forms: Mapping[str, Form]) -> None:
    """Refuse what a task's rows can't be used for; `forms` has the form of each task.

    Raises:
        InputError: names the task, the method or the model, and the remedy.
    """
    for model in sweep.models:
        if model.pretrain is not None:
            where = f"models.{model.label}.pretrain.training"
            _check_tuning(model.pretrain.training.tuning.kind, where, "running text")
    for task in sweep.tasks:
        form = forms[task.name]
        if form == "text":
            raise InputError(
                f"task {task.name} is running text: there is nothing to label, so no supervisor "
                "and no student; name it as the `corpus` under a model's `pretrain`"
            )
        for name, method in sweep.methods.items():
            for stage in method.stages:
                _check_stage(stage, task.name, form, name)
            if form == "features" and "length" in _errors(method):
                raise InputError(
                    f"methods.{name}.stages.simulated.errors is length, and task {task.name} has "
                    "no text; choose another kind"
                )
            if form in _MANY:
                _check_loss(task.name, name, method, _MANY[form])
        for model in sweep.models:
            if form == "answers":
                _check_answers(sweep, model, task.name)
            if form == "features":
                _check_features(sweep, model, task.name)


def _check_stage(stage: Stage, task: str, form: Form, method: str) -> None:
    if form == "classes":
        return
    if isinstance(stage, PromptStage):
        why = f"which asks for one of two classes, and task {task} has {form}"
    elif isinstance(stage, GenerativeStage) and form == "features":
        why = f"which reads text, and task {task} has none"
    elif isinstance(stage, EnsembleStage) and form == "answers":
        why = f"which takes the mean of probabilities, and task {task} has {_MANY[form]}"
    elif isinstance(stage, LinearProbeStage) and form in _MANY:
        why = f"which reads one of two classes from a text, and task {task} has {_MANY[form]}"
    elif isinstance(stage, Transform) and form == "answers":
        why = f"which changes labels of classes, and task {task} has {_MANY[form]}"
    else:
        return
    raise InputError(f"methods.{method}.stages has {kind_of(stage)}, {why}; leave it out")


def _errors(method: Method) -> Iterator[str]:
    """Kinds of errors that a simulated supervisor of the method makes or may make."""
    yield from (str(s.errors.kind) for s in method.stages if isinstance(s, Simulated))
    space = method.search.get("stages.simulated.errors")
    if isinstance(space, OneOf):
        yield from (str(kind) for kind in space.kinds())


def _check_loss(task: str, name: str, method: Method, has: str) -> None:
    for kind in _losses(method):
        if kind != "xent":
            raise InputError(
                f"methods.{name}: loss {kind} is of two classes, and task {task} has {has}; use "
                "xent"
            )


def _losses(method: Method) -> Iterator[str]:
    """Kinds of the losses that the method has or may try."""
    yield str(method.loss.model_dump()["kind"])
    space = method.search.get("loss")
    if isinstance(space, OneOf):
        yield from (str(kind) for kind in space.kinds())


def _check_answers(sweep: Sweep, model: Model, task: str) -> None:
    """Refuse what a language model that completes prompts can't be trained with."""
    has = f"task {task}, which has answers"
    _check_room(sweep.ground_truth_settings(model).training, f"models.{model.label}.training", task)
    tuning = sweep.ground_truth_settings(model).training.tuning
    _check_tuning(tuning.kind, f"models.{model.label}.training", has)
    for name, method in sweep.methods.items():
        training, where = sweep.student_settings(name, model).training, f"methods.{name}.training"
        _check_room(training, where, task)
        _check_tuning(training.tuning.kind, where, has)
        for way in branches(method.search):
            tried = str(way.fixed.get("training.tuning.kind"))
            _check_tuning(tried, f"methods.{name}.search.training", has)
        if method.search and sweep.search.metric == "log_loss":
            raise InputError(
                f"search.metric is log_loss, and task {task} has answers, whose completions have "
                "no classes to take it of; set metric: accuracy"
            )


def _check_tuning(kind: str, where: str, has: str) -> None:
    if kind in _OF_A_HEAD:
        raise InputError(
            f"{where}.tuning is {kind}, and a language model has no head of its own to train on "
            f"{has}; choose full, lora or last_layers"
        )


def _check_room(training: Training, where: str, task: str) -> None:
    if training.answer_tokens >= training.max_tokens:
        raise InputError(
            f"{where}: max_tokens is {training.max_tokens}, and {training.answer_tokens} of it are "
            f"for an answer of task {task}; raise it or lower answer_tokens"
        )


def _check_features(sweep: Sweep, model: Model, task: str) -> None:
    workers = sweep.execution_of(model).workers
    if workers > 1:
        raise InputError(
            f"models.{model.label}.execution.workers is {workers}, and task {task} has features, "
            "whose probes run on one device; set engine: torch"
        )
