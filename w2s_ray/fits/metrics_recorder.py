"""Metrics of a fit while it runs: curves, and figures against ground truth.

Owns the observer of the loop's steps and evaluations, and the result that stopping by ground truth
would have given. Its methods return nothing, so the ground truth that it holds can't reach
training, stopping or restoring. Its metrics are saved with checkpoints, so that a resumed fit has
them all.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from statistics import fmean
from typing import Any

import numpy as np

from w2s_ray.data.right import Truth, right
from w2s_ray.learn.contract import Predict, Predicted

FILE = "ledger.json"
SMALLEST = 1e-7
"""Probabilities are kept this far from 0 and 1 in the log loss."""

Evaluation = Mapping[str, Any]


class MetricsRecorder:
    """An observer of one fit.

    With `test_truth_N` it predicts test whenever validation accuracy by ground truth is the best
    so far, and records what a fit stopped there would have reached.
    """

    def __init__(
        self,
        *,
        truth_M: Truth,
        test_truth_N: Truth | None = None,
        evaluations: int,
        on_step: Callable[[int, int], None] | None = None,
        on_evaluation: Callable[[Evaluation], None] | None = None,
    ) -> None:
        self._truth_M = truth_M
        self._test_truth_N = test_truth_N
        self._of_evaluations = evaluations
        self._on_step = on_step
        self._on_evaluation = on_evaluation
        self._reported_at = 0.0
        self.rows: list[tuple[int, str, float]] = []
        """(step, metric, value)."""
        self.evaluations: list[dict[str, Any]] = []
        self.oracle: dict[str, Any] = {}
        """oracle_step, oracle_validation_accuracy and oracle_test_accuracy of the first best
        evaluation; empty where none are recorded."""

    def trained(self, *, step: int, total_steps: int, loss: float, lr: float) -> None:
        """Record a step's training loss and learning rate."""
        self.rows += [(step, "train/loss", loss), (step, "train/lr", lr)]
        now = time.monotonic()
        if self._on_step is not None and now - self._reported_at > 0.5:
            self._reported_at = now
            self._on_step(step, total_steps)

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
        """Record validation: against the labels of early stopping, and against ground truth."""
        evaluation: dict[str, Any] = {
            "step": step,
            **({} if agreement is None else {"agreement": float(agreement)}),
            "loss": float(loss),
            **against_truth(predicted, self._truth_M),
        }
        self.evaluations.append(evaluation)
        self.rows += [
            (step, f"validation/{name}", value)
            for name, value in evaluation.items()
            if name != "step"
        ]
        if "accuracy" in evaluation:
            self._note_oracle(step, evaluation["accuracy"], predict)
        self._report(len(self.evaluations))

    def replay(self) -> None:
        """Report the evaluations of a checkpoint once more."""
        for number in range(1, len(self.evaluations) + 1):
            self._report(number)

    def save(self, folder: Path) -> None:
        """Write the metrics so far beside a checkpoint."""
        data = {"rows": self.rows, "evaluations": self.evaluations, "oracle": self.oracle}
        (folder / FILE).write_text(json.dumps(data), encoding="utf-8")

    def load(self, folder: Path) -> None:
        """Read the metrics of a checkpoint."""
        data = json.loads((folder / FILE).read_text(encoding="utf-8"))
        self.rows = [(int(step), name, value) for step, name, value in data["rows"]]
        self.evaluations = data["evaluations"]
        self.oracle = data["oracle"]

    def _note_oracle(self, step: int, accuracy: float, predict: Predict) -> None:
        """Record the result of stopping here, if it is the best evaluation by ground truth."""
        if self._test_truth_N is None:
            return
        if self.oracle and accuracy <= self.oracle["oracle_validation_accuracy"]:
            return
        on_test = against_truth(predict("test"), self._test_truth_N)["accuracy"]
        self.rows.append((step, "oracle/test_accuracy", on_test))
        self.oracle = {
            "oracle_step": step,
            "oracle_validation_accuracy": accuracy,
            "oracle_test_accuracy": on_test,
        }

    def _report(self, number: int) -> None:
        if self._on_evaluation is not None:
            evaluation = self.evaluations[number - 1]
            before = self.evaluations[number - 2]["step"] if number > 1 else 0
            progress = {
                "train_loss": mean_loss(self.rows, after=before, until=evaluation["step"]),
                "evaluations": number,
                "of_evaluations": self._of_evaluations,
            }
            self._on_evaluation({**evaluation, **progress})


def mean_loss(rows: Iterable[tuple[int, str, float]], *, after: int, until: int) -> float | None:
    """The mean training loss (nats) of the steps after `after` up to `until`; None without any."""
    losses = [v for step, name, v in rows if name == "train/loss" and after < step <= until]
    return fmean(losses) if losses else None


def against_truth(predicted: Predicted, truth: Truth) -> dict[str, float]:
    """Accuracy of predictions, and log loss (nats) where there are classes; empty without truth."""
    if truth.labels_N is None and truth.answers is None:
        return {}
    right_N = right(predicted.probabilities, predicted.compared, truth)
    found = {"accuracy": float(right_N.mean())}
    each_NC = predicted.distribution
    if each_NC is not None and truth.answers is not None:
        p = each_NC[np.arange(len(each_NC)), _places(predicted, truth.answers)]
        return {**found, "log_loss": float(-np.log(np.maximum(p, SMALLEST)).mean())}
    if truth.labels_N is None:
        return found
    p = np.clip(predicted.probabilities.astype(np.float64), SMALLEST, 1 - SMALLEST)
    of_label_N = np.where(truth.labels_N == 1, np.log(p), np.log1p(-p))
    return {**found, "log_loss": float(-of_label_N.mean())}


def _places(predicted: Predicted, answers: Sequence[str]) -> list[int]:
    """The place of each row's right class or choice in the row's distribution."""
    if predicted.choices is not None:
        both = zip(predicted.choices, answers, strict=True)
        return [choices.index(answer) for choices, answer in both]
    assert predicted.classes is not None, "a distribution is over classes or choices"
    place = {name: i for i, name in enumerate(predicted.classes)}
    return [place[answer] for answer in answers]
