"""The estimate of one fit: FLOPs, tokens and memory, from its recipe and its execution.

Owns the passes over rows that a recipe implies: epochs of training, evaluations, predictions. The
whole schedule is counted, without early stopping and pruning. It does not depend on devices,
prices or the plan.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial

from w2s_ray.config import (
    CPU_PASS_TOKENS,
    FORMS,
    LOGITS_AT_ONCE,
    Completions,
    Execution,
    FitRecipe,
    Part,
    Prompt,
)
from w2s_ray.config.stages import CALIBRATION_ROWS
from w2s_ray.config.tuning import ProbeTuning
from w2s_ray.data.architecture import Architecture
from w2s_ray.data.lengths import Lengths, LengthSource
from w2s_ray.plan.estimates.activations import texts_of_row
from w2s_ray.plan.estimates.memory import (
    Memory,
    all_parameters,
    fit_memory,
    trained_parameters,
)
from w2s_ray.plan.estimates.work import (
    Flops,
    Padded,
    backward_flops,
    forward_flops,
    padded,
    padded_by_tokens,
)


@dataclass(frozen=True)
class FitEstimate:
    """The estimate of one fit."""

    flops: Flops
    """The sum over all devices."""
    tokens: float
    """Training tokens of all epochs, without padding."""
    parameters: int
    """Parameters of the whole model, head included."""
    trained_parameters: int
    needs: Callable[[Execution], Memory] = field(compare=False)
    """Peak memory of each device, by the fit's execution."""
    memory: Memory
    """The same with its own execution."""
    length_source: LengthSource
    """Source of the lengths of the training rows."""
    stored: Mapping[Part, float] = field(default_factory=dict)
    """Part -> FLOPs of the pass over it that all fits of the store share; not in `flops`. It
    computes a probe's activations, a policy's reference, or answers to prompts without examples."""


