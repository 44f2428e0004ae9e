"""Frozen weights of linear layers in bf16, where that changes no value.

Owns the choice of layers, and the count of weights. A checkpoint in bf16 is loaded to fp32; under
autocast to bf16 its linear layers read the same numbers whether a weight is held in bf16 or rounded
from fp32 in every pass. Trained weights, embeddings and norms stay in fp32.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn


def count(parameter: Tensor) -> int:
    """The number of weights of `parameter`, of which one in 4 bits holds two in a byte."""
    state = getattr(parameter, "quant_state", None)
    return parameter.numel() if state is None else state.shape.numel()


def hold_frozen_in_bf16(model: nn.Module) -> None:
    """Hold the frozen weights of linear layers whose values are those of a bf16 checkpoint in bf16.

    Halves the memory of a large frozen model. A weight that is also an embedding's stays in fp32.
    """
    from transformers.pytorch_utils import Conv1D

    embeddings = {id(m.weight) for m in model.modules() if isinstance(m, nn.Embedding)}
    for module in model.modules():
        if not isinstance(module, nn.Linear | Conv1D):
            continue
        weight = module.weight
        if weight.requires_grad or id(weight) in embeddings:
            continue
        half = weight.data.to(torch.bfloat16)
        if torch.equal(half.to(weight.dtype), weight.data):
            weight.data = half
