"""What every form does in a fit: make training data of the store's rows, and train.

Owns the contract between a form and `train_fit`. A form is one file beside this one. How it trains
and predicts is in `learn/forms`, which reads no store.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from w2s_ray.config import Execution, FitRecipe, ModelSource, Part
from w2s_ray.fits.labels import SplitRows
from w2s_ray.fits.training_data import TrainingData
from w2s_ray.learn.checkpoints import Checkpoints
from w2s_ray.learn.contract import FitResult, Observer
from w2s_ray.plan import PlannedFit
from w2s_ray.store import Store

if TYPE_CHECKING:
    from w2s_ray.fits.train_fit import Reporter


class FitForm(ABC):
    """A form of task in a fit."""

    @abstractmethod
    def training_data(
        self, fit: PlannedFit, rows: SplitRows, store: Store, *, control: Reporter | None = None
    ) -> TrainingData:
        """What `fit` learns from and predicts; `control` gets progress where that takes long.

        Raises:
            ValueError: a row that the supervisor did not label, or labels that the form can't have.
        """

    def activations(
        self,
        fit: PlannedFit,
        rows: SplitRows,
        store: Store,
        part: Part,
        rows_N: np.ndarray,
        *,
        whole: bool = True,
        control: Reporter | None = None,
    ) -> np.ndarray:
        """The activations that the model which `fit` begins with has of rows of a part, [N, D].

        `whole`: those of the whole part are computed and stored, for other fits.
        """
        raise NotImplementedError(
            f"the plan refuses transforms with activations of {type(self).__name__}"
        )

    def train(
        self,
        recipe: FitRecipe,
        *,
        data: Any,
        source: ModelSource,
        execution: Execution,
        observer: Observer,
        checkpoints: Checkpoints,
        control: Reporter | None,
        weights: Path,
    ) -> FitResult:
        """Train by `recipe` on `data` and predict: by the loop, where a form has no other way."""
        from w2s_ray.learn import loop

        return loop.fit(
            recipe,
            data=data,
            source=source,
            execution=execution,
            observer=observer,
            checkpoints=checkpoints,
            control=control,
            weights=weights,
        )