def estimate_fit(
    recipe: FitRecipe,
    execution: Execution,
    *,
    model: Architecture,
    lengths: Callable[[Part], Lengths],
) -> FitEstimate:
    """The estimate of a fit of `model`; `lengths` gives the row lengths of each part."""
    if recipe.prompt is not None:
        return _estimate_prompted(recipe, execution, recipe.prompt, model=model, lengths=lengths)
    training, rows = recipe.training, lengths(recipe.train_on)
    completions = recipe.completions or Completions()
    texts = texts_of_row(recipe.trained_form, choices=rows.choices) * (1 + completions.shots)
    final = 1 + (completions.samples if completions.temperature else 0)
    divisor = (recipe.train_slice[1] if recipe.train_slice else 1) * (recipe.one_row_in or 1)
    if divisor > 1:
        rows = replace(rows, rows=max(1, rows.rows // divisor))
    epochs = training.epochs if recipe.trained else 0
    trained = _trained_pass(recipe, execution, rows).times(epochs * texts)
    forward = forward_flops(model, trained, tuning=training.tuning)
    backward = backward_flops(
        model, trained, tuning=training.tuning, checkpointed=execution.activation_checkpointing
    )
    head = _vocabulary_flops(recipe, model=model, passed=trained)
    forward, backward = forward + head, backward + 2 * head
    if _passes_twice(recipe, execution):
        forward *= 2
    if _is_head_computed_again(recipe, execution, model=model, passed=trained, texts=texts):
        forward += head

    def predicted(part: Part, *, kept: bool = False) -> float:
        passed = _without_gradients(lengths(part), execution, texts=texts, kept=kept)
        head = _vocabulary_flops(recipe, model=model, passed=passed)
        return forward_flops(model, passed, tuning=training.tuning) + head

    steps = epochs * -(-rows.rows // training.batch_size)
    evaluations = max(1, min(training.evaluations, steps))  # the result predicts validation
    evaluation = evaluations * predicted("validation")
    evaluation += (final - 1) * predicted("validation")
    evaluation += final * predicted("test") if "test" in recipe.predicts else 0.0
    if recipe.labels.runs and "test" in recipe.predicts:
        # A new best evaluation predicts the test rows (see `MetricsRecorder`); half are new bests.
        evaluation += (evaluations - 1) / 2 * predicted("test")
    labelled: list[Part] = [p for p in recipe.predicts if p not in ("validation", "test")]
    texts_read = [rows, *(lengths(part) for part in ("validation", *recipe.predicts))]
    flops = Flops(forward, backward, evaluation, final * sum(map(predicted, labelled)))
    is_probe = training.tuning.kind == "probe"
    if is_probe:
        flops = Flops(forward=backward, backward=backward)  # the head and its weights' gradient
    stored: dict[Part, float] = {}
    if is_probe or recipe.trained_form != recipe.form:  # activations, or a policy's reference
        parts: tuple[Part, ...] = (recipe.train_on, "validation", *recipe.predicts)
        stored = {part: predicted(part, kept=True) for part in parts}
    longest = max(read.at(1.0) for read in texts_read)
    if completions.shots:
        longest = min(training.max_tokens, (1 + completions.shots) * longest)
    needs = partial(
        fit_memory,
        recipe,
        model=model,
        longest=longest,
        choices=rows.choices,
        classes=rows.classes,
    )
    head = {"form": recipe.trained_form, "classes": rows.classes}
    return FitEstimate(
        flops=flops,
        stored=stored,
        tokens=rows.tokens * epochs * texts,
        parameters=all_parameters(model, training.tuning, **head),
        trained_parameters=trained_parameters(model, training.tuning, **head),
        needs=needs,
        memory=needs(execution),
        length_source=rows.source,
    )


def _estimate_prompted(
    recipe: FitRecipe,
    execution: Execution,
    prompt: Prompt,
    *,
    model: Architecture,
    lengths: Callable[[Part], Lengths],
) -> FitEstimate:
    """The estimate of a prompted fit, which trains nothing: a pass for each answer word.

    Prompts without examples are read once for all fits. Examples precede every row; each counts
    with the mean length of the training rows. The three short inputs of a calibration without
    content are not counted.
    """
    training = recipe.training.model_copy(update={"tuning": ProbeTuning()})
    train_rows = lengths(recipe.train_on)
    shown = prompt.shots * train_rows.mean

    def read(rows: Lengths) -> Lengths:
        quantiles = tuple(min(shown + n, training.max_tokens) for n in rows.quantiles)
        mean = min(shown + rows.mean, training.max_tokens)
        return Lengths(rows.rows, quantiles, mean, rows.source)

    def flops(rows: Lengths) -> float:
        passed = _without_gradients(rows, execution, kept=True).times(len(prompt.words))
        head = 2.0 * model.vocabulary * model.pooled * passed.rows
        return forward_flops(model, passed) + head

    parts: tuple[Part, ...] = ("validation", *recipe.predicts)
    by_rows = prompt.calibration == "rows"
    if by_rows and not prompt.shots:
        parts = (recipe.train_on, *parts)
    prompts: dict[Part, Lengths] = {part: read(lengths(part)) for part in parts}
    others = [read(replace(train_rows, rows=min(train_rows.rows, CALIBRATION_ROWS)))]
    others = others if by_rows and prompt.shots else []
    once = {} if prompt.shots else prompts
    own = [*(prompts.values() if prompt.shots else ()), *others]
    longest = max(rows.at(1.0) for rows in (*prompts.values(), *others))
    needs = partial(fit_memory, recipe, model=model, longest=longest)
    return FitEstimate(
        flops=Flops(evaluation=sum(map(flops, own))),
        stored={part: flops(rows) for part, rows in once.items()},
        tokens=0.0,
        parameters=model.parameters,
        trained_parameters=0,
        needs=needs,
        memory=needs(execution),
        length_source=lengths("validation").source,
    )


def _trained_pass(recipe: FitRecipe, execution: Execution, rows: Lengths) -> Padded:
    """One epoch in the micro-batches of similar length that `learn/batches` makes."""
    training, workers = recipe.training, execution.workers
    micro = execution.rows_at_once(training.batch_size)
    rounds = -(-training.batch_size // (workers * micro))
    together = training.batch_size / (workers * rounds)
    if execution.gpus_per_worker == 0 and workers == 1 and not recipe.loss.needs_whole_batch:
        together = min(together, max(1.0, CPU_PASS_TOKENS / rows.mean))
    bucket = training.batch_size * recipe.bucket_batches
    return padded(rows, together=max(1, round(together)), sorted_rows=bucket)


def _without_gradients(
    rows: Lengths, execution: Execution, *, texts: float = 1, kept: bool = False
) -> Padded:
    """One pass over rows of `texts` texts each, in the batches that `learn/engine` makes; `kept`:
    the store keeps what it gives.
    """
    batch = execution.evaluation_batch
    on_cpu = execution.gpus_per_worker == 0
    if on_cpu and kept:
        return padded(rows, together=batch, sorted_rows=rows.rows).times(texts)
    most = batch * rows.at(1.0) * texts
    if on_cpu:
        most = min(most, CPU_PASS_TOKENS)
    return padded_by_tokens(rows, most=most / texts).times(texts)


def _vocabulary_flops(recipe: FitRecipe, *, model: Architecture, passed: Padded) -> float:
    """Products with the head over the vocabulary in a forward pass, of the learned tokens."""
    form, tokens = FORMS[recipe.trained_form], passed.tokens
    if not form.is_language:
        return 0.0
    if form.is_completed:
        tokens = min(tokens, passed.rows * recipe.training.answer_tokens)
    return 2.0 * model.vocabulary * model.pooled * tokens


def _is_head_computed_again(
    recipe: FitRecipe, execution: Execution, *, model: Architecture, passed: Padded, texts: int
) -> bool:
    """Whether the backward pass computes the products with the head once more, in chunks."""
    of_text = _vocabulary_flops(recipe, model=model, passed=passed) / max(1.0, passed.rows)
    logits = of_text / (2.0 * model.pooled)
    rows = execution.rows_at_once(recipe.training.batch_size)
    return rows * texts * logits > LOGITS_AT_ONCE


def _passes_twice(recipe: FitRecipe, execution: Execution) -> bool:
    """Whether the loss needs an additional pass over a batch of several micro-batches."""
    batch, workers = recipe.training.batch_size, execution.workers
    accumulates = execution.rows_at_once(batch) * workers < batch
    return accumulates and recipe.loss.needs_whole_batch
