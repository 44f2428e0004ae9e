"""Bytes that a fit holds on each of its devices, from shapes alone.

Owns the counting: weights, gradients and AdamW's state by ZeRO stage and offload, beside the
activations of the longest micro-batch, and a reserve for what isn't counted. Of a device it uses
the bytes of memory alone.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from w2s_ray.config import FORMS, GPU_CONTEXT, Execution, FitRecipe, FormName, ProbeTuning, Training
from w2s_ray.config.tuning import Tuning
from w2s_ray.data.architecture import Architecture
from w2s_ray.plan.estimates.activations import (
    NF4,
    Activations,
    bf16_parameters,
    four_bit_parameters,
)
from w2s_ray.plan.estimates.work import adapted

GIB = 2**30
RESERVE = GPU_CONTEXT + GIB
"""For a process's context, fragmentation and what isn't counted: an allowance, not measured."""
LIVE = 1_000_000_000
"""Weights that ZeRO-3 keeps gathered at most: DeepSpeed's default."""
BUCKET = 50_000_000
"""Entries of each of two communication buffers, as `learn/deepspeed_engine` sets them."""


@dataclass(frozen=True)
class Memory:
    """Bytes on one device at a fit's peak."""

    weights: float
    gradients: float
    optimizer: float
    activations: float
    """What the backward pass needs of the longest micro-batch, and what is at work on it."""
    buffers: float = 0.0
    """Gathered weights and communication buffers of ZeRO."""
    host: float = 0.0
    """On the host instead, by offload."""
    gradients_stay: bool = False
    """Whether gradients lie beside all activations: those of earlier micro-batches, or in a buffer
    of ZeRO-3's. Else they take the place of activations in the backward pass."""
    loading: float = 0.0
    """Weights while ZeRO-3 loads them: shards in fp32, before the frozen ones are held in bf16, and
    one whole matrix, at most the embedding."""

    @property
    def total(self) -> float:
        """On the device, without the reserve."""
        if self.gradients_stay:
            passing = self.gradients + self.activations
        else:
            passing = max(self.gradients, self.activations)
        return max(self.loading, self.weights + self.optimizer + passing + self.buffers)


def fit_memory(
    recipe: FitRecipe,
    execution: Execution,
    *,
    model: Architecture,
    longest: float,
    choices: int = 1,
    classes: int = 2,
) -> Memory:
    """The peak of a fit whose longest text has `longest` tokens, with `choices` a row."""
    training = recipe.training
    if recipe.prompt is None:
        return memory(
            model,
            training=training,
            execution=execution,
            longest=longest,
            form=recipe.trained_form,
            choices=choices,
            classes=classes,
        )
    read = training.model_copy(update={"tuning": ProbeTuning()})
    passing = Activations(model, read, execution, longest, "text").passing
    every = 4.0 * all_parameters(model, read.tuning, form="text")
    held = _held(every, model, read)
    if execution.engine == "torch" or execution.zero_stage < 3:
        return Memory(held, 0, 0, passing)
    found = Memory(held / execution.workers, 0, 0, passing)
    return _sharded(found, held, every, model=model, execution=execution)


def memory(
    model: Architecture,
    *,
    training: Training,
    execution: Execution,
    longest: float,
    form: FormName = "classes",
    choices: int = 1,
    classes: int = 2,
) -> Memory:
    """The peak of training by one of the forms."""
    tuning, workers = training.tuning, execution.workers
    every = 4.0 * all_parameters(model, tuning, form=form, classes=classes)
    held = _held(every, model, training)
    trained = 4.0 * trained_parameters(model, tuning, form=form, classes=classes)
    working = Activations(model, training, execution, longest, form, choices).working
    stay = execution.rows_at_once(training.batch_size) * workers < training.batch_size
    # The weights that a fit began with are kept where they are decayed to.
    kept = trained if training.weight_decay_to == "initial" and training.weight_decay else 0.0
    if execution.engine == "torch":
        stay |= execution.compile == "max"
        return Memory(held, trained, 2 * trained + kept, working, gradients_stay=stay)
    stage = execution.zero_stage
    shards = [workers if stage >= least else 1 for least in (3, 2, 1)]
    weights, gradients = held / shards[0], trained / shards[1]
    # From stage 1 on the optimizer's weights are a copy of the model's.
    optimizer = (3 if stage else 2) * trained / shards[2]
    buffers, host = 2 * min(4.0 * BUCKET, trained), 0.0
    if execution.offload == "cpu":
        host, optimizer = optimizer + gradients, 0.0
    found = Memory(weights, gradients, optimizer, working, buffers, host, stay or stage == 3)
    if stage < 3:
        return found
    return _sharded(found, held, every, model=model, execution=execution)


def _held(every: float, model: Architecture, training: Training) -> float:
    """Bytes of all weights as an engine holds them; `every` = in fp32."""
    found = every - 2.0 * bf16_parameters(model, training)
    return found - (4.0 - NF4) * four_bit_parameters(model, training)


def _sharded(
    found: Memory, held: float, every: float, *, model: Architecture, execution: Execution
) -> Memory:
    """`found` under ZeRO-3: with the weights that it gathers, and those of loading."""
    gathered = min(4.0 * LIVE * held / every, held)
    found = replace(found, buffers=found.buffers + gathered)
    if execution.offload == "cpu":
        return replace(found, weights=0.0, host=found.host + found.weights)
    return replace(found, loading=every / execution.workers + 4.0 * model.vocabulary * model.width)


def all_parameters(
    model: Architecture, tuning: Tuning, *, form: FormName = "classes", classes: int = 2
) -> int:
    """Weights of the model with its head and what adapters add."""
    return model.parameters + _head(model, form, classes) + _adapters(model, tuning)


def trained_parameters(
    model: Architecture, tuning: Tuning, *, form: FormName = "classes", classes: int = 2
) -> int:
    """Weights that the optimizer changes; a head over a vocabulary only if all are."""
    head = 0 if FORMS[form].is_language else _head(model, form, classes)
    match tuning.kind:
        case "full" | "lp_ft":
            return model.parameters + _head(model, form, classes)
        case "lora":
            return head + _adapters(model, tuning)
        case "last_layers":
            return head + min(model.layers, tuning.layers) * model.layer_parameters
        case "probe":
            return head


def _adapters(model: Architecture, tuning: Tuning) -> int:
    """Weights that adapters add."""
    if tuning.kind != "lora":
        return 0
    return model.layers * sum(tuning.rank * (m.inner + m.outer) for m in adapted(model, tuning))


def _head(model: Architecture, form: FormName, classes: int) -> int:
    """Weights of the head, unless they are the embedding's."""
    if FORMS[form].is_language:
        return 0 if model.skeleton.tied else model.vocabulary * model.pooled
    return classes * model.pooled
