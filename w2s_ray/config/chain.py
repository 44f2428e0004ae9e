"""A student's chain: the fits that a method's stages add before the student, and the student.

Owns what each stage adds or changes. It is a function of recipes and settings. The caller chooses
the supervisors and the intermediate models.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from w2s_ray.config.recipe import FitRecipe, Labels
from w2s_ray.config.settings import Training
from w2s_ray.config.stages import (
    AgreedAnswersStage,
    BootstrapStage,
    Completions,
    ElicitStage,
    GenerativeStage,
    IterateStage,
    LinearProbeStage,
    Prompt,
    PromptStage,
    RandomLabelsStage,
    SelfConsistencyStage,
    Stage,
    TruthStage,
    UntrainedStage,
)
from w2s_ray.config.tuning import FullTuning, ProbeTuning, base_of
from w2s_ray.methods.extractors import Exact
from w2s_ray.methods.losses import XentLoss
from w2s_ray.methods.transforms import Transform

S = TypeVar("S")


@dataclass(frozen=True)
class Link:
    """One fit of a chain."""

    recipe: FitRecipe
    rung: int | None
    """Index of the intermediate model that it trains; None = the student's model."""


def chain(
    student: FitRecipe, *, between: Sequence[FitRecipe] = (), stages: Iterable[Stage] = ()
) -> tuple[Link, ...]:
    """The fits of `student`, whose labels come from its supervisors, under `stages`.

    `between` are the recipes of the intermediate models as students, weakest first. A bootstrap
    stage chooses among them. A fit on ground truth is a chain by itself.
    """
    if student.learns_from_ground_truth:
        return (Link(student, None),)
    stages = tuple(stages)
    for stage in stages:
        if isinstance(stage, TruthStage | RandomLabelsStage | UntrainedStage):
            return (Link(_without_weak_labels(student, stage), None),)
    transforms = tuple(stage for stage in stages if isinstance(stage, Transform))
    generative = _first_of(GenerativeStage, stages)
    bootstrap, iterate = _first_of(BootstrapStage, stages), _first_of(IterateStage, stages)
    rungs = [*_rungs(bootstrap, between), None]
    fresh = bootstrap is not None and bootstrap.fresh and len(rungs) > 1
    prompt = _first_of(PromptStage, stages)
    links: list[Link] = []
    labels = student.labels.runs
    elicit = _first_of(ElicitStage, stages)
    if elicit is not None:
        links.append(Link(_labelling(student, elicit), None))
        labels = (links[-1].recipe.run_id,)
    kept: dict[str, Any] = {}
    consistency = _first_of(SelfConsistencyStage, stages)
    if consistency is not None:
        kept["least_share"] = consistency.share
    agreed = _first_of(AgreedAnswersStage, stages)
    if agreed is not None:
        labelled = student.model_copy(update={"labels": Labels(source=labels, **kept)})
        links.append(Link(_in_context(labelled, agreed), None))
        kept |= {"agreed_with": links[-1].recipe.run_id, "learned": agreed.learn}
    for index, rung in enumerate(rungs):
        base = student if rung is None else between[rung]
        update: dict[str, object] = (
            {"train_slice": (index, len(rungs)), "slices": "drawn"} if fresh else {}
        )
        if generative is not None:
            language_model = generative_fit(base, generative)
            links.append(Link(language_model, rung))
            update["model"] = f"run:{language_model.run_id}"
        for remaining in reversed(range(1 + (iterate.times if iterate and rung is None else 0))):
            reported = rung is None and remaining == 0
            update |= {
                "labels": Labels(source=labels, transforms=transforms, **kept),
                **_prompt_update(prompt),
                "predicts": base.predicts if reported else ("student_half", *base.predicts),
            }
            links.append(Link(base.model_copy(update=update), rung))
            labels = (links[-1].recipe.run_id,)
    probe = _first_of(LinearProbeStage, stages)
    return tuple(links) if probe is None else _probed(student, links, probe)


