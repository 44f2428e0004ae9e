"""The form `text` in a fit: running text in pieces.

A fit on the texts of a task of another form reads both texts of a pair, and of a prompt the prompt
alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from w2s_ray.fits.forms.form import FitForm
from w2s_ray.fits.labels import SECOND, TEXT, SplitRows, slice_rows
from w2s_ray.fits.training_data import TrainingData, column_texts
from w2s_ray.learn.forms.text import TextData
from w2s_ray.learn.rows import SpanRows
from w2s_ray.learn.tokens import tokenize_text
from w2s_ray.plan import PlannedFit
from w2s_ray.store import Store


class Text(FitForm):
    """Running text."""

    def training_data(
        self, fit: PlannedFit, rows: SplitRows, store: Store, **_: Any
    ) -> TrainingData:
        recipe = fit.recipe
        sliced = slice_rows(rows.groups[recipe.train_on], recipe).tolist()

        def spans(part: str, places: Sequence[int] | None = None) -> SpanRows:
            columns = [column_texts(fit.source, rows, part, column) for column in (TEXT, SECOND)]
            chosen = range(len(rows.texts.get(part, []))) if places is None else places
            read = [text for i in chosen for texts, _ in columns if texts and (text := texts[i])]
            limit, special = recipe.training.max_tokens, columns[0][1]
            pieces = tokenize_text(read, source=fit.source, max_tokens=limit, special=special)
            return SpanRows.of((piece[:1], piece[1:]) for piece in pieces)

        data = TextData(
            train=spans(recipe.train_on, sliced),
            validation=spans("validation"),
            predict={part: spans(part) for part in recipe.predicts if part != "validation"},
        )
        return TrainingData(data, len(sliced))
