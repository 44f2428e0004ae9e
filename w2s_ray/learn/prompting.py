"""A language model prompted for a row's class, in words, without training it.

Owns the layout of a prompt, the choice of its examples, the one pass that compares the
probabilities of the words, and their calibration. It reads no ground truth: the labels of examples
are arguments. Shapes: M rows of a part, N rows that examples may be of, C classes.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from w2s_ray.config import Execution, FitRecipe, ModelSource, Prompt, Training
from w2s_ray.config.stages import CALIBRATION_ROWS
from w2s_ray.learn.activations import Activations
from w2s_ray.learn.contract import FitResult, Observer, Predicted
from w2s_ray.learn.engines import build_inference
from w2s_ray.learn.evaluate import (
    against_labels,
    agreement,
    cross_entropy,
    log_softmax,
    of_classes,
    probabilities,
)
from w2s_ray.learn.forms.language import span_nll
from w2s_ray.learn.rows import SpanRows
from w2s_ray.learn.tokens import TokenRows, fits, tokenize, tokenize_words

CONTENT_FREE = ("N/A", "[MASK]", "")
"""Inputs without content, of Zhao et al. 2021."""


@dataclass(frozen=True)
class PromptRows:
    """Prompts with each word after them."""

    with_word: tuple[SpanRows, ...]
    """With the word of each class."""
    shots_M: np.ndarray
    """Number of examples in each prompt, int64 [M]."""

    @property
    def size(self) -> int:
        """Tokens in all."""
        return sum(rows.size for rows in self.with_word)


@dataclass(frozen=True)
class PromptData:
    """Prompts of one fit."""

    parts: Mapping[str, PromptRows]
    """Part -> the prompts of its rows. `calibration` may name a further entry."""
    validation_targets_MC: np.ndarray
    """Labels that agreement on validation is measured with."""
    shots: int = 0
    """Number of examples in a prompt that is short enough."""
    most_tokens: int = 0
    """Most tokens of a prompt: `max_tokens`, or the model's context where that is less."""
    calibration: str | None = None
    """The part that calibration is computed from."""
    calibration_rows: np.ndarray | None = None
    """Places of its rows that are used; None = all."""
    names: tuple[str, ...] = ()
    """Names of several classes; empty for two classes."""
    known: Mapping[str, Activations] = field(default_factory=dict)
    """Part -> what `word_logits` gives of it, for those whose prompts need not be read."""


def examples(labels_NC: np.ndarray, *, shots: int, seed: int) -> list[int]:
    """Places of the rows that are shown, drawn and ordered by `seed`.

    Classes are equally frequent as far as possible; `seed` decides which has one more.
    """
    generator = np.random.default_rng([seed % 2**63, shots])
    order = generator.permutation(len(labels_NC))
    class_N = labels_NC.argmax(axis=1)
    classes = generator.permutation(labels_NC.shape[1])
    by_class = [[int(i) for i in order if class_N[i] == c] for c in classes]
    turns = itertools.chain.from_iterable(itertools.zip_longest(*by_class))
    chosen = [i for i in turns if i is not None][:shots]
    return [chosen[i] for i in generator.permutation(len(chosen))]


def shown_examples(
    prompt: Prompt, texts: Sequence[str], labels_NC: np.ndarray, chosen: Sequence[int]
) -> list[str]:
    """The rows `chosen` as they stand before every question."""
    words = [prompt.words[int(labels_NC[i].argmax())] for i in chosen]
    shown = zip(chosen, words, strict=True)
    return [f"{texts[i]}\n{prompt.question} {word}\n\n" for i, word in shown]


def calibration_places(
    prompt: Prompt, rows: int, chosen: Sequence[int], *, seed: int
) -> np.ndarray:
    """Indices of the rows that calibration is computed from; rows in `chosen` are left out."""
    order = np.random.default_rng([seed % 2**63, prompt.shots, 1]).permutation(rows)
    return np.setdiff1d(order, chosen, assume_unique=True)[:CALIBRATION_ROWS]


def prompt_rows(
    prompt: Prompt,
    shown: Sequence[str],
    texts: Sequence[str],
    *,
    source: ModelSource,
    max_tokens: int,
) -> PromptRows:
    """Prompts of `texts`: examples `shown`, text and question, with each word after them.

    Of a prompt that is too long the first examples are omitted, as many as needed. If a text is too
    long without any example, it is truncated from the left.
    """
    words = tokenize_words(prompt.words, source=source)

    def laid_out(row: int, shots: int) -> str:
        before = "".join(shown[len(shown) - shots :])
        return f"{before}{texts[row]}\n{prompt.question}"

    read, shots_M = with_examples(
        laid_out,
        np.full(len(texts), len(shown)),
        source=source,
        max_tokens=max_tokens,
        less=max(len(word) for word in words),
    )
    with_word = (SpanRows.of((read.row(i), word) for i in range(len(read))) for word in words)
    return PromptRows(tuple(with_word), shots_M)


