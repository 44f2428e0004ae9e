"""A model that is prompted for a row's class and not trained: the data and the pass.

It stands in for the forms `classes` and `categories` where a recipe has a prompt.
"""

from __future__ import annotations

from functools import partial
from typing import Any

from w2s_ray.config import FORMS, Execution, FitRecipe, ModelSource
from w2s_ray.fits.forms.form import FitForm
from w2s_ray.fits.labels import SplitRows, targets
from w2s_ray.fits.training_data import (
    TrainingData,
    each_weak_labels,
    weak_distributions,
    weak_labels,
)
from w2s_ray.learn.contract import FitResult, Observer
from w2s_ray.learn.prompting import (
    PromptData,
    calibration_texts,
    examples,
    predict_by_words,
    prompt_rows,
    shown_examples,
)
from w2s_ray.learn.tokens import token_limit
from w2s_ray.plan import PlannedFit
from w2s_ray.store import Store


class Prompts(FitForm):
    """Questions, with examples from the training part as far as the labels may be seen."""

    def training_data(
        self, fit: PlannedFit, rows: SplitRows, store: Store, **_: Any
    ) -> TrainingData:
        recipe, prompt = fit.recipe, fit.recipe.prompt
        assert prompt is not None
        names = rows.classes if FORMS[recipe.form].has_several_classes else ()
        weak = weak_distributions if names else weak_labels
        column = "probabilities" if names else "probability"
        each = each_weak_labels(store, recipe, column=column)
        labels = targets(recipe, rows, weak=weak(store, recipe), each=each)
        classes = labels.train_NC.shape[1]
        assert len(prompt.words) == classes, "the plan refuses another number of words"
        texts = [rows.texts[recipe.train_on][i] for i in labels.rows_N]
        chosen = examples(labels.train_NC, shots=prompt.shots, seed=recipe.seed)
        shown = shown_examples(prompt, texts, labels.train_NC, chosen)
        prompts = partial(
            prompt_rows,
            prompt,
            shown,
            source=fit.source,
            max_tokens=recipe.training.max_tokens,
        )
        calibration = None
        if prompt.calibration != "none":
            calibration = prompts(calibration_texts(prompt, texts, chosen, seed=recipe.seed))
        parts = dict.fromkeys(("validation", *recipe.predicts))
        data = PromptData(
            {part: prompts(rows.texts[part]) for part in parts},
            labels.validation_MC,
            shots=len(shown),
            most_tokens=token_limit(fit.source, recipe.training.max_tokens),
            calibration=calibration,
            names=names,
        )
        return TrainingData(data, len(shown), labels.dropped)

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
