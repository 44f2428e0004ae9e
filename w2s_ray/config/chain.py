"""A student's chain: the fits that a method's stages add before the student, and the student.

Owns what each stage adds or changes. It is a function of recipes and settings. The caller chooses
the supervisors and the intermediate models.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from w2s_ray.config.forms import FORMS
from w2s_ray.config.pair_models import RewardModel
from w2s_ray.config.recipe import FitRecipe, Labels
from w2s_ray.config.series import TrueRowsStage
from w2s_ray.config.settings import Training
from w2s_ray.config.stages import (
    AgreedAnswersStage,
    BootstrapStage,
    Completions,
    ElicitStage,
    GenerativeStage,
    LinearProbeStage,
    Prompt,
    PromptStage,
    RandomLabelsStage,
    SelfConsistencyStage,
    Stage,
    TruthStage,
    UntrainedStage,
)
from w2s_ray.config.student_series import student_series, transforms_of, with_votes
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
    note: str = ""
    """What it is in a series of fits: `layer 2 of 3`."""


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
    student = student.model_copy(update={"labels": with_votes(student.labels, stages)})
    generative = _first_of(GenerativeStage, stages)
    bootstrap = _first_of(BootstrapStage, stages)
    rungs = [*_rungs(bootstrap, between), None]
    fresh = bootstrap is not None and bootstrap.fresh and len(rungs) > 1
    prompt = _first_of(PromptStage, stages)
    links: list[Link] = []
    labels = student.labels
    elicit = _first_of(ElicitStage, stages)
    own_answers = None
    if elicit is not None:
        links.append(Link(_labelling(student, elicit, transforms_of(stages)), None))
        if elicit.beside:
            own_answers = links[-1].recipe.run_id
        else:
            labels = Labels(source=(links[-1].recipe.run_id,))
    kept: dict[str, Any] = {"own_answers": own_answers}
    consistency = _first_of(SelfConsistencyStage, stages)
    if consistency is not None:
        kept["least_share"] = consistency.share
    agreed = _first_of(AgreedAnswersStage, stages)
    if agreed is not None:
        labelled = student.model_copy(update={"labels": labels.model_copy(update=kept)})
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
        series = student_series(stages if rung is None else transforms_of(stages), labels)
        before = ""
        for number, (note, labels_after) in enumerate(series, start=1):
            reported = rung is None and number == len(series)
            update |= {
                "labels": labels_after(before).model_copy(update=kept),
                **_prompt_update(prompt),
                "predicts": base.predicts if reported else ("student_half", *base.predicts),
            }
            links.append(Link(base.model_copy(update=update), rung, note))
            before = links[-1].recipe.run_id
        labels = Labels(source=(before,))
    probe, true_rows = _first_of(LinearProbeStage, stages), _first_of(TrueRowsStage, stages)
    if true_rows is not None:
        return _continued(student, links, true_rows)
    return tuple(links) if probe is None else _probed(student, links, probe)


def _continued(student: FitRecipe, links: Sequence[Link], stage: TrueRowsStage) -> tuple[Link, ...]:
    """`links`, and after them the training of the last fit's weights on few rows of truth."""
    *before, last = links
    taught = last.recipe.model_copy(update={"predicts": ()})
    training = student.training
    is_frozen = training.tuning.kind == "probe" or not FORMS[student.form].has_texts
    scaled = _of_few_rows(training, stage.one_in).model_copy(
        update={
            "lr": training.lr if stage.lr is None else stage.lr,
            "lr_warmup_fraction": stage.lr_warmup_fraction,
        }
    )
    update: dict[str, object] = {
        "model": taught.model if is_frozen else f"run:{taught.run_id}",
        "head": None if FORMS[student.form].is_language else taught.run_id,
        "labels": Labels(source="ground_truth"),
        "one_row_in": stage.one_in,
        "training": scaled,
        "loss": XentLoss(),
        "early_stopping": None,
    }
    weak = f"{last.note}, weak labels" if last.note else "weak labels"
    true = Link(student.model_copy(update=update), None, f"true labels of 1 row in {stage.one_in}")
    return (*before, Link(taught, None, weak), true)


def _of_few_rows(training: Training, one_in: int) -> Training:
    """`training` on one row in `one_in`, with as many rows seen and about as many evaluations."""
    evaluations = max(1, training.evaluations_per_epoch // one_in)
    scaled = {"epochs": training.epochs * one_in, "evaluations_per_epoch": evaluations}
    return training.model_copy(update=scaled)


def _without_weak_labels(
    student: FitRecipe, stage: TruthStage | RandomLabelsStage | UntrainedStage
) -> FitRecipe:
    """The only fit of a method that learns no weak labels."""
    match stage:
        case UntrainedStage():
            update: dict[str, object] = {
                "trained": False,
                "early_stopping": None,
                "training": _with_head(student.training),
            }
        case RandomLabelsStage():
            update = {"labels": Labels(source="random")}
        case TruthStage(one_in=one_in):
            update = {
                "labels": Labels(source="ground_truth"),
                "one_row_in": one_in,
                "training": _of_few_rows(student.training, one_in),
                "early_stopping": None,
            }
    return student.model_copy(update={"loss": XentLoss(), **update})


def _probed(student: FitRecipe, links: Sequence[Link], stage: LinearProbeStage) -> tuple[Link, ...]:
    """`links` with a probe instead of the last fit, the student, or after it."""
    *before, last = links
    if stage.of == "pretrained" or student.training.tuning.kind == "probe":
        initial_model = last.recipe.model  # a probe trains no other activations
        before = [link for link in before if initial_model == f"run:{link.recipe.run_id}"]
    else:
        probed_student = last.recipe.model_copy(update={"predicts": ()})
        before.append(Link(probed_student, None, last.note))
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
        "training": _with_head(student.training).model_copy(update=training),
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
            "training": _with_head(student.training).model_copy(update=training),
            "loss": XentLoss(),
            "early_stopping": None,
            "predicts": (),
            "extract": Exact(),
        }
    )


def _with_head(training: Training) -> Training:
    """`training` without a policy: for a probe, and for fits in which a policy changes nothing.

    An untrained policy predicts what a head of zeros does, but for rounding.
    """
    return training.model_copy(update={"pair_model": RewardModel()})


def _prompt_update(stage: PromptStage | None) -> dict[str, object]:
    """The fields of a student's recipe that a prompt stage changes."""
    if stage is None:
        return {}
    labels = {"labels": Labels(source="ground_truth")} if stage.labels == "ground_truth" else {}
    return {"prompt": _prompt(stage), "loss": XentLoss(), "early_stopping": None, **labels}


def _labelling(
    student: FitRecipe, stage: ElicitStage, transforms: Sequence[Transform]
) -> FitRecipe:
    """The prompted strong model as a supervisor.

    It predicts the supervisor's half too, if one of `transforms` compares its answers there.
    """
    slices = (each.truth_slice for each in transforms if each.takes_own_answers)
    of_half = any(each is not None and each.of == "supervisor_half" for each in slices)
    update: dict[str, object] = {"prompt": _prompt(stage)}
    if of_half:
        update["predicts"] = ("supervisor_half", "student_half", "validation", "test")
    return _untrained(student).model_copy(update=update)


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
