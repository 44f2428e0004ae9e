"""What goes into a fit and what comes out: its data, its result, who may watch and who may end it.

Owns the values and protocols between the loop and its callers, without torch. An observer's
methods return None, so that nothing it knows (ground truth above all) can flow back into training.
Shapes: N training rows, M validation rows, C two classes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import ClassVar, Literal, Protocol

import numpy as np

from w2s_ray.learn.tokens import TokenRows

Asked = Literal["go", "stop", "leave"]
"""go: train on. stop: the fit is no longer wanted. leave: its machine is being taken away."""


Predict = Callable[[str], np.ndarray]
"""Part -> class 1's probability of each of its rows, float32, by the present weights."""


class NonFiniteLoss(RuntimeError):
    """Training diverged. `step` counts from 1; the message names it and a remedy."""

    def __init__(self, step: int, value: float) -> None:
        super().__init__(
            f"loss is {value} at step {step}; lower training.lr, set training.clip_norm, or use "
            "training.precision: fp32"
        )
        self.step = step
        self.value = value

    def __reduce__(self) -> tuple[type[NonFiniteLoss], tuple[int, float]]:
        return NonFiniteLoss, (self.step, self.value)


class Ended(Exception):
    """A fit was ended from outside after `step` of `total_steps` steps; that is no failure."""

    why: ClassVar[str]

    def __init__(self, step: int, total_steps: int) -> None:
        super().__init__(f"{self.why} after step {step} of {total_steps}")
        self.step = step
        self.total_steps = total_steps

    def __reduce__(self) -> tuple[type[Ended], tuple[int, int]]:
        return type(self), (self.step, self.total_steps)


class Stopped(Ended):
    """The fit is no longer wanted; it left no checkpoint."""

    why = "no longer wanted"


class Left(Ended):
    """Its machine is being taken away; it goes on from the checkpoint that it left."""

    why = "left its machine"


class Control(Protocol):
    """Says whether a fit goes on. Worker 0's answer counts; the others need no control."""

    def asked(self) -> Asked:
        """What is asked of the fit now. It is called at every step, so it must be cheap."""
        ...


@dataclass(frozen=True)
class FitData:
    """Tokens and labels of one fit. Labels are distributions over the two classes."""

    train: TokenRows
    train_targets_NC: np.ndarray
    """float32 [N, 2]; rows sum to 1."""
    validation: TokenRows
    validation_targets_MC: np.ndarray
    """float32 [M, 2]; what early stopping looks at: weak labels for a student."""
    predict: Mapping[str, TokenRows] = field(default_factory=dict)
    """Parts that the trained model predicts, by name."""

    def __post_init__(self) -> None:
        if self.predict.get("validation", self.validation) is not self.validation:
            raise ValueError("predict has other validation rows; give `validation` itself there")
        _check("train", self.train, self.train_targets_NC)
        _check("validation", self.validation, self.validation_targets_MC)
        if len(self.train) == 0:
            raise ValueError("there are no training rows; give the split at least one")

    def part(self, name: str) -> TokenRows:
        """The rows of a part that can be predicted: validation, or one of `predict`."""
        if name == "validation":
            return self.validation
        if name not in self.predict:
            raise ValueError(f"no part {name!r} is predicted; choose one of {sorted(self.predict)}")
        return self.predict[name]


@dataclass(frozen=True)
class FitResult:
    """What a fit leaves behind, besides weights."""

    probabilities: dict[str, np.ndarray]
    """Part -> probability of class 1 of each row, float32, in the rows' order."""
    steps: int
    """Optimizer steps taken."""
    total_steps: int
    """Optimizer steps that the schedule held."""
    best_step: int
    """Steps after which the weights were what they are now: the best evaluation's, else `steps`."""
    stopped_early: bool
    validation_agreement: float | None
    """Share of validation rows whose prediction is the label's; None without validation rows."""
    validation_loss: float | None
    """Mean cross-entropy of these predictions with the labels, in nats."""
    train_loss: float
    """Loss of the last step's global batch."""
    parameters: int
    trained_parameters: int
    tokens: int
    """Real tokens trained on, over all steps."""
    planned_tokens: int
    """Real tokens of the whole schedule, had the fit not stopped early."""
    evaluated_tokens: int
    """Real tokens predicted, for evaluations, observers and the result."""
    seconds: float = field(default=0.0, compare=False)
    """Wall-clock time of steps, evaluations and predictions in this process; not of loading."""


class Observer(Protocol):
    """Watches a fit. Called on every worker, in the same order, with the same values."""

    def trained(self, *, step: int, total_steps: int, loss: float, lr: float) -> None:
        """After optimizer step `step` (from 1); on a GPU a few steps late."""
        ...

    def evaluated(
        self,
        *,
        step: int,
        total_steps: int,
        probabilities: np.ndarray,
        agreement: float,
        loss: float,
        predict: Predict,
    ) -> None:
        """After a validation pass: class 1's probabilities [M], and what the labels say of them.

        `predict` gives other parts by the same weights while the call lasts; all workers'
        observers must call it alike.
        """
        ...


def _check(part: str, rows: TokenRows, targets: np.ndarray) -> None:
    if targets.shape != (len(rows), 2):
        raise ValueError(
            f"{part} has {len(rows)} rows, but targets of shape {targets.shape}; "
            f"give probabilities of shape ({len(rows)}, 2)"
        )
    if targets.dtype != np.float32:
        raise ValueError(f"{part} targets are {targets.dtype}; give float32")
    wrong = ~(np.abs(targets.sum(axis=1) - 1.0) < 1e-3) | ~(targets >= 0).all(axis=1)
    if wrong.any():
        row = int(wrong.argmax())
        raise ValueError(
            f"{part} target {row} is {targets[row].tolist()}; give two probabilities that sum to 1"
        )
