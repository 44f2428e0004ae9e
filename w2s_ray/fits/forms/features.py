"""The form `features` in a fit: features of images for a probe, computed once for all fits.

Owns the source of features: a feature file, or a frozen model that reads the task's images.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from w2s_ray.config import Execution, FitRecipe, ModelSource, Part, Task
from w2s_ray.data.images import FEATURE_FILES, features_in, images_of
from w2s_ray.fits.forms.form import FitForm
from w2s_ray.fits.labels import SplitRows, targets
from w2s_ray.fits.supervisor import supervisor_of
from w2s_ray.fits.training_data import (
    TrainingData,
    each_weak_labels,
    parts_of,
    weak_distributions,
)
from w2s_ray.learn.contract import FitResult, Observer
from w2s_ray.learn.forms.features import FeatureData, fit_probe
from w2s_ray.plan import PlannedFit
from w2s_ray.store import Store

if TYPE_CHECKING:
    from w2s_ray.fits.train_fit import Reporter


class Features(FitForm):
    """Features and several classes; a probe is trained without an engine and its checkpoints."""

    def training_data(
        self, fit: PlannedFit, rows: SplitRows, store: Store, *, control: Reporter | None = None
    ) -> TrainingData:
        recipe = fit.recipe
        assert fit.execution.workers == 1, "the plan refuses sharded probes"
        found = {part: self.features_of(fit, rows, part, store) for part in parts_of(recipe)}
        labels = targets(
            recipe,
            rows,
            weak=weak_distributions(store, recipe),
            each=each_weak_labels(store, recipe, column="probabilities"),
            activate=lambda part, rows_N: self.activations(fit, rows, store, part, rows_N),
            supervisor=supervisor_of(self, fit, rows, store, control=control),
        )
        data = FeatureData(
            classes=rows.classes,
            train_ND=found[recipe.train_on][labels.rows_N],
            train_targets_NC=labels.train_NC,
            validation_MD=found["validation"],
            validation_targets_MC=labels.validation_MC,
            train_targets_KNC=labels.train_KNC,
            train_weights_N=labels.weights_N,
            predict={part: found[part] for part in recipe.predicts},
        )
        return TrainingData(data, len(labels.rows_N), labels.dropped)

    def activations(
        self,
        fit: PlannedFit,
        rows: SplitRows,
        store: Store,
        part: Part,
        rows_N: np.ndarray,
        **_: Any,
    ) -> np.ndarray:
        return self.features_of(fit, rows, part, store)[rows_N]

    def features_of(self, fit: PlannedFit, rows: SplitRows, part: str, store: Store) -> np.ndarray:
        """The features of a part's rows, float32 [N, D]."""
        task = Task.model_validate(store.splits.about(fit.recipe.split)["declaration"])
        return features(store, fit, task, part, rows.ids[part], contents=rows.texts[part])

    def train(
        self,
        recipe: FitRecipe,
        *,
        data: FeatureData,
        source: ModelSource,
        execution: Execution,
        observer: Observer,
        control: Reporter | None,
        weights: Path,
        **_: Any,
    ) -> FitResult:
        kept = weights if execution.keep != "none" else None
        head = Path(source.head) if source.head is not None else None
        return fit_probe(
            recipe, data=data, observer=observer, control=control, weights=kept, head=head
        )


def features(
    store: Store,
    fit: PlannedFit,
    task: Task,
    part: str,
    ids: Sequence[str],
    *,
    contents: Sequence[str],
) -> np.ndarray:
    """The features that `fit`'s model has of the rows `ids` of `task`, float32 [N, D].

    `contents` are the rows' texts: hashes of their images.

    Raises:
        ValueError: a row without features or image, or a model that can't be used.
    """
    from w2s_ray.fits.stored_activations import stored_activations
    from w2s_ray.learn.activations import Activations
    from w2s_ray.learn.gpu import uses_gpu
    from w2s_ray.learn.vision import features_of

    location = Path(fit.source.location)
    if location.suffix in FEATURE_FILES:
        return features_in(location, ids)

    def make(missing: list[str], _: Callable[[], None]) -> Iterator[tuple[str, Activations]]:
        for each in missing:
            made_ND = features_of(
                images_of(task, ids, contents=contents),
                source=fit.source,
                on_gpu=uses_gpu(fit.execution),
                batch=fit.execution.evaluation_batch,
            )
            yield each, Activations(made_ND, parameters=0)

    recipe = fit.recipe
    what = {"split": recipe.split, "form": recipe.form, "model": recipe.model}
    found = stored_activations(store, what, [part], make, execution=fit.execution)
    return found[part].values_ND