def _without_weak_labels(
    student: FitRecipe, stage: TruthStage | RandomLabelsStage | UntrainedStage
) -> FitRecipe:
    """The only fit of a method that learns no weak labels."""
    match stage:
        case UntrainedStage():
            update: dict[str, object] = {"trained": False, "early_stopping": None}
        case RandomLabelsStage():
            update = {"labels": Labels(source="random")}
        case TruthStage(one_in=one_in):
            training = student.training
            evaluations = max(1, training.evaluations_per_epoch // one_in)
            scaled = {"epochs": training.epochs * one_in, "evaluations_per_epoch": evaluations}
            update = {
                "labels": Labels(source="ground_truth"),
                "one_row_in": one_in,
                "training": training.model_copy(update=scaled),
                "early_stopping": None,
            }
    return student.model_copy(update={"loss": XentLoss(), **update})


def _probed(student: FitRecipe, links: Sequence[Link], stage: LinearProbeStage) -> tuple[Link, ...]:
    """`links` with a probe instead of the last fit, the student, or after it."""
    *before, last = links
    if stage.of == "pretrained":
        initial_model = last.recipe.model
        before = [link for link in before if initial_model == f"run:{link.recipe.run_id}"]
    else:
        probed_student = last.recipe.model_copy(update={"predicts": ()})
        before.append(Link(probed_student, None))
        initial_model = f"run:{probed_student.run_id}"
    tuning = ProbeTuning(base=base_of(student.training.tuning))
    training: dict[str, object] = {"epochs": stage.epochs, "lr": stage.lr, "tuning": tuning}
    if stage.batch_size is not None:
        training["batch_size"] = stage.batch_size
    stopping = student.early_stopping
    if stopping is not None:
        # its labels are ground truth
        stopping = stopping.model_copy(update={"oracle": False, "finish_schedule": False})
    update: dict[str, object] = {
        "model": initial_model,
        "labels": Labels(source="ground_truth"),
        "training": student.training.model_copy(update=training),
        "loss": XentLoss(),
        "early_stopping": stopping,
    }
    return (*before, Link(student.model_copy(update=update), None))


def generative_fit(student: FitRecipe, stage: GenerativeStage) -> FitRecipe:
    """Language modelling on the texts that `student` trains on. Its weights are kept."""
    settings = {"epochs": stage.epochs, "lr": stage.lr, "batch_size": stage.batch_size}
    training: dict[str, object] = {n: value for n, value in settings.items() if value is not None}
    if student.training.tuning.kind in ("probe", "lp_ft"):
        training["tuning"] = FullTuning()  # a language model has no head to probe
    return student.model_copy(
        update={
            "form": "text",
            "labels": Labels(source="none"),
            "training": student.training.model_copy(update=training),
            "loss": XentLoss(),
            "early_stopping": None,
            "predicts": (),
            "extract": Exact(),
        }
    )


def _prompt_update(stage: PromptStage | None) -> dict[str, object]:
    """The fields of a student's recipe that a prompt stage changes."""
    if stage is None:
        return {}
    labels = {"labels": Labels(source="ground_truth")} if stage.labels == "ground_truth" else {}
    return {"prompt": _prompt(stage), "loss": XentLoss(), "early_stopping": None, **labels}


def _labelling(student: FitRecipe, stage: ElicitStage) -> FitRecipe:
    """The prompted strong model as a supervisor."""
    return _untrained(student).model_copy(update={"prompt": _prompt(stage)})


def _in_context(student: FitRecipe, stage: AgreedAnswersStage) -> FitRecipe:
    """The strong model that completes prompts after examples, without training."""
    given = {name: getattr(stage, name) for name in Completions.model_fields}
    training = _untrained(student).training.model_copy(
        update={"answer_tokens": student.training.answer_tokens}
    )
    update = {"completions": Completions(**given), "trained": False, "training": training}
    return _untrained(student).model_copy(update=update)


def _untrained(student: FitRecipe) -> FitRecipe:
    """A model that predicts for the student; settings without effect on it have defaults."""
    training = student.training
    kept = {"max_tokens": training.max_tokens, "precision": training.precision}
    if base_of(training.tuning) is not None:
        kept["tuning"] = training.tuning
    return student.model_copy(
        update={
            "training": Training(**kept),
            "loss": XentLoss(),
            "early_stopping": None,
            "predicts": ("student_half", "validation", "test"),
        }
    )


def _prompt(stage: Prompt) -> Prompt:
    return Prompt(**{name: getattr(stage, name) for name in Prompt.model_fields})


def _rungs(bootstrap: BootstrapStage | None, between: Sequence[FitRecipe]) -> list[int]:
    """Indices in `between` of the intermediate models of a bootstrap."""
    if bootstrap is None:
        return []
    available = len(between)
    steps = available if bootstrap.through else min(bootstrap.between, available)
    return [(2 * step + 1) * available // (2 * steps) for step in range(steps)]


def _first_of(kind: type[S], stages: Iterable[Stage]) -> S | None:
    return next((stage for stage in stages if isinstance(stage, kind)), None)
