"""Controls: students that learn nothing of the task, and one that learns few rows of ground truth.

Owns the key `controls` and the controls' names, as methods with a stage. A control has the settings
of the method `naive`; a search changes none of them.
"""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BeforeValidator, Field

from w2s_ray.config.declared import Method
from w2s_ray.config.names import Words
from w2s_ray.config.settings import EarlyStopping
from w2s_ray.config.stages import (
    Prompt,
    PromptStage,
    RandomLabelsStage,
    Stage,
    TruthStage,
    UntrainedStage,
)
from w2s_ray.frozen import Frozen
from w2s_ray.methods.transforms import ClassPrior, ShuffledLabels

PREFIX = "control: "
"""Beginning of the names of controls."""


class Controls(Frozen):
    """Rows below the table for each task, pair and seed: students taught by shuffled weak labels,
    by random labels and by the class prior; the untrained student; and the strong model taught by
    as few rows of ground truth as cost the same as the weak labels. They are in no median, and they
    are compared with only if `w2s compare --against` names one. They are trained as the method
    `naive`, or as the sweep's `training` says if there is no such method; a search changes nothing.
    """

    truth_price: int = Field(default=10, ge=1, le=10_000)
    """Price of a label of ground truth in weak labels: the last control has the ground truth of one
    row in this many. 10 is the price in Mallen and Belrose 2024 (arXiv 2410.13215)."""
    words: Words | None = None
    """The words for the classes, in their order, with which the untrained student is prompted,
    zero-shot. null = it has a head of zeros, and gives every row the same answer."""
    question: str = Field(default=Prompt.model_fields["question"].default, max_length=10_000)
    """Text after the row's text in this prompt."""


def _switched(value: Any) -> Any:
    """The raw settings; `true` has the defaults and `false` is null."""
    if isinstance(value, bool):
        return {} if value else None
    return value


OptionalControls = Annotated[Controls | None, BeforeValidator(_switched)]


def control_methods(
    controls: Controls, *, naive: Method | None, early_stopping: EarlyStopping | None
) -> dict[str, Method]:
    """Each control's name and method; `early_stopping` is the sweep's.

    No control stops by ground truth.
    """
    stopping = (naive.early_stopping if naive else None) or early_stopping
    if stopping is not None:
        stopping = stopping.model_copy(update={"oracle": False})
    untrained: Stage = UntrainedStage()
    if controls.words is not None:
        untrained = PromptStage(question=controls.question, words=controls.words)
    stages: dict[str, Stage] = {
        "shuffled labels": ShuffledLabels(),
        "random labels": RandomLabelsStage(),
        "class prior": ClassPrior(),
        "untrained": untrained,
        f"ground truth of 1 row in {controls.truth_price}": TruthStage(one_in=controls.truth_price),
    }
    training = naive.training if naive else {}
    return {
        f"{PREFIX}{name}": Method(stages=(stage,), early_stopping=stopping, training=training)
        for name, stage in stages.items()
    }
