"""What is written down while a fit runs: curves, and how they stand against ground truth.

Owns the observer that the loop tells its steps and evaluations, and the note of what stopping by
ground truth would have given. Its methods return nothing, so the ground truth that it holds can't
reach training, stopping or restoring. What it notes travels with checkpoints, so that a resumed fit
has it whole.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from w2s_ray.learn.contract import Predict

FILE = "ledger.json"
SMALLEST = 1e-7
"""Probabilities are kept this far from 0 and 1 in the log loss."""

Evaluation = Mapping[str, Any]


class Ledger:
    """An observer of one fit.

    With `test_truth_N` it predicts test whenever validation accuracy by ground truth is the best
    so far, and notes what a fit stopped there would have got.
    """

    def __init__(
        self,
        *,
        truth_M: np.ndarray,
        test_truth_N: np.ndarray | None = None,
        evaluations: int,
        on_step: Callable[[int, int], None] | None = None,
        on_evaluation: Callable[[Evaluation], None] | None = None,
    ) -> None:
        self._truth_M = truth_M
        self._test_truth_N = test_truth_N
        self._of_evaluations = evaluations
        self._on_step = on_step
        self._on_evaluation = on_evaluation
        self._told = 0.0
        self.rows: list[tuple[int, str, float]] = []
        """(step, metric, value)."""
        self.evaluations: list[dict[str, Any]] = []
        self.oracle: dict[str, Any] = {}
        """oracle_step, oracle_validation_accuracy and oracle_test_accuracy of the first best
        evaluation; empty where none are noted."""

    def trained(self, *, step: int, total_steps: int, loss: float, lr: float) -> None:
        """Note a step's training loss and learning rate."""
        self.rows += [(step, "train/loss", loss), (step, "train/lr", lr)]
        now = time.monotonic()
        if self._on_step is not None and now - self._told > 0.5:
            self._told = now
            self._on_step(step, total_steps)

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
        """Note validation: against the labels that may steer, and against ground truth."""
        evaluation: dict[str, Any] = {
            "step": step,
            "agreement": float(agreement),
            "loss": float(loss),
            **against_truth(probabilities, self._truth_M),
        }
        self.evaluations.append(evaluation)
        self.rows += [
            (step, f"validation/{name}", value)
            for name, value in evaluation.items()
            if name != "step"
        ]
        self._note_oracle(step, evaluation["accuracy"], predict)
        self._tell(len(self.evaluations))

    def replay(self) -> None:
        """Tell the evaluations that a checkpoint brought along once more."""
        for number in range(1, len(self.evaluations) + 1):
            self._tell(number)

    def save(self, folder: Path) -> None:
        """Write what is noted so far beside a checkpoint."""
        data = {"rows": self.rows, "evaluations": self.evaluations, "oracle": self.oracle}
        (folder / FILE).write_text(json.dumps(data), encoding="utf-8")

    def load(self, folder: Path) -> None:
        """Take up what a checkpoint's fit had noted."""
        data = json.loads((folder / FILE).read_text(encoding="utf-8"))
        self.rows = [(int(step), name, value) for step, name, value in data["rows"]]
        self.evaluations = data["evaluations"]
        self.oracle = data["oracle"]

    def _note_oracle(self, step: int, accuracy: float, predict: Predict) -> None:
        """What stopping here would give, if ground truth finds it the best evaluation so far."""
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

    def _tell(self, number: int) -> None:
        if self._on_evaluation is not None:
            told = {"evaluations": number, "of_evaluations": self._of_evaluations}
            self._on_evaluation({**self.evaluations[number - 1], **told})


def against_truth(probabilities: np.ndarray, truth: np.ndarray) -> dict[str, float]:
    """Accuracy and log loss (nats) of class-1 probabilities [N] against classes [N]."""
    p = np.clip(probabilities.astype(np.float64), SMALLEST, 1 - SMALLEST)
    right = (probabilities > 0.5) == (truth == 1)
    return {
        "accuracy": float(right.mean()),
        "log_loss": float(-np.where(truth == 1, np.log(p), np.log1p(-p)).mean()),
    }
