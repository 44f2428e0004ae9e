"""A language model prompted for a row's class, in words, without training it.

Owns the layout of a prompt, the choice of its examples, and the one pass that compares the
probabilities of the two words. It reads no ground truth: the labels of examples are arguments.
Shapes: M rows of a part, N rows that examples may be of, C two classes.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from w2s_ray.config import Execution, FitRecipe, FullTuning, ModelSource, Prompt
from w2s_ray.learn.contract import FitResult, Observer, Predicted
from w2s_ray.learn.engines import build_engine
from w2s_ray.learn.evaluate import agreement, cross_entropy, probabilities
from w2s_ray.learn.forms.language import span_nll
from w2s_ray.learn.rows import SpanRows
from w2s_ray.learn.tokens import tokenize, tokenize_words


@dataclass(frozen=True)
class PromptData:
    """Prompts of one fit, each with either word after it."""

    parts: Mapping[str, tuple[SpanRows, SpanRows]]
    """Part -> its rows with the word of class 0, and with that of class 1."""
    validation_targets_MC: np.ndarray
    """Labels that agreement on validation is measured with."""


def examples(labels_NC: np.ndarray, *, shots: int, seed: int) -> list[int]:
    """Places of the rows that are shown: drawn by `seed`, classes by turns as far as there are."""
    order = np.random.default_rng([seed % 2**63, shots]).permutation(len(labels_NC))
    class_N = labels_NC.argmax(axis=1)
    by_class = [[int(i) for i in order if class_N[i] == c] for c in (1, 0)]
    turns = [i for pair in zip(*by_class, strict=False) for i in pair]
    left = [i for rows in by_class for i in rows[min(map(len, by_class)) :]]
    return (turns + left)[:shots]


def context(prompt: Prompt, texts: Sequence[str], labels_NC: np.ndarray, *, seed: int) -> str:
    """The examples as they stand before every question."""
    chosen = examples(labels_NC, shots=prompt.shots, seed=seed)
    words = [prompt.words[int(labels_NC[i].argmax())] for i in chosen]
    shown = zip(chosen, words, strict=True)
    return "".join(f"{texts[i]}\n{prompt.question} {word}\n\n" for i, word in shown)


def prompt_rows(
    prompt: Prompt, before: str, texts: Sequence[str], *, source: ModelSource, max_tokens: int
) -> tuple[SpanRows, SpanRows]:
    """Rows of texts with the question after them, and either word, truncated from the left."""
    words = tokenize_words(prompt.words, source=source)
    questions = [f"{before}{text}\n{prompt.question}" for text in texts]
    room = max(len(word) for word in words)
    read = tokenize(questions, source=source, max_tokens=max_tokens, less=room)
    no, yes = (SpanRows.of((read.row(i), word) for i in range(len(read))) for word in words)
    return no, yes


def predict_by_words(
    recipe: FitRecipe,
    *,
    data: PromptData,
    source: ModelSource,
    execution: Execution,
    observer: Observer,
) -> FitResult:
    """Predict every part by the probabilities of the words; the observer gets one evaluation."""
    began = time.perf_counter()
    training = recipe.training.model_copy(update={"tuning": FullTuning()})
    engine = build_engine(
        training, source=source, execution=execution, seed=recipe.seed, form="text"
    )
    try:
        margins = {
            part: span_nll(engine, no, batch=execution.evaluation_batch)
            - span_nll(engine, yes, batch=execution.evaluation_batch)
            for part, (no, yes) in data.parts.items()
        }
        parameters = engine.parameters
    finally:
        engine.close()
    predicted = {part: Predicted(probabilities(found)) for part, found in margins.items()}
    labels_MC = data.validation_targets_MC
    share = agreement(margins["validation"], labels_MC)
    loss = cross_entropy(margins["validation"], labels_MC)
    observer.evaluated(
        step=0,
        total_steps=0,
        predicted=predicted["validation"],
        agreement=share,
        loss=loss,
        predict=lambda part: predicted[part],
    )
    return FitResult(
        predicted={part: predicted[part] for part in recipe.predicts},
        losses={},
        steps=0,
        total_steps=0,
        best_step=0,
        stopped_early=False,
        validation_agreement=share,
        validation_loss=loss,
        train_loss=loss,
        parameters=parameters,
        trained_parameters=0,
        tokens=0,
        planned_tokens=0,
        evaluated_tokens=sum(rows.size for both in data.parts.values() for rows in both),
        seconds=time.perf_counter() - began,
    )
