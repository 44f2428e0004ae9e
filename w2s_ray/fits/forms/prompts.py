"""A model that is prompted for a row's class and not trained: the data and the pass.

It stands in for the form `classes` where a recipe has a prompt.
"""

from __future__ import annotations

from typing import Any

from w2s_ray.config import Execution, FitRecipe, ModelSource
from w2s_ray.fits.forms.form import FitForm
from w2s_ray.fits.labels import SplitRows, targets
from w2s_ray.fits.training_data import TrainingData, weak_labels
from w2s_ray.learn.contract import FitResult, Observer
from w2s_ray.learn.prompting import PromptData, context, predict_by_words, prompt_rows
from w2s_ray.plan import PlannedFit
from w2s_ray.store import Store


class Prompts(FitForm):
    """Questions, with examples from the training part as far as the labels may be seen."""

    def training_data(
        self, fit: PlannedFit, rows: SplitRows, store: Store, **_: Any
    ) -> TrainingData:
        recipe, prompt = fit.recipe, fit.recipe.prompt
        assert prompt is not None
        labels = targets(recipe, rows, weak=weak_labels(store, recipe))
        texts = [rows.texts[recipe.train_on][i] for i in labels.rows_N]
        before = context(prompt, texts, labels.train_NC, seed=recipe.seed)
        limit = recipe.training.max_tokens
        parts = {
            part: prompt_rows(prompt, before, rows.texts[part], source=fit.source, max_tokens=limit)
            for part in dict.fromkeys(("validation", *recipe.predicts))
        }
        return TrainingData(PromptData(parts, labels.validation_MC), prompt.shots, labels.dropped)

    def train(
        self,
        recipe: FitRecipe,
        *,
        data: PromptData,
        source: ModelSource,
        execution: Execution,
        observer: Observer,
        **_: Any,
    ) -> FitResult:
        return predict_by_words(
            recipe, data=data, source=source, execution=execution, observer=observer
        )
