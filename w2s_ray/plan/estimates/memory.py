"""Bytes that a fit holds on each of its devices, from shapes alone.

Owns the counting: weights, gradients and AdamW's state by ZeRO stage and offload, activations that
the backward pass needs by kind of layer and precision, and a reserve for what isn't counted. The
peak is the peak of the longest micro-batch. Of a device it uses the bytes of memory alone.
"""

from __future__ import annotations

from dataclasses import dataclass

from w2s_ray.config import Execution, Training
from w2s_ray.config.tuning import Tuning
from w2s_ray.data.architecture import Architecture
from w2s_ray.plan.estimates.work import adapted

GIB = 2**30
RESERVE = 3 * GIB // 2
"""For a GPU's context, the libraries' workspaces and fragmentation: an allowance, not measured."""
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

    @property
    def total(self) -> float:
        """On the device, without the reserve."""
        return self.weights + self.gradients + self.optimizer + self.activations + self.buffers


def memory(
    model: Architecture, *, training: Training, execution: Execution, longest: float
) -> Memory:
    """The peak of a fit whose longest row has `longest` tokens."""
    tuning, workers = training.tuning, execution.workers
    every, trained = 4.0 * all_parameters(model, tuning), 4.0 * trained_parameters(model, tuning)
    rows = execution.micro_batch or -(-training.batch_size // workers)
    rows = min(rows, -(-training.batch_size // workers))
    working = _working(
        model,
        training=training,
        tokens=rows * longest,
        evaluated=execution.evaluation_batch * longest,
        checkpointed=execution.activation_checkpointing,
    )
    if execution.engine == "torch":
        return Memory(every, trained, 2 * trained, working)
    stage = execution.zero_stage
    shards = [workers if stage >= least else 1 for least in (3, 2, 1)]
    weights, gradients = every / shards[0], trained / shards[1]
    # From stage 1 on the optimizer's weights are a copy of the model's.
    optimizer = (3 if stage else 2) * trained / shards[2]
    buffers = 2 * min(4.0 * BUCKET, trained)
    buffers += min(4.0 * LIVE, every) if stage == 3 else 0.0
    host = 0.0
    if execution.offload == "cpu":
        host, optimizer = optimizer + gradients, 0.0
        if stage == 3:
            host, weights = host + weights, 0.0
    return Memory(weights, gradients, optimizer, working, buffers, host)


def all_parameters(model: Architecture, tuning: Tuning) -> int:
    """Weights of the model with its head and what adapters add."""
    if tuning.kind == "lora":
        return model.parameters + trained_parameters(model, tuning)
    return model.parameters + 2 * model.pooled


def trained_parameters(model: Architecture, tuning: Tuning) -> int:
    """Weights that the optimizer changes, head included."""
    head = 2 * model.pooled
    match tuning.kind:
        case "full" | "lp_ft":
            return model.parameters + head
        case "lora":
            on = adapted(model, tuning)
            return head + model.layers * sum(tuning.rank * (m.inner + m.outer) for m in on)
        case "last_layers":
            return head + min(model.layers, tuning.layers) * model.layer_parameters
        case "probe":
            return head


def _working(
    model: Architecture,
    *,
    training: Training,
    tokens: float,
    evaluated: float,
    checkpointed: bool,
) -> float:
    """Activations of a micro-batch of `tokens`, or of a pass over `evaluated` without gradients."""
    layers = {"probe": 0, "last_layers": getattr(training.tuning, "layers", 0)}.get(
        training.tuning.kind, model.layers
    )
    layers = min(layers, model.layers)
    layer = saved_per_token(model, training=training)
    stream = 4.0 * model.width
    casts = 2.0 * sum(m.weights for m in model.matrices) if training.precision == "bf16" else 0.0
    through = _through(model, training=training)
    if checkpointed:
        kept = tokens * (stream * (layers + 2) + layer) + casts
    else:
        kept = tokens * (stream * 2 + layer * layers) + casts * model.layers
    each = 2.0 if training.precision == "bf16" else 4.0
    passing = 2 * stream + through + each * model.matrices[-1].inner * (_mlp_copies(model) // 2)
    return max(kept + tokens * through, evaluated * passing + casts * model.layers)


def saved_per_token(model: Architecture, *, training: Training) -> float:
    """Bytes that one layer saves of one token for its backward pass.

    Read off PyTorch's rules: a product saves its input where its weights are trained, a norm saves
    its input in fp32, attention what it was given and what it gave; under autocast every matrix
    saves a bf16 copy of its own of an fp32 input.
    """
    tuning, half = training.tuning, training.precision == "bf16"
    each = 2.0 if half else 4.0
    width, inner = model.width, model.matrices[-1].inner
    trained = model.matrices if tuning.kind != "lora" else adapted(model, tuning)
    everything = tuning.kind != "lora"
    norms = 4.0 * (model.norm_inputs + (model.norm_copies if everything else 0))
    copies = [sum(m in trained for m in read) for read in (model.of_attention, model.of_mlp)]
    inputs = each * width * sum(copies if half else [min(1, n) for n in copies])
    attention = each * model.attended
    if model.by_head and model.after_attention in trained:
        attention += each * model.attention
    mlp = each * inner * _mlp_copies(model)
    if model.matrices[-1] in trained and model.activation != "relu":
        mlp += each * inner
    rank = each * tuning.rank * len(trained) if tuning.kind == "lora" else 0.0
    return norms + inputs + attention + mlp + rank


def _mlp_copies(model: Architecture) -> int:
    """Tensors of the MLP's width that are saved whatever is trained."""
    stepwise = model.activation in ("gelu_new", "gelu_fast")
    return (4 if stepwise else 1) + (2 if model.gated else 0)


def _through(model: Architecture, *, training: Training) -> float:
    """Bytes of a token that are at work within a layer: its widest tensors and their gradients."""
    each = 2.0 if training.precision == "bf16" else 4.0
    return each * 2 * model.matrices[-1].inner + 4.0 * 2 * model.width
