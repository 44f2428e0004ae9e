"""What a fit gives its callers, and how they observe and end it: predictions, result, protocols.

Owns the values and protocols between training and its callers, without torch. An observer's methods
return None, so that nothing it holds (above all ground truth) can flow back into training. The data
of a fit stands with its form, in `forms/`. Shapes: N rows, C classes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import ClassVar, Literal, Protocol

import numpy as np

Command = Literal["go", "stop", "leave"]
"""go: train on. stop: the fit is no longer wanted. leave: its machine is being taken away."""


Arrays = dict[str, np.ndarray]
"""What a form keeps of a part's predictions, by name; NaN or infinity in it = they diverged."""


@dataclass(frozen=True)
class Predicted:
    """A model's predictions of the N rows of a part."""

    probabilities: np.ndarray
    """float32 [N]: class 1's; of a pair, that the first text is better; of an answer, its own."""
    answers: tuple[str, ...] | None = None
    """Completions of prompts; of several classes or choices, the likeliest."""
    classes: tuple[str, ...] | None = None
    """Names of several classes."""
    distribution: np.ndarray | None = None
    """float32 [N, C]: the probability of each of several classes or choices, in their order."""
    choices: tuple[tuple[str, ...], ...] | None = None
    """The choices of each row, at most C."""
    extracted: tuple[str | None, ...] | None = None
    """What an extractor takes from each completion; None of a row = nothing. None = completions are
    compared whole."""
    certainty: np.ndarray | None = None
    """float32 [N]: the share of a row's samples with the answer of its completion."""
    samples: tuple[tuple[str, ...], ...] | None = None
    """The sampled completions of each row."""

    @property
    def compared(self) -> tuple[str | None, ...] | None:
        """The answers as they are compared."""
        return self.answers if self.extracted is None else self.extracted


Predict = Callable[[str], Predicted]
"""Part -> predictions of its rows by the present weights."""


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


class EndRequested(Exception):
    """A fit was ended from outside after `step` of `total_steps` steps, which is not a failure."""

    why: ClassVar[str]

    def __init__(self, step: int, total_steps: int) -> None:
        super().__init__(f"{self.why} after step {step} of {total_steps}")
        self.step = step
        self.total_steps = total_steps

    def __reduce__(self) -> tuple[type[EndRequested], tuple[int, int]]:
        return type(self), (self.step, self.total_steps)


class StopRequested(EndRequested):
    """The fit is no longer wanted; it left no checkpoint."""

    why = "no longer wanted"


class LeaveRequested(EndRequested):
    """The machine is being taken away; the fit resumes from the checkpoint that it wrote."""

    why = "left its machine"


class Control(Protocol):
    """Decides whether a fit goes on. Worker 0's decision counts; the others need no control."""

    def next_command(self) -> Command:
        """The command to the fit now. It is called at every step, so it must be cheap."""
        ...


@dataclass(frozen=True)
class FitResult:
    """The result of a fit, besides weights."""

    predicted: dict[str, Predicted]
    """Part -> predictions, in the rows' order."""
    steps: int
    """Optimizer steps taken."""
    total_steps: int
    """Optimizer steps of the whole schedule."""
    best_step: int
    """Step of the final weights: the best evaluation's with early stopping, else `steps`."""
    stopped_early: bool
    """Whether training ended before its schedule."""
    validation_agreement: float | None
    """Share of validation rows whose prediction is the label's; None without labels or rows."""
    validation_loss: float | None
    """Mean cross-entropy of these predictions with the labels, in nats: a row, or a token."""
    losses: dict[str, float]
    """Part -> nats a token, of running text."""
    train_loss: float | None
    """Loss of the last step's global batch; None where nothing was trained."""
    parameters: int
    trained_parameters: int
    tokens: int
    """Real tokens trained on, over all steps."""
    planned_tokens: int
    """Real tokens of the whole schedule."""
    evaluated_tokens: int
    """Real tokens predicted, for evaluations, observers and the result."""
    stopping_step: int | None = None
    """The step after which early stopping fixed the result; None if it did not. With
    `finish_schedule` training went on after it."""
    seconds: float = field(default=0.0, compare=False)
    """Wall-clock time of steps, evaluations and predictions, also before a resume; not of loading
    a model, and not of steps that a resumed fit repeats."""
    figures: Mapping[str, float] = field(default_factory=dict)
    """More figures of the record."""
    compiled: bool = field(default=False, compare=False)
    """Whether the model's layers were compiled."""


class Observer(Protocol):
    """Observes a fit. Called on every worker, in the same order, with the same values."""

    def trained(self, *, step: int, total_steps: int, loss: float, lr: float) -> None:
        """After optimizer step `step` (from 1); on a GPU a few steps late."""
        ...

    def evaluated(
        self,
        *,
        step: int,
        total_steps: int,
        predicted: Predicted,
        agreement: float | None,
        loss: float,
        predict: Predict,
    ) -> None:
        """After a validation pass: its predictions, and their agreement with the labels.

        `predict` predicts other parts with the same weights during the call; the observers of all
        workers must call it alike.
        """
        ...
