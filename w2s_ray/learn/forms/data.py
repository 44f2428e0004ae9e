"""The rows and labels of one fit, as the loop trains on them and predicts them.

Owns the contract between a form and the loop: the loop calls these methods and names no form.
Ground truth is not here: labels are the values in the data. Shapes: B rows.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from typing import Any, TypeVar

import numpy as np
from torch import Tensor

from w2s_ray.learn.contract import Arrays, Predicted
from w2s_ray.learn.engine import CLASSES, Engine
from w2s_ray.methods.losses import Loss

R = TypeVar("R")


class FormData(ABC):
    """The rows and labels of one fit, and how its form trains, predicts and judges them.

    A subclass is a frozen dataclass.
    """

    train: Any
    """Rows that are trained on."""
    validation: Any
    """Rows whose labels decide early stopping."""
    predict: Mapping[str, Any]
    """Parts that the trained model predicts, by name."""

    @property
    def classes(self) -> int:
        """Number of classes that a model's head has an output for, where its form has several."""
        return CLASSES

    def part(self, name: str) -> Any:
        """The rows of a part that can be predicted: validation, or one of `predict`."""
        return self.validation if name == "validation" else predicted_part(self.predict, name)

    def prepared(self, loss: Loss) -> Loss:
        """The recipe's loss with the settings that depend on the training labels."""
        return loss

    @abstractmethod
    def step(
        self,
        rows: np.ndarray,
        *,
        engine: Engine,
        loss: Loss,
        memory: list[float],
        progress: float,
        micro_batch: int,
    ) -> Tensor:
        """Forward and backward passes over the global batch `rows`; this worker's part of the loss.

        `loss` is prepared; `memory` is what it keeps from step to step, and is brought up to date.
        `progress` is steps done over all steps.
        """

    @abstractmethod
    def predictions(self, engine: Engine, part: str, *, batch: int) -> Arrays:
        """Predictions of a part by the present weights."""

    def final(self, engine: Engine, part: str, found: Arrays, *, batch: int) -> Arrays:
        """Predictions of a part for the result; `found` are those by the same weights for
        evaluations.
        """
        return found

    @property
    def final_passes(self) -> int:
        """How often `final` passes over the rows of a part."""
        return 0

    @abstractmethod
    def judge(self, found: Arrays) -> tuple[float | None, float]:
        """Predictions of validation against its labels: agreement, if there are any, and loss."""

    @abstractmethod
    def predicted(self, found: Arrays, *, part: str) -> Predicted:
        """Predictions of a part in the form that observers and results have."""

    def results(self, found: Mapping[str, Arrays]) -> tuple[dict[str, Predicted], dict[str, float]]:
        """Part -> predictions, and part -> nats a token of running text."""
        return {part: self.predicted(arrays, part=part) for part, arrays in found.items()}, {}


def predicted_part(parts: Mapping[str, R], name: str) -> R:
    """The part `name` of `parts`.

    Raises:
        ValueError: there is none of this name.
    """
    if name not in parts:
        raise ValueError(f"no part {name!r} is predicted; choose one of {sorted(parts)}")
    return parts[name]


def backward_sum(engine: Engine, losses: Iterable[Tensor], *, count: int) -> Tensor:
    """The sum of the losses of `count` micro-batches, each of which gets a backward pass.

    `losses` makes each when the pass of the one before has ended.
    """
    total: Tensor | None = None
    for number, loss in enumerate(losses, start=1):
        engine.backward(loss, last=number == count)
        total = loss.detach() if total is None else total + loss.detach()
    assert total is not None
    return total
