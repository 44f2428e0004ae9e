"""A language model prompted for a row's class, in words, without training it.

Owns the layout of a prompt, the choice of its examples, the one pass that compares the
probabilities of the two words, and their calibration. It reads no ground truth: the labels of
examples are arguments. Shapes: M rows of a part, N rows that examples may be of, C two classes.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from w2s_ray.config import Execution, FitRecipe, ModelSource, Prompt
from w2s_ray.config.stages import CALIBRATION_ROWS
from w2s_ray.learn.contract import FitResult, Observer, Predicted
from w2s_ray.learn.engine import InferenceEngine
from w2s_ray.learn.engines import build_inference
from w2s_ray.learn.evaluate import agreement, cross_entropy, probabilities
from w2s_ray.learn.forms.language import span_nll
from w2s_ray.learn.rows import SpanRows
from w2s_ray.learn.tokens import fits, tokenize, tokenize_words

CONTENT_FREE = ("N/A", "[MASK]", "")
"""Inputs without content, of Zhao et al. 2021."""


@dataclass(frozen=True)
class PromptRows:
    """Prompts with either word after them."""

    no: SpanRows
    """With the word of class 0."""
    yes: SpanRows
    """With the word of class 1."""
    shots_M: np.ndarray
    """Number of examples in each prompt, int64 [M]."""

    @property
    def size(self) -> int:
        """Tokens in all."""
        return self.no.size + self.yes.size


@dataclass(frozen=True)
class PromptData:
    """Prompts of one fit."""

    parts: Mapping[str, PromptRows]
    """Part -> the prompts of its rows."""
    validation_targets_MC: np.ndarray
    """Labels that agreement on validation is measured with."""
    shots: int = 0
    """Number of examples in a prompt that is short enough."""
    calibration: PromptRows | None = None
    """Prompts of the inputs that calibration is computed from."""


def examples(labels_NC: np.ndarray, *, shots: int, seed: int) -> list[int]:
    """Places of the rows that are shown, drawn and ordered by `seed`.

    Classes are equally frequent as far as possible; `seed` decides which has one more.
    """
    generator = np.random.default_rng([seed % 2**63, shots])
    order = generator.permutation(len(labels_NC))
    class_N = labels_NC.argmax(axis=1)
    by_class = [[int(i) for i in order if class_N[i] == c] for c in generator.permutation(2)]
    turns = [i for pair in zip(*by_class, strict=False) for i in pair]
    left = [i for rows in by_class for i in rows[min(map(len, by_class)) :]]
    chosen = (turns + left)[:shots]
    return [chosen[i] for i in generator.permutation(len(chosen))]


def shown_examples(
    prompt: Prompt, texts: Sequence[str], labels_NC: np.ndarray, chosen: Sequence[int]
) -> list[str]:
    """The rows `chosen` as they stand before every question."""
    words = [prompt.words[int(labels_NC[i].argmax())] for i in chosen]
    shown = zip(chosen, words, strict=True)
    return [f"{texts[i]}\n{prompt.question} {word}\n\n" for i, word in shown]


def calibration_texts(
    prompt: Prompt, texts: Sequence[str], chosen: Sequence[int], *, seed: int
) -> list[str]:
    """The inputs that calibration is computed from; `chosen` are the places of examples."""
    if prompt.calibration == "content_free":
        return list(CONTENT_FREE)
    order = np.random.default_rng([seed % 2**63, prompt.shots, 1]).permutation(len(texts))
    others = [int(i) for i in np.setdiff1d(order, chosen, assume_unique=True)]
    return [texts[i] for i in others[:CALIBRATION_ROWS]]


def prompt_rows(
    prompt: Prompt,
    shown: Sequence[str],
    texts: Sequence[str],
    *,
    source: ModelSource,
    max_tokens: int,
) -> PromptRows:
    """Prompts of `texts`: examples `shown`, text and question, with either word after them.

    Of a prompt that is too long the first examples are omitted, as many as needed. If a text is too
    long without any example, it is truncated from the left.
    """
    words = tokenize_words(prompt.words, source=source)
    room = max(len(word) for word in words)

    def prompts(rows: np.ndarray, shots: int) -> list[str]:
        before = "".join(shown[len(shown) - shots :])
        return [f"{before}{texts[i]}\n{prompt.question}" for i in rows]

    shots_M = np.full(len(texts), len(shown))
    for shots in range(len(shown), 0, -1):
        rows = np.flatnonzero(shots_M == shots)
        whole = fits(prompts(rows, shots), source=source, max_tokens=max_tokens, less=room)
        shots_M[rows[~whole]] = shots - 1
    every = [prompts(np.array([i]), int(shots))[0] for i, shots in enumerate(shots_M)]
    read = tokenize(every, source=source, max_tokens=max_tokens, less=room)
    no, yes = (SpanRows.of((read.row(i), word) for i in range(len(read))) for word in words)
    return PromptRows(no, yes, shots_M)


def log_odds_of_mean(margins_M: np.ndarray) -> float:
    """Logarithm of p(1) / p(0) of the mean probabilities p of rows with these margins."""
    wide_M = margins_M.astype(np.float64)
    log_p1, log_p0 = -np.logaddexp(0.0, -wide_M), -np.logaddexp(0.0, wide_M)
    return float(np.logaddexp.reduce(log_p1) - np.logaddexp.reduce(log_p0))


def predict_by_words(
    recipe: FitRecipe,
    *,
    data: PromptData,
    source: ModelSource,
    execution: Execution,
    observer: Observer,
) -> FitResult:
    """Predict every part by the probabilities of the words; the observer gets one evaluation.

    With calibration, the mean probabilities over its inputs are the classes' prior: each row's
    probabilities are divided by it and normalized.
    """
    began = time.perf_counter()
    engine = build_inference(
        recipe.training, source=source, execution=execution, seed=recipe.seed, form="text"
    )
    calibration, shift, figures = data.calibration, 0.0, _figures(data)
    try:
        if calibration is not None:
            shift = log_odds_of_mean(_margins(engine, calibration, execution))
            figures["calibration_prior"] = float(probabilities(np.array([shift]))[0])
        margins = {
            part: _margins(engine, rows, execution) - np.float32(shift)
            for part, rows in data.parts.items()
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
        evaluated_tokens=sum(rows.size for rows in (*data.parts.values(), calibration) if rows),
        figures=figures,
        seconds=time.perf_counter() - began,
    )


def _margins(engine: InferenceEngine, rows: PromptRows, execution: Execution) -> np.ndarray:
    """Logarithm of p(1) / p(0) of each row, from the probabilities of the words."""
    batch = execution.evaluation_batch
    return span_nll(engine, rows.no, batch=batch) - span_nll(engine, rows.yes, batch=batch)


def _figures(data: PromptData) -> dict[str, float]:
    """Test prompts, and how many of them have fewer examples because they were too long."""
    test = data.parts.get("test")
    if test is None or not data.shots:
        return {}
    return {
        "test_prompts": len(test.shots_M),
        "test_prompts_cut": int((test.shots_M < data.shots).sum()),
        "test_shots_mean": float(test.shots_M.mean()),
    }
