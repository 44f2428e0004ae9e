"""The form `classes` in a fit: tokens and class probabilities."""

from __future__ import annotations

from typing import ClassVar

from w2s_ray.fits.forms.form import FitForm
from w2s_ray.fits.labels import SplitRows, targets
from w2s_ray.fits.training_data import (
    TrainingData,
    parts_of,
    pretrained_activations,
    tokenized,
    weak_labels,
)
from w2s_ray.learn.forms.classes import ClassData
from w2s_ray.learn.rows import PairRows
from w2s_ray.learn.tokens import TokenRows
from w2s_ray.plan import PlannedFit
from w2s_ray.store import Store


class Classes(FitForm):
    """Texts of two classes."""

    data: ClassVar[type[ClassData]] = ClassData

    def rows_of(self, fit: PlannedFit, rows: SplitRows, part: str) -> TokenRows | PairRows:
        """The rows of a part as they are trained on and predicted."""
        return tokenized(fit, rows, part)

    def training_data(self, fit: PlannedFit, rows: SplitRows, store: Store) -> TrainingData:
        recipe = fit.recipe
        parts = {part: self.rows_of(fit, rows, part) for part in parts_of(recipe)}
        train_on = parts[recipe.train_on]
        labels = targets(
            recipe,
            rows,
            weak=weak_labels(store, recipe),
            activate=lambda part, rows_N: pretrained_activations(fit, part, parts[part])[rows_N],
        )
        whole = len(labels.rows_N) == len(train_on)
        data = self.data(
            train=train_on if whole else train_on.take(labels.rows_N),
            train_targets_NC=labels.train_NC,
            validation=parts["validation"],
            validation_targets_MC=labels.validation_MC,
            predict={part: parts[part] for part in recipe.predicts},
        )
        return TrainingData(data, len(labels.rows_N), labels.dropped)
