"""Which labels a fit sees: the one place where ground truth and weak labels are told apart.

Owns the making of a fit's data from a split's rows and its supervisor's predictions. A student's
training and validation labels are its supervisor's probabilities; ground truth takes their place
on validation only where the recipe says `oracle`. Ground truth for reported figures goes to the
ledger, from which nothing flows back into training.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from w2s_ray.spec import FitRecipe, Part

if TYPE_CHECKING:
    from w2s_ray.learn.tokens import TokenRows

TEXT, LABEL, PART, ID = "text", "label", "part", "example_id"


@dataclass(frozen=True)
class SplitRows:
    """A split's rows by part, in their order."""

    ids: Mapping[str, list[str]]
    texts: Mapping[str, list[str]]
    truth: Mapping[str, np.ndarray]
    """Class (0 or 1) of each row, int64 [N]."""

    @classmethod
    def of(cls, table: object) -> SplitRows:
        """From the store's Arrow table of a split."""
        columns = {
            name: table.column(name).to_pylist()  # type: ignore[attr-defined]
            for name in (ID, TEXT, LABEL, PART)
        }
        ids: dict[str, list[str]] = {}
        texts: dict[str, list[str]] = {}
        truth: dict[str, list[int]] = {}
        for row_id, text, label, part in zip(*columns.values(), strict=True):
            ids.setdefault(part, []).append(row_id)
            texts.setdefault(part, []).append(text)
            truth.setdefault(part, []).append(label)
        arrays = {part: np.asarray(labels, dtype=np.int64) for part, labels in truth.items()}
        return cls(ids=ids, texts=texts, truth=arrays)


@dataclass(frozen=True)
class Targets:
    """The labels that a fit may learn from and be stopped by: class probabilities, float32."""

    train_NC: np.ndarray
    validation_MC: np.ndarray


def targets(
    recipe: FitRecipe, rows: SplitRows, *, weak: Mapping[tuple[str, str], float] | None
) -> Targets:
    """The labels of `recipe`'s training part and of validation.

    `weak` maps (part, example id) to the supervisor's probability of class 1.

    Raises:
        ValueError: a row that the supervisor did not label.
    """
    if recipe.learns_from_ground_truth:
        return Targets(_one_hot(rows.truth[recipe.train_on]), _one_hot(rows.truth["validation"]))
    oracle = recipe.early_stopping is not None and recipe.early_stopping.oracle
    return Targets(
        train_NC=_weak(rows, recipe.train_on, weak or {}, recipe.labels),
        validation_MC=_one_hot(rows.truth["validation"])
        if oracle
        else _weak(rows, "validation", weak or {}, recipe.labels),
    )


def _weak(
    rows: SplitRows, part: Part, weak: Mapping[tuple[str, str], float], supervisor: str
) -> np.ndarray:
    try:
        positive = np.asarray([weak[part, row_id] for row_id in rows.ids[part]], dtype=np.float32)
    except KeyError as missing:
        raise ValueError(
            f"supervisor {supervisor} has no label for {missing.args[0]}; its predictions are "
            "incomplete: delete its folder in the store and run again"
        ) from None
    return np.stack([1 - positive, positive], axis=1)


def _one_hot(labels: np.ndarray) -> np.ndarray:
    return np.eye(2, dtype=np.float32)[labels]


def parts_of(tokens: Mapping[str, TokenRows], recipe: FitRecipe) -> dict[str, TokenRows]:
    """The parts that the trained model predicts."""
    return {part: tokens[part] for part in recipe.predicts}
