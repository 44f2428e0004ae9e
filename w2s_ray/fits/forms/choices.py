"""The form `choices` in a fit: questions with their choices, and distributions over these."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Any

import numpy as np

from w2s_ray.config import Training
from w2s_ray.data.cache import cache_folder
from w2s_ray.fits.forms.form import FitForm
from w2s_ray.fits.labels import TEXT, SplitRows, targets
from w2s_ray.fits.training_data import (
    TrainingData,
    column_texts,
    parts_of,
    read_as,
    weak_distributions,
)
from w2s_ray.learn.chat import has_template
from w2s_ray.learn.choices import (
    choice_rows,
    question_text,
    scored_texts,
    tokenize_questions,
    tokenize_scored,
)
from w2s_ray.learn.forms.choices import ChoiceData
from w2s_ray.learn.rows import ChoiceRows
from w2s_ray.learn.tokens import TokenRows, cached_tokens
from w2s_ray.plan import PlannedFit
from w2s_ray.store import Store


class Choices(FitForm):
    """Questions with choices."""

    def training_data(
        self, fit: PlannedFit, rows: SplitRows, store: Store, **_: Any
    ) -> TrainingData:
        recipe = fit.recipe
        labels = targets(recipe, rows, weak=weak_distributions(store, recipe))
        parts = {part: _rows_of(fit, rows, part) for part in parts_of(recipe)}
        train_on = parts[recipe.train_on]
        whole = len(labels.rows_N) == len(train_on)
        data = ChoiceData(
            train=train_on if whole else train_on.take(labels.rows_N),
            train_targets_NC=labels.train_NC,
            validation=parts["validation"],
            validation_targets_MC=labels.validation_MC,
            train_weights_N=labels.weights_N,
            predict={part: parts[part] for part in recipe.predicts},
        )
        return TrainingData(data, len(labels.rows_N), labels.dropped)


def _rows_of(fit: PlannedFit, rows: SplitRows, part: str) -> ChoiceRows:
    """The rows of a part, tokenized once per machine, tokenizer and way of scoring."""
    training, source, choices = fit.recipe.training, fit.source, rows.choices[part]
    key = [fit.recipe.split, part, *read_as(fit, rows)]
    key += [training.choice_scoring, str(training.choice_cue)]
    has_messages = part in rows.chats and has_template(source)

    def scored() -> TokenRows:
        texts = [text for row in choices for text in scored_texts(row, training)]
        return tokenize_scored(texts, source=source, after_template=has_messages)

    def questions() -> TokenRows:
        asked = _asked(rows, part, training)
        texts, special = column_texts(source, asked, part, TEXT, to_answer=True)
        return tokenize_questions(
            [text or "" for text in texts],
            longest,
            source=source,
            max_tokens=training.max_tokens,
            special=special,
        )

    folder = cache_folder() / "tokens"
    scored_rows = cached_tokens(folder, [*key, "scored choices"], scored)
    ends = np.cumsum([len(row) for row in choices])
    of_row = np.split(scored_rows.lengths, ends[:-1])
    longest = [int(lengths.max()) for lengths in of_row]
    question_rows = cached_tokens(folder, [*key, "questions"], questions)
    return choice_rows(question_rows, scored_rows, choices, training)


def _asked(rows: SplitRows, part: str, training: Training) -> SplitRows:
    """`rows`, with the listed choices and the cue after each question of a part."""

    def texts(given: Iterable[str]) -> list[str]:
        both = zip(given, rows.choices[part], strict=True)
        return [question_text(text, choices, training) for text, choices in both]

    chats = rows.chats
    if part in chats:
        messages = [chat[TEXT] for chat in chats[part]]
        last = texts(each[-1]["content"] for each in messages)
        both = zip(messages, last, strict=True)
        asked = [{TEXT: [*each[:-1], {**each[-1], "content": text}]} for each, text in both]
        chats = {**chats, part: asked}
    return replace(rows, texts={**rows.texts, part: texts(rows.texts[part])}, chats=chats)
