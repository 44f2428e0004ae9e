"""A model that is prompted for a row's class and not trained: the data and the pass.

It stands in for the forms `classes` and `categories` where a recipe has a prompt.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from w2s_ray.config import FORMS, Execution, FitRecipe, ModelSource
from w2s_ray.fits.forms.form import FitForm
from w2s_ray.fits.labels import SplitRows, targets
from w2s_ray.fits.pass_report import PassReport
from w2s_ray.fits.training_data import (
    TrainingData,
    each_weak_labels,
    known_word_logits,
    weak_distributions,
    weak_labels,
)
from w2s_ray.learn.contract import FitResult, Observer
from w2s_ray.learn.prompting import (
    CONTENT_FREE,
    PromptData,
    PromptRows,
    calibration_places,
    examples,
    predict_by_words,
    prompt_rows,
    shown_examples,
)
from w2s_ray.learn.tokens import token_limit
from w2s_ray.plan import PlannedFit
from w2s_ray.store import Store

if TYPE_CHECKING:
    from w2s_ray.fits.train_fit import Reporter


class Prompts(FitForm):
    """Questions, with examples from the training part as far as the labels may be seen."""

    def training_data(
        self, fit: PlannedFit, rows: SplitRows, store: Store, *, control: Reporter | None = None
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
        parts: dict[str, PromptRows]
        parts = {part: prompts(rows.texts[part]) for part in ("validation", *recipe.predicts)}
        calibration, used_N = None, None
        match prompt.calibration:
            case "rows":
                places = calibration_places(prompt, len(texts), chosen, seed=recipe.seed)
                if shown:
                    calibration = "calibration"
                    parts[calibration] = prompts([texts[i] for i in places])
                else:  # all fits share the prompts of the whole part
                    calibration, used_N = recipe.train_on, labels.rows_N[places]
                    parts[calibration] = prompts(rows.texts[calibration])
            case "content_free":
                calibration = "calibration"
                parts[calibration] = prompts(CONTENT_FREE)
            case "none":
                pass
        data = PromptData(
            parts,
            labels.validation_MC,
            shots=len(shown),
            most_tokens=token_limit(fit.source, recipe.training.max_tokens),
            calibration=calibration,
            calibration_rows=used_N,
            names=names,
            known={} if shown else known_word_logits(store, fit, rows, parts, control=control),
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
        control: Reporter | None,
        **_: Any,
    ) -> FitResult:
        return predict_by_words(
            recipe,
            data=data,
            source=source,
            execution=execution,
            observer=observer,
            on_pass=PassReport(control, 0, obeys=execution.workers == 1),
        )