def with_examples(
    laid_out: Callable[[int, int], str],
    most_M: np.ndarray,
    *,
    source: ModelSource,
    max_tokens: int,
    less: int,
    special: bool = True,
) -> tuple[TokenRows, np.ndarray]:
    """Prompts with as many examples as fit, and the number of examples of each, int64 [M].

    `laid_out` gives the text of a row after a number of examples, at most `most_M`. The other
    arguments are those of `tokenize`, which truncates a prompt that is too long without examples.
    """
    shots_M = most_M.astype(np.int64)
    for shots in range(int(shots_M.max(initial=0)), 0, -1):
        rows = np.flatnonzero(shots_M == shots)
        given = [laid_out(int(row), shots) for row in rows]
        whole = fits(given, source=source, max_tokens=max_tokens, less=less, special=special)
        shots_M[rows[~whole]] = shots - 1
    every = [laid_out(row, int(shots)) for row, shots in enumerate(shots_M)]
    given_to = {"source": source, "max_tokens": max_tokens, "less": less, "special": special}
    return tokenize(every, **given_to), shots_M


def log_odds_of_mean(logits_MC: np.ndarray) -> np.ndarray:
    """Logarithms of p(c) / p(0) of the mean probabilities p of rows with these logits, [C]."""
    log_C = np.logaddexp.reduce(log_softmax(logits_MC), axis=0)
    return log_C - log_C[0]


def word_logits(
    parts: Mapping[str, PromptRows],
    *,
    source: ModelSource,
    training: Training,
    execution: Execution,
    on_pass: Callable[[], None] = lambda: None,
) -> Iterator[tuple[str, Activations]]:
    """Each part with the words' log-odds: the logarithms of p(c) / p(0) of each row, [M, C].

    Computed when it is requested, with the model loaded once. Every worker of a fit calls it alike
    and gets the same. `on_pass` is called before each forward pass and may raise.
    """
    engine = build_inference(training, source=source, execution=execution, seed=0, form="text")
    batch = execution.evaluation_batch
    try:
        for part, rows in parts.items():
            nll = [span_nll(engine, each, batch=batch, on_pass=on_pass) for each in rows.with_word]
            nll_CM = np.stack(nll)
            yield part, Activations((nll_CM[0] - nll_CM).T.copy(), engine.parameters)
    finally:
        engine.close()


def predict_by_words(
    recipe: FitRecipe,
    *,
    data: PromptData,
    source: ModelSource,
    execution: Execution,
    observer: Observer,
    on_pass: Callable[[], None] = lambda: None,
) -> FitResult:
    """Predict every part by the probabilities of the words; the observer gets one evaluation.

    With calibration, the mean probabilities over its inputs are the classes' prior: each row's
    probabilities are divided by it and normalized.
    """
    began = time.perf_counter()
    missing = {part: rows for part, rows in data.parts.items() if part not in data.known}
    given = {"source": source, "training": recipe.training, "execution": execution}
    read = word_logits(missing, **given, on_pass=on_pass) if missing else ()
    found = {**data.known, **dict(read)}
    logits = {part: each.values_ND for part, each in found.items()}
    figures = _figures(data)
    if data.calibration is not None:
        calibration_MC = logits[data.calibration]
        if data.calibration_rows is not None:
            calibration_MC = calibration_MC[data.calibration_rows]
        shift_C = log_odds_of_mean(calibration_MC)
        if not data.names:
            figures["calibration_prior"] = float(probabilities(shift_C[1:])[0])
        logits = {part: each - shift_C.astype(np.float32) for part, each in logits.items()}
    predicted = {part: _predicted(found, data.names) for part, found in logits.items()}
    share, loss = _judged(logits["validation"], data.validation_targets_MC)
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
        parameters=found["validation"].parameters,
        trained_parameters=0,
        tokens=0,
        planned_tokens=0,
        evaluated_tokens=sum(rows.size for rows in missing.values()),
        figures=figures,
        seconds=time.perf_counter() - began,
    )


def _predicted(logits_MC: np.ndarray, names: tuple[str, ...]) -> Predicted:
    """Predictions of rows whose logit of class 0 is 0."""
    return of_classes(logits_MC, names) if names else Predicted(probabilities(logits_MC[:, 1]))


def _judged(logits_MC: np.ndarray, labels_MC: np.ndarray) -> tuple[float, float]:
    """Agreement with labels, and cross-entropy in nats."""
    if labels_MC.shape[1] > 2:
        return against_labels(logits_MC, labels_MC)
    margins_M = logits_MC[:, 1]
    return agreement(margins_M, labels_MC), cross_entropy(margins_M, labels_MC)


def _figures(data: PromptData) -> dict[str, float]:
    """Test prompts, and how many of them have fewer examples because they were too long."""
    test = data.parts.get("test")
    if test is None or not data.shots:
        return {}
    return {
        "test_prompts": len(test.shots_M),
        "test_prompts_cut": int((test.shots_M < data.shots).sum()),
        "test_shots_mean": float(test.shots_M.mean()),
        "test_prompt_limit": data.most_tokens,
    }
