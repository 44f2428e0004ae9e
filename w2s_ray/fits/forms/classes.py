"""The form `classes` in a fit: tokens and class probabilities.

A probe gets its frozen backbone's activations from the store instead of tokens.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from w2s_ray.config import FitRecipe, Part
from w2s_ray.fits.forms.form import FitForm
from w2s_ray.fits.labels import SplitRows, targets
from w2s_ray.fits.supervisor import supervisor_of
from w2s_ray.fits.training_data import (
    TrainingData,
    each_weak_labels,
    own_answers,
    parts_of,
    pretrained_activations,
    tokenized,
    weak_labels,
)
from w2s_ray.identity import ID_LENGTH, digest
from w2s_ray.learn.contract import FitResult
from w2s_ray.learn.forms.classes import ClassData
from w2s_ray.learn.rows import ActivationRows, ClassRows, PairRows
from w2s_ray.learn.tokens import TokenRows
from w2s_ray.plan import PlannedFit
from w2s_ray.store import Store

if TYPE_CHECKING:
    from w2s_ray.fits.train_fit import Reporter
    from w2s_ray.learn.activations import Activations


class Classes(FitForm):
    """Texts of two classes."""

    column: ClassVar[str] = "probability"
    """The column of predictions that has a supervisor's labels."""
    weak: ClassVar[Callable[..., Any]] = staticmethod(weak_labels)
    """Its mean over supervisors, of a store and a recipe."""

    def data_of(self, rows: SplitRows, **given: Any) -> ClassData:
        """What is trained on, made of the fields that all forms with classes have."""
        return ClassData(**given)

    def rows_of(self, fit: PlannedFit, rows: SplitRows, part: str) -> TokenRows | PairRows:
        """The rows of a part as they are trained on and predicted."""
        return tokenized(fit, rows, part)

    def training_data(
        self, fit: PlannedFit, rows: SplitRows, store: Store, *, control: Reporter | None = None
    ) -> TrainingData:
        recipe = fit.recipe
        tokens = {part: self.rows_of(fit, rows, part) for part in parts_of(recipe)}
        found = None
        if recipe.training.tuning.kind == "probe":
            found = pretrained_activations(store, fit, rows, tokens, control=control)
        parts = tokens if found is None else _activation_rows(found, tokens)
        return self.labelled(fit, rows, store, parts, control=control)

    def labelled(
        self,
        fit: PlannedFit,
        rows: SplitRows,
        store: Store,
        parts: Mapping[str, ClassRows],
        *,
        control: Reporter | None,
        **settings: Any,
    ) -> TrainingData:
        """`parts` with the labels that `fit` may see, and the `settings` of the form's data."""
        recipe = fit.recipe
        labels = targets(
            recipe,
            rows,
            weak=self.weak(store, recipe),
            each=each_weak_labels(store, recipe, column=self.column),
            activate=lambda part, rows_N: self.activations(
                fit, rows, store, part, rows_N, whole=part in parts, control=control
            ),
            supervisor=supervisor_of(self, fit, rows, store, control=control),
            own_answers=own_answers(store, recipe, column=self.column),
        )
        train_on = parts[recipe.train_on]
        whole = len(labels.rows_N) == len(train_on)
        data = self.data_of(
            rows,
            train=train_on if whole else train_on.take(labels.rows_N),
            train_targets_NC=labels.train_NC,
            validation=parts["validation"],
            validation_targets_MC=labels.validation_MC,
            train_targets_KNC=labels.train_KNC,
            train_weights_N=labels.weights_N,
            predict={part: parts[part] for part in recipe.predicts},
            **settings,
        )
        return TrainingData(data, len(labels.rows_N), labels.dropped)

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
        name, tokens, taken = str(part), self.rows_of(fit, rows, part), rows_N
        if not whole:
            name, tokens = f"{part} {digest(rows_N.tolist())[:ID_LENGTH]}", tokens.take(rows_N)
            taken = np.arange(len(rows_N))
        found = pretrained_activations(store, fit, rows, {name: tokens}, control=control)
        return found[name].values_ND[taken]

    def train(self, recipe: FitRecipe, *, data: ClassData, **given: Any) -> FitResult:
        if not isinstance(data.train, ActivationRows):
            return super().train(recipe, data=data, **given)
        from w2s_ray.learn import loop
        from w2s_ray.learn.probe_engine import ProbeEngine

        engine = partial(ProbeEngine, rows=data.train)
        return loop.fit(recipe, data=data, engine=engine, **given)


def _activation_rows(
    found: Mapping[str, Activations], tokens: Mapping[str, TokenRows | PairRows]
) -> dict[str, ClassRows]:
    return {
        part: ActivationRows(each.values_ND, tokens[part].lengths, each.parameters)
        for part, each in found.items()
    }
