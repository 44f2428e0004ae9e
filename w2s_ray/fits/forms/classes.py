"""The form `classes` in a fit: tokens and class probabilities.

A probe gets its frozen backbone's activations from the store instead of tokens.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar

from w2s_ray.config import FitRecipe
from w2s_ray.fits.forms.form import FitForm
from w2s_ray.fits.labels import SplitRows, targets
from w2s_ray.fits.training_data import (
    TrainingData,
    each_weak_labels,
    parts_of,
    pretrained_activations,
    tokenized,
    weak_labels,
)
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

    data: ClassVar[type[ClassData]] = ClassData

    def rows_of(self, fit: PlannedFit, rows: SplitRows, part: str) -> TokenRows | PairRows:
        """The rows of a part as they are trained on and predicted."""
        return tokenized(fit, rows, part)

    def training_data(
        self, fit: PlannedFit, rows: SplitRows, store: Store, *, control: Reporter | None = None
    ) -> TrainingData:
        recipe = fit.recipe
        tokens = {part: self.rows_of(fit, rows, part) for part in parts_of(recipe)}
        activated = partial(pretrained_activations, store, fit, rows, control=control)
        is_probe = recipe.training.tuning.kind == "probe"
        found = activated(tokens) if is_probe else None
        return self.labelled(
            fit,
            rows,
            store,
            tokens if found is None else _activation_rows(found, tokens),
            activations_of=lambda part: (found or activated({part: tokens[part]}))[part],
        )

    def labelled(
        self,
        fit: PlannedFit,
        rows: SplitRows,
        store: Store,
        parts: Mapping[str, ClassRows],
        *,
        activations_of: Callable[[str], Activations],
        **settings: Any,
    ) -> TrainingData:
        """`parts` with the labels that `fit` may see, and the `settings` of the form's data."""
        recipe = fit.recipe
        labels = targets(
            recipe,
            rows,
            weak=weak_labels(store, recipe),
            each=each_weak_labels(store, recipe),
            activate=lambda part, rows_N: activations_of(part).values_ND[rows_N],
        )
        train_on = parts[recipe.train_on]
        whole = len(labels.rows_N) == len(train_on)
        data = self.data(
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
