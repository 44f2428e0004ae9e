"""A student's chain: the fits that a method's stages make of it, in order, itself the last.

Owns what each stage adds. It is a function of recipes and settings: whose labels the first fit
learns from, which models stand in between and where they lie is said by the caller.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TypeVar

from w2s_ray.config.recipe import FitRecipe, Labels
from w2s_ray.config.stages import (
    BootstrapStage,
    GenerativeStage,
    IterateStage,
    LinearProbeStage,
    Prompt,
    PromptStage,
    Stage,
)
from w2s_ray.config.tuning import FullTuning, ProbeTuning
from w2s_ray.methods.losses import XentLoss
from w2s_ray.methods.transforms import Transform

S = TypeVar("S")


@dataclass(frozen=True)
class Link:
    """One fit of a chain."""

    recipe: FitRecipe
    rung: int | None
    """Which of the models in between it trains; None = the student's own."""


def chain(
    student: FitRecipe, *, between: Sequence[FitRecipe] = (), stages: Iterable[Stage] = ()
) -> tuple[Link, ...]:
    """The fits of `student`, whose labels are its supervisors', under `stages`.

    `between` are the students that models in between would be, weakest first; a bootstrap stage
    chooses among them.
    """
    stages = tuple(stages)
    transforms = tuple(stage for stage in stages if isinstance(stage, Transform))
    generative = _the(GenerativeStage, stages)
    bootstrap, iterate = _the(BootstrapStage, stages), _the(IterateStage, stages)
    rungs = [*_rungs(bootstrap, between), None]
    fresh = bootstrap is not None and bootstrap.fresh and len(rungs) > 1
    prompt = _the(PromptStage, stages)
    links: list[Link] = []
    labels = student.labels.runs
    for place, rung in enumerate(rungs):
        base = student if rung is None else between[rung]
        update: dict[str, object] = {"train_slice": (place, len(rungs))} if fresh else {}
        if generative is not None:
            read = generative_fit(base, generative)
            links.append(Link(read, rung))
            update["model"] = f"run:{read.run_id}"
        for left in reversed(range(1 + (iterate.times if iterate and rung is None else 0))):
            reported = rung is None and left == 0
            update |= {
                "labels": Labels(source=labels, transforms=transforms),
                **_asked(prompt),
                "predicts": base.predicts if reported else ("student_half", *base.predicts),
            }
            links.append(Link(base.model_copy(update=update), rung))
            labels = (links[-1].recipe.run_id,)
    probe = _the(LinearProbeStage, stages)
    return tuple(links) if probe is None else _probed(student, links, probe)


def _probed(student: FitRecipe, links: Sequence[Link], stage: LinearProbeStage) -> tuple[Link, ...]:
    """`links`, whose last is `student` under its stages, with a probe in its place or after it."""
    *before, last = links
    if stage.of == "pretrained":
        begins = last.recipe.model
        before = [link for link in before if begins == f"run:{link.recipe.run_id}"]
    else:
        taught = last.recipe.model_copy(update={"predicts": ()})
        before.append(Link(taught, None))
        begins = f"run:{taught.run_id}"
    chosen: dict[str, object] = {"epochs": stage.epochs, "lr": stage.lr, "tuning": ProbeTuning()}
    if stage.batch_size is not None:
        chosen["batch_size"] = stage.batch_size
    stopping = student.early_stopping
    if stopping is not None:
        stopping = stopping.model_copy(update={"oracle": False})  # its labels are the truth
    update: dict[str, object] = {
        "model": begins,
        "labels": Labels(source="ground_truth"),
        "training": student.training.model_copy(update=chosen),
        "loss": XentLoss(),
        "early_stopping": stopping,
    }
    return (*before, Link(student.model_copy(update=update), None))


def generative_fit(student: FitRecipe, stage: GenerativeStage) -> FitRecipe:
    """Language modelling on the texts that `student` trains on; it leaves weights."""
    chosen = {"epochs": stage.epochs, "lr": stage.lr, "batch_size": stage.batch_size}
    given: dict[str, object] = {n: value for n, value in chosen.items() if value is not None}
    if student.training.tuning.kind in ("probe", "lp_ft"):
        given["tuning"] = FullTuning()  # there is no head to probe with
    return student.model_copy(
        update={
            "form": "text",
            "labels": Labels(source="none"),
            "training": student.training.model_copy(update=given),
            "loss": XentLoss(),
            "early_stopping": None,
            "predicts": (),
        }
    )


def _asked(stage: PromptStage | None) -> dict[str, object]:
    """What a prompt stage changes in a student's recipe."""
    if stage is None:
        return {}
    prompt = Prompt(**{name: getattr(stage, name) for name in Prompt.model_fields})
    truth = {"labels": Labels(source="ground_truth")} if stage.labels == "ground_truth" else {}
    return {"prompt": prompt, "loss": XentLoss(), "early_stopping": None, **truth}


def _rungs(bootstrap: BootstrapStage | None, between: Sequence[FitRecipe]) -> list[int]:
    """Places in `between` of the models that a bootstrap goes through."""
    if bootstrap is None:
        return []
    every = len(between)
    steps = every if bootstrap.through else min(bootstrap.between, every)
    return [(2 * step + 1) * every // (2 * steps) for step in range(steps)]


def _the(kind: type[S], stages: Iterable[Stage]) -> S | None:
    return next((stage for stage in stages if isinstance(stage, kind)), None)
