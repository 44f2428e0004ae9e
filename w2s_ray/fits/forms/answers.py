"""The form `answers` in a fit: prompts, and the answers to learn."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from w2s_ray.config import FitRecipe
from w2s_ray.data.example import normal_answer
from w2s_ray.fits.forms.form import FitForm
from w2s_ray.fits.labels import SplitRows, answers
from w2s_ray.fits.training_data import TrainingData, parts_of, stored_predictions, tokenized
from w2s_ray.learn.forms.answers import AnswerData
from w2s_ray.learn.rows import SpanRows
from w2s_ray.learn.tokens import (
    TokenRows,
    check_answers,
    detokenize,
    stop_token,
    tokenize_answers,
)
from w2s_ray.plan import PlannedFit
from w2s_ray.store import Store


class Answers(FitForm):
    """Prompts and answers."""

    def training_data(
        self, fit: PlannedFit, rows: SplitRows, store: Store, **_: Any
    ) -> TrainingData:
        recipe, source = fit.recipe, fit.source
        most = recipe.training.answer_tokens
        labels = answers(recipe, rows, weak=weak_answers(store, recipe))
        if recipe.learns_from_ground_truth:
            check_answers([*labels.train, *labels.validation], source=source, most=most)
        # A prompt is truncated from the left to leave room for the longest completion.
        prompts = {part: tokenized(fit, rows, part, less=most) for part in parts_of(recipe)}

        def spans(prompts: TokenRows, texts: Sequence[str]) -> SpanRows:
            learned = tokenize_answers(texts, source=source, most=most)
            return SpanRows.of(zip(map(prompts.row, range(len(prompts))), learned, strict=True))

        train = spans(prompts[recipe.train_on].take(labels.rows_N), labels.train)
        stop = stop_token(source)
        assert stop is not None, "answers were tokenized without an end"
        predicted = dict.fromkeys(("validation", *recipe.predicts))
        data = AnswerData(
            train=train,
            validation=spans(prompts["validation"], labels.validation),
            validation_answers=tuple(labels.validation),
            predict={part: prompts[part] for part in predicted},
            texts=lambda tokens_MK: tuple(
                map(normal_answer, detokenize((row[row >= 0] for row in tokens_MK), source=source))
            ),
            stop_id=stop,
            most=most,
        )
        return TrainingData(data, len(train))


def weak_answers(store: Store, recipe: FitRecipe) -> Mapping[tuple[str, str], str] | None:
    """(part, example id) -> the supervisor's completion."""
    runs = recipe.labels.runs
    if not runs:
        return None
    assert len(runs) == 1, "the plan refuses ensembles of completions"
    assert not recipe.labels.transforms, "the plan refuses transforms of completions"
    return stored_predictions(store, runs[0], "answer")
