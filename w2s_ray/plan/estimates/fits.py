"""One fit's estimate: operations, tokens and memory, from its recipe and its execution.

Owns how a recipe becomes passes over rows: epochs of training, evaluations, predictions. A fit is
taken to its schedule's end; early stopping and pruning make it shorter. It knows no devices, no
prices and no plan.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from w2s_ray.config import FORMS, LOGITS_AT_ONCE, Execution, FitRecipe, Part, Prompt
from w2s_ray.config.tuning import ProbeTuning
from w2s_ray.data.architecture import Architecture
from w2s_ray.data.lengths import How, Lengths
from w2s_ray.plan.estimates.memory import (
    Memory,
    all_parameters,
    fit_memory,
    trained_parameters,
)
from w2s_ray.plan.estimates.work import Flops, Padded, backward_flops, forward_flops, padded


@dataclass(frozen=True)
class FitEstimate:
    """What a fit takes."""

    flops: Flops
    """Over all its devices."""
    tokens: float
    """Trained on over all epochs, without padding."""
    parameters: int
    """Of the whole model, head included."""
    trained_parameters: int
    memory: Memory
    """Of each device at its peak."""
    how: How
    """Where the lengths of the training rows are from."""


def estimate_fit(
    recipe: FitRecipe,
    execution: Execution,
    *,
    model: Architecture,
    lengths: Callable[[Part], Lengths],
) -> FitEstimate:
    """The estimate of a fit of `model` on rows of these lengths."""
    if recipe.prompt is not None:
        return _asked(recipe, execution, recipe.prompt, model=model, lengths=lengths)
    training, texts = recipe.training, FORMS[recipe.form].texts
    rows = lengths(recipe.train_on)
    if recipe.train_slice is not None:
        rows = Lengths(rows.rows // recipe.train_slice[1], rows.quantiles, rows.mean, rows.how)
    trained = _trained_pass(recipe, execution, rows).times(training.epochs * texts)
    forward = forward_flops(model, trained, tuning=training.tuning)
    backward = backward_flops(
        model, trained, tuning=training.tuning, checkpointed=execution.activation_checkpointing
    )
    if _passes_twice(recipe, execution):
        forward *= 2
    if FORMS[recipe.form].is_language:
        head, again = _vocabulary_flops(recipe, execution, model=model, trained=trained)
        forward, backward = forward + head + again, backward + 2 * head

    def predicted(part: Part) -> float:
        batch = execution.evaluation_batch
        found = lengths(part)
        passed = padded(found, together=batch, sorted_rows=found.rows).times(texts)
        return forward_flops(model, passed, tuning=training.tuning)

    steps = training.epochs * -(-rows.rows // training.batch_size)
    evaluations = min(training.evaluations, steps)
    evaluation = evaluations * predicted("validation")
    evaluation += predicted("test") if "test" in recipe.predicts else 0.0
    if (
        recipe.labels.runs and "test" in recipe.predicts
    ):  # see `MetricsRecorder`: half are a new best
        evaluation += (evaluations - 1) / 2 * predicted("test")
    labelled: list[Part] = [p for p in recipe.predicts if p not in ("validation", "test")]
    texts_read = [rows, *(lengths(part) for part in ("validation", *recipe.predicts))]
    return FitEstimate(
        flops=Flops(forward, backward, evaluation, sum(map(predicted, labelled))),
        tokens=rows.tokens * training.epochs * texts,
        parameters=all_parameters(model, training.tuning, form=recipe.form),
        trained_parameters=trained_parameters(model, training.tuning, form=recipe.form),
        memory=fit_memory(
            recipe, execution, model=model, longest=max(found.at(1.0) for found in texts_read)
        ),
        how=rows.how,
    )


def _asked(
    recipe: FitRecipe,
    execution: Execution,
    prompt: Prompt,
    *,
    model: Architecture,
    lengths: Callable[[Part], Lengths],
) -> FitEstimate:
    """The estimate of a fit that trains nothing: every part is read once with either word after it.

    The examples stand before every row, as long as its training rows are on average.
    """
    training = recipe.training.model_copy(update={"tuning": ProbeTuning()})
    shown, evaluation = prompt.shots * lengths(recipe.train_on).mean, 0.0
    longest = 0.0
    for part in dict.fromkeys(("validation", *recipe.predicts)):
        given = lengths(part)
        each = tuple(min(shown + n, training.max_tokens) for n in given.quantiles)
        mean = min(shown + given.mean, training.max_tokens)
        read = Lengths(given.rows, each, mean, given.how)
        batch = execution.evaluation_batch
        passed = padded(read, together=batch, sorted_rows=read.rows).times(2)
        evaluation += forward_flops(model, passed)
        evaluation += 2.0 * model.vocabulary * model.pooled * passed.rows
        longest = max(longest, read.at(1.0))
    return FitEstimate(
        flops=Flops(evaluation=evaluation),
        tokens=0.0,
        parameters=model.parameters,
        trained_parameters=0,
        memory=fit_memory(recipe, execution, model=model, longest=longest),
        how=lengths("validation").how,
    )


def _trained_pass(recipe: FitRecipe, execution: Execution, rows: Lengths) -> Padded:
    """One epoch, as `learn/batches` cuts it into micro-batches of similar length."""
    training, workers = recipe.training, execution.workers
    micro = execution.rows_at_once(training.batch_size)
    rounds = -(-training.batch_size // (workers * micro))
    together = training.batch_size / (workers * rounds)
    drawn = training.batch_size * training.bucket_batches
    return padded(rows, together=max(1, round(together)), sorted_rows=drawn)


def _vocabulary_flops(
    recipe: FitRecipe, execution: Execution, *, model: Architecture, trained: Padded
) -> tuple[float, float]:
    """Products with the head over the vocabulary, of the learned tokens, and those made again."""
    training, tokens = recipe.training, trained.tokens
    if FORMS[recipe.form].is_completed:
        tokens = min(tokens, trained.rows * training.answer_tokens)
    head = 2.0 * model.vocabulary * model.pooled * tokens
    at_once = execution.rows_at_once(training.batch_size) * tokens / max(1.0, trained.rows)
    return head, head if at_once * model.vocabulary > LOGITS_AT_ONCE else 0.0


def _passes_twice(recipe: FitRecipe, execution: Execution) -> bool:
    """Whether the loss needs a first pass over a batch of several micro-batches."""
    batch, workers = recipe.training.batch_size, execution.workers
    several = execution.rows_at_once(batch) * workers < batch
    return several and recipe.loss.needs_whole_batch
