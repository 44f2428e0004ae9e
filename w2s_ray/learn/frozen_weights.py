"""Frozen weights of linear layers in bf16, where that changes no value.

Owns the choice of layers, the part of a sharded weight that a worker holds, and the count of
weights. A checkpoint in bf16 is loaded to fp32; under autocast to bf16 its linear layers read the
same numbers whether a weight is held in bf16 or rounded from fp32 in every pass. Trained weights,
embeddings and norms stay in fp32.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn


def count(parameter: Any) -> int:
    """The number of weights of `parameter`: the whole of a sharded one, and two in a byte of 4
    bits.
    """
    state = getattr(parameter, "quant_state", None)
    numbers = getattr(parameter, "ds_numel", parameter.numel())
    return int(numbers if state is None else state.shape.numel())


def held(parameter: Any) -> Tensor:
    """The values of `parameter` that this worker holds: all, or its part of one that ZeRO-3 shards.

    What pads the last worker's part is left out, since it has no defined value.
    """
    part = getattr(parameter, "ds_tensor", None)
    if part is None:
        return parameter.data
    before = torch.distributed.get_rank() * part.numel()
    return part.data[: max(0, parameter.ds_numel - before)]


def hold_frozen_in_bf16(
    model: nn.Module, *, on_any: Callable[[list[bool]], list[bool]] = lambda flags: flags
) -> None:
    """Hold the frozen weights of linear layers whose values are those of a bf16 checkpoint in bf16.

    Halves the memory of a large frozen model. A weight that is also an embedding's stays in fp32.
    `on_any` says for each flag whether it is set on any of the workers that share the weights.
    """
    from transformers.pytorch_utils import Conv1D

    embeddings = {id(m.weight) for m in model.modules() if isinstance(m, nn.Embedding)}
    linear = (m.weight for m in model.modules() if isinstance(m, nn.Linear | Conv1D))
    frozen = [w for w in linear if not w.requires_grad and id(w) not in embeddings]
    for weight, rounded in zip(frozen, on_any([*map(_is_rounded, frozen)]), strict=True):
        if not rounded:
            _hold_in_bf16(weight)


def _is_rounded(weight: Tensor) -> bool:
    """Whether bf16 would change a value of `weight`."""
    values = held(weight)
    return not torch.equal(values.to(torch.bfloat16).to(values.dtype), values)


def _hold_in_bf16(weight: Any) -> None:
    part = getattr(weight, "ds_tensor", None)
    if part is not None:  # the part is gathered in its own type, and the whole has this one
        half = part.data.to(torch.bfloat16)
        part.data = half.pin_memory() if part.is_pinned() else half
    weight.data = weight.data.to(torch.bfloat16)
