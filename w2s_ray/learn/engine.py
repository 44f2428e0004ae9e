"""The contract between the loop and what computes: two protocols, with training and without.

Owns the protocols, and how rows are padded and passes are cut for an engine's device. An engine
handles devices, precision, optimizers and other workers; losses, schedules, early stopping
and data order are the loop's. Shapes: B rows of one micro-batch, L tokens, C classes.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from w2s_ray.config import CPU_PASS_TOKENS
from w2s_ray.learn.batches import MicroBatch, layout, layout_by_tokens
from w2s_ray.learn.device_rows import DeviceRows, to_device
from w2s_ray.learn.rows import ActivationRows, AnyRows, PolicyRows
from w2s_ray.learn.tokens import position_limit

if TYPE_CHECKING:
    from torch import Tensor, device

    from w2s_ray.learn.forms.model import FormModel
    from w2s_ray.learn.sampling import TokenDraw


CLASSES = 2
"""Classes of a row where its form does not have several."""


class InferenceEngine(Protocol):
    """One model that is read, on this worker's share of the devices.

    All workers of a fit call the same methods in the same order.
    """

    rank: int
    workers: int
    device: device
    model: FormModel
    device_rows: DeviceRows
    """Rows that lie on its device."""
    parameters: int
    """Weights of the whole model, head included."""
    by_rows_on_cpu: bool
    """Whether a CPU cuts passes by rows. What a store keeps of a frozen model is read so, in order
    that its numbers are equal to the bit whatever version has read them."""

    def forward(self, *inputs: Any) -> Tensor:
        """The model's output for `inputs` in fp32, with gradients unless they are turned off.

        Texts: input_ids_BL, lengths_B -> logits_BC. Pairs: the same of 2 B texts. Language models:
        starts_B and the number of learned tokens too -> nll_B. Rows without their backbone:
        activations_BD -> logits_BC.
        """
        ...

    def activations(self, *inputs: Any) -> Tensor:
        """activations_BD in fp32, what the head of two classes reads of each row."""
        ...

    def complete(
        self,
        input_ids_BL: Tensor,
        mask_BL: Tensor,
        *,
        most: int,
        stop_id: int,
        draw: TokenDraw | None = None,
    ) -> Tensor:
        """Completions of a language model, tokens_BK (`LanguageModel.complete`)."""
        ...

    def sum_over_workers(self, values: Tensor) -> Tensor:
        """`values` summed over all workers, the same on each."""
        ...

    def agree(self, decision: int) -> int:
        """Worker 0's `decision`, on every worker."""
        ...

    def close(self) -> None:
        """Release what outlives the object, such as its process group."""
        ...


class Engine(InferenceEngine, Protocol):
    """One model being trained."""

    trained_parameters: int
    """Those of its weights that the optimizer changes."""
    compiled: bool
    """Whether the model's layers are compiled."""

    def backward(self, loss: Tensor, *, last: bool) -> None:
        """Add the gradient of `loss`; `last` marks the step's last micro-batch.

        `loss` is this worker's sum over its rows, divided by the rows of the global batch: the
        step's gradient is the plain sum over micro-batches and workers.
        """
        ...

    def step(self, lr: float) -> None:
        """Clip the gradient, change the weights, clear the gradient."""
        ...

    def expect(self, tokens: int) -> None:
        """Prepare to train on so many tokens in all; called once, before the first pass."""
        ...

    def train_head_alone(self, alone: bool) -> None:
        """Train nothing but the head from the next forward pass on, or all there is to train."""
        ...

    def snapshot(self) -> None:
        """Remember the trained weights as the best so far, in place of an earlier snapshot."""
        ...

    def restore(self) -> None:
        """Put the remembered weights back. Training can't go on after it."""
        ...

    def save(self, folder: Path) -> None:
        """Write all that resuming needs (weights, optimizer, snapshot) to a scratch folder."""
        ...

    def load(self, folder: Path) -> None:
        """Continue from what `save` wrote under the same settings and execution."""
        ...

    def export(self, folder: Path) -> None:
        """Write the weights in the pretrained format, as safetensors, head beside them."""
        ...


def autocast(device: device, *, enabled: bool, keeps_casts: bool = False) -> Any:
    """Autocast to bf16. Unless `keeps_casts`, copies of weights are freed after their layer.

    By default torch keeps the bf16 copy of every trained weight to the end of the context, which
    serves weights that are used more than once
    (https://docs.pytorch.org/docs/stable/amp.html#torch.autocast, `cache_enabled`). In one pass
    each is used once, and the copies would undo activation checkpointing and ZeRO-3's sharding.
    """
    import torch

    return torch.autocast(device.type, torch.bfloat16, enabled, cache_enabled=keeps_casts)


PADDED_TO = {"cuda": 32}
"""Kind of device -> rows are padded to a multiple of so many tokens, so that shapes are few."""
PASS_TOKENS = {"cpu": CPU_PASS_TOKENS}
"""Kind of device -> about the most tokens of a forward pass, unless it is of a single row."""


def model_inputs(rows: AnyRows, picked: np.ndarray, engine: InferenceEngine) -> tuple[Any, ...]:
    """The rows at `picked` as the forward pass takes them: tensors on the engine's device, and
    numbers. Last of `PolicyRows` are the number of learned tokens, and reference_B.
    """
    if isinstance(rows, ActivationRows):
        return (engine.device_rows.activations(rows, picked),)
    padded = engine.device_rows.padded(
        rows,
        picked,
        pad_id=engine.model.pad_id,
        width=lambda longest: _padded_width(longest, engine),
    )
    if isinstance(rows, PolicyRows):
        reference_B = to_device(rows.reference_N[picked], engine.device)
        return (*padded, rows.learned(picked), reference_B)
    return padded


def _padded_width(longest: int, engine: InferenceEngine) -> int:
    """Tokens to which rows are padded, within the positions that the model has."""
    more = -longest % PADDED_TO.get(engine.device.type, 1)
    if not more:
        return longest
    limit = position_limit(engine.model.backbone.config) or longest + more
    return longest + min(more, max(0, limit - longest))


def evaluation_passes(rows: AnyRows, engine: InferenceEngine, *, batch: int) -> list[MicroBatch]:
    """This worker's passes without gradients over `rows`, the longest first.

    None has more padded tokens than `batch` of the longest rows have; of short rows it has more.
    The activations of a row count as one token.
    """
    if engine.by_rows_on_cpu and engine.device.type == "cpu":
        return layout(rows.lengths, workers=engine.workers, micro_batch=batch)[engine.rank][::-1]
    most = batch * int(rows.lengths.max(initial=1))
    most = min(most, PASS_TOKENS.get(engine.device.type, most))
    lengths_M = np.ones_like(rows.lengths) if isinstance(rows, ActivationRows) else rows.lengths
    return layout_by_tokens(lengths_M, workers=engine.workers, most=most)[engine.rank][::-1]
