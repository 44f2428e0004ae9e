"""What goes into a fit and what comes out: its data, its result, who may watch and who may end it.

Owns the values and protocols between the loop and its callers, without torch. An observer's
methods return None, so that nothing it knows (ground truth above all) can flow back into training.
Shapes: N training rows, M validation rows, C two classes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import ClassVar, Literal, Protocol, TypeVar

import numpy as np

from w2s_ray.learn.rows import PairRows, SpanRows
from w2s_ray.learn.tokens import TokenRows

Command = Literal["go", "stop", "leave"]
"""go: train on. stop: the fit is no longer wanted. leave: its machine is being taken away."""


Arrays = dict[str, np.ndarray]
"""What a form keeps of a part's predictions, by name; NaN or infinity in it = they diverged."""


@dataclass(frozen=True)
class Predicted:
    """What a model says of the N rows of a part."""

    probabilities: np.ndarray
    """float32 [N]: class 1's; of a pair, that the first text is better; of an answer, its own."""
    answers: tuple[str, ...] | None = None
    """Completions of prompts; of several classes, the likeliest."""
    classes: tuple[str, ...] | None = None
    """Names of several classes."""
    distribution: np.ndarray | None = None
    """float32 [N, C]: the probability of each of several classes, in their order."""


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
    """A fit was ended from outside after `step` of `total_steps` steps; that is no failure."""

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
    """Its machine is being taken away; it goes on from the checkpoint that it left."""

    why = "left its machine"


class Control(Protocol):
    """Says whether a fit goes on. Worker 0's answer counts; the others need no control."""

    def asked(self) -> Command:
        """What is asked of the fit now. It is called at every step, so it must be cheap."""
        ...


@dataclass(frozen=True)
class FitData:
    """Texts or pairs and labels of one fit. Labels are distributions over the two classes."""

    train: TokenRows | PairRows
    train_targets_NC: np.ndarray
    """float32 [N, 2]; rows sum to 1."""
    validation: TokenRows | PairRows
    validation_targets_MC: np.ndarray
    """float32 [M, 2]; what early stopping looks at: weak labels for a student."""
    predict: Mapping[str, TokenRows | PairRows] = field(default_factory=dict)
    """Parts that the trained model predicts, by name."""

    def __post_init__(self) -> None:
        if self.predict.get("validation", self.validation) is not self.validation:
            raise ValueError("predict has other validation rows; give `validation` itself there")
        _check("train", self.train, self.train_targets_NC)
        _check("validation", self.validation, self.validation_targets_MC)
        if len(self.train) == 0:
            raise ValueError("there are no training rows; give the split at least one")

    def part(self, name: str) -> TokenRows | PairRows:
        """The rows of a part that can be predicted: validation, or one of `predict`."""
        return self.validation if name == "validation" else _predicted(self.predict, name)


@dataclass(frozen=True)
class AnswerData:
    """Prompts and answers of one fit. The answers are ground truth or a supervisor's completions.

    Nothing else of a row's answer is here: predictions are compared with ground truth elsewhere.
    """

    train: SpanRows
    """Prompts, and the answers to learn."""
    validation: SpanRows
    """The same of validation; what early stopping looks at."""
    validation_answers: tuple[str, ...]
    """The answers of validation as text."""
    predict: Mapping[str, TokenRows]
    """Prompts of the parts that the trained model completes, by name; validation among them."""
    texts: Callable[[np.ndarray], tuple[str, ...]]
    """Completions as tokens, int32 [M, K], -1 after the last one -> as text."""
    stop_id: int
    """The token that ends an answer."""
    most: int
    """Tokens of an answer at most."""

    def part(self, name: str) -> TokenRows:
        """The prompts of a part."""
        return _predicted(self.predict, name)


@dataclass(frozen=True)
class TextData:
    """Running text to learn; there are no labels."""

    train: SpanRows
    validation: SpanRows
    predict: Mapping[str, SpanRows] = field(default_factory=dict)
    """Parts whose loss is asked for, by name."""

    def part(self, name: str) -> SpanRows:
        """The rows of a part."""
        return self.validation if name == "validation" else _predicted(self.predict, name)


@dataclass(frozen=True)
class FeatureData:
    """Features of images, and labels: distributions over C classes. D is the features' width."""

    classes: tuple[str, ...]
    train_ND: np.ndarray
    """float32 [N, D]."""
    train_targets_NC: np.ndarray
    """float32 [N, C]; rows sum to 1."""
    validation_MD: np.ndarray
    validation_targets_MC: np.ndarray
    """What early stopping looks at: weak labels for a student."""
    predict: Mapping[str, np.ndarray]
    """Part -> features of the rows that the trained probe predicts, float32 [M, D]."""


AnyData = FitData | AnswerData | TextData

R = TypeVar("R")


def _predicted(parts: Mapping[str, R], name: str) -> R:
    if name not in parts:
        raise ValueError(f"no part {name!r} is predicted; choose one of {sorted(parts)}")
    return parts[name]


@dataclass(frozen=True)
class FitResult:
    """What a fit leaves behind, besides weights."""

    predicted: dict[str, Predicted]
    """Part -> predictions, in the rows' order."""
    steps: int
    """Optimizer steps taken."""
    total_steps: int
    """Optimizer steps that the schedule held."""
    best_step: int
    """Steps after which the weights were what they are now: the best evaluation's, else `steps`."""
    stopped_early: bool
    validation_agreement: float | None
    """Share of validation rows whose prediction is the label's; None without labels or rows."""
    validation_loss: float | None
    """Mean cross-entropy of these predictions with the labels, in nats: a row, or a token."""
    losses: dict[str, float]
    """Part -> nats a token, of running text."""
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
        predicted: Predicted,
        agreement: float | None,
        loss: float,
        predict: Predict,
    ) -> None:
        """After a validation pass: predictions of it, and what the labels say of them.

        `predict` gives other parts by the same weights while the call lasts; all workers'
        observers must call it alike.
        """
        ...


def _check(part: str, rows: TokenRows | PairRows, targets: np.ndarray) -> None:
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
