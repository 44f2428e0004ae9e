"""The form `answers` in a fit: prompts, and the answers to learn."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from w2s_ray.config import FitRecipe
from w2s_ray.data.example import normal_answer
from w2s_ray.fits.forms.form import FitForm
from w2s_ray.fits.in_context import BETWEEN, Examples, is_in_turns, prompts_with_examples
from w2s_ray.fits.labels import Answers as AnswerLabels
from w2s_ray.fits.labels import Completed, Completion, SplitRows, answers
from w2s_ray.fits.training_data import TrainingData, parts_of, stored_predictions, tokenized
from w2s_ray.learn.forms.answers import AnswerData
from w2s_ray.learn.rows import SpanRows
from w2s_ray.learn.sampling import Draws
from w2s_ray.learn.tokens import (
    TokenRows,
    check_answers,
    detokenize,
    stop_token,
    tokenize_answers,
)
from w2s_ray.methods.extractors import is_default
from w2s_ray.plan import PlannedFit
from w2s_ray.store import Store


class Answers(FitForm):
    """Prompts and answers."""

    def training_data(
        self, fit: PlannedFit, rows: SplitRows, store: Store, **_: Any
    ) -> TrainingData:
        recipe, source = fit.recipe, fit.source
        most, given = recipe.training.answer_tokens, recipe.completions
        labels = answers(
            recipe,
            rows,
            weak=completed(store, recipe, recipe.labels.runs),
            own=completed(store, recipe, (recipe.labels.agreed_with,)),
        )
        if recipe.learns_from_ground_truth:
            check_answers([*labels.train, *labels.validation], source=source, most=most)
        # A prompt is truncated from the left to leave room for the longest completion.
        prompts, figures = _prompts(fit, rows, labels)

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
            texts=_texts(fit, is_cut=bool(given and given.shots) and not is_in_turns(fit, rows)),
            stop_id=stop,
            most=most,
            extract=None if is_default(recipe.extract) else recipe.extract.compared,
            draws=None if given is None else Draws(given.samples, given.temperature, recipe.seed),
        )
        kept = len(np.unique(labels.rows_N))
        return TrainingData(data, kept, labels.dropped, figures)


def _prompts(
    fit: PlannedFit, rows: SplitRows, labels: AnswerLabels
) -> tuple[dict[str, TokenRows], dict[str, float]]:
    """Part -> its prompts, and how many of them have fewer examples because they were too long."""
    recipe, given = fit.recipe, fit.recipe.completions
    less = recipe.training.answer_tokens
    if given is None or not given.shots:
        return {part: tokenized(fit, rows, part, less=less) for part in parts_of(recipe)}, {}
    examples = Examples.drawn(
        recipe.train_on, labels.rows_N, labels.train, shots=given.shots, seed=recipe.seed
    )
    prompts, figures = dict[str, TokenRows](), dict[str, float]()
    for part in parts_of(recipe):
        prompts[part], shots_M = prompts_with_examples(fit, rows, part, examples, less=less)
        most_M = [len(examples.before(part, place)) for place in range(len(shots_M))]
        figures |= {f"{part}_prompts": len(shots_M)}
        figures |= {f"{part}_prompts_cut": int((shots_M < most_M).sum())}
    return prompts, figures


def _texts(fit: PlannedFit, *, is_cut: bool) -> Callable[[np.ndarray], tuple[str, ...]]:
    """A function from completions as tokens to texts, which end before a blank line if `is_cut`."""

    def texts(tokens_MK: np.ndarray) -> tuple[str, ...]:
        made = detokenize((row[row >= 0] for row in tokens_MK), source=fit.source)
        whole = map(normal_answer, made)
        return tuple(normal_answer(t.partition(BETWEEN)[0]) if is_cut else t for t in whole)

    return texts


def completed(store: Store, recipe: FitRecipe, runs: Sequence[str | None]) -> Completed | None:
    """(part, example id) -> the completion by the run of `runs`; None if there is none."""
    known = [run for run in runs if run is not None]
    if not known:
        return None
    assert len(known) == 1, "the plan refuses ensembles of completions"
    assert not recipe.labels.transforms, "the plan refuses transforms of completions"
    texts, shares = (stored_predictions(store, known[0], name) for name in ("answer", "certainty"))
    compared: Mapping[tuple[str, str], str | None] = texts
    if not is_default(recipe.extract):
        compared = stored_predictions(store, known[0], "extracted")
    return {row: Completion(text, compared[row], shares[row]) for row, text in texts.items()}
