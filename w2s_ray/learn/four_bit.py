"""Frozen linear layers in 4 bits (NF4, Dettmers et al. 2023, arXiv 2305.14314), by bitsandbytes.

Owns the layer and which layers of a model become one. A weight is quantized when its layer is moved
to a device, and dequantized in each forward and backward pass, so that training and evaluation see
the same numbers; its state_dict has the dequantized weight, as a checkpoint of the model would.
Adapters and heads are handled elsewhere. Shapes: O outputs, I inputs.
"""

from __future__ import annotations

import copy
from typing import Any

import torch
from bitsandbytes.functional import dequantize_4bit
from bitsandbytes.nn import Linear4bit, Params4bit
from torch import Tensor, nn
from transformers.pytorch_utils import Conv1D

from w2s_ray.config import ModelSource
from w2s_ray.errors import InputError
from w2s_ray.learn.loading import called

LEAST_SHARE = 0.5
"""Smallest share of a model's weights, embeddings left out, that must be of linear layers."""


class FourBitLinear(Linear4bit):
    """A linear layer with a frozen weight in 4 bits, its scales quantized too."""

    def __init__(self, layer: nn.Linear | Conv1D) -> None:
        self.transposed = isinstance(layer, Conv1D)
        weight_OI = layer.weight.data.T.contiguous() if self.transposed else layer.weight.data
        outputs, inputs = weight_OI.shape
        super().__init__(inputs, outputs, bias=False, quant_type="nf4", device="meta")
        four_bit: Any = Params4bit
        self.weight: Any = four_bit(weight_OI, quant_type="nf4", module=self)
        self.bias = layer.bias

    def forward(self, x: Tensor) -> Tensor:
        kind = x.device.type
        if torch.is_autocast_enabled(kind):
            x = x.to(torch.get_autocast_dtype(kind))
        bias = None if self.bias is None else self.bias.to(x.dtype)
        return _Product.apply(x, self.weight.data, self.weight.quant_state, bias)

    def _save_to_state_dict(self, destination: Any, prefix: str, keep_vars: bool) -> None:
        nn.Linear._save_to_state_dict(self, destination, prefix, keep_vars)
        destination[f"{prefix}weight"] = self._dequantized()

    def _dequantized(self) -> Tensor:
        """The weight in fp32 on the CPU, in the layout of the model's checkpoint."""
        state = copy.copy(self.weight.quant_state)
        state.dtype = torch.float32
        weight_OI = dequantize_4bit(self.weight.data, state).cpu()
        return weight_OI.T.contiguous() if self.transposed else weight_OI


class _Product(torch.autograd.Function):
    """x @ weight.T + bias. It saves the weight in 4 bits, and the gradient is that of x alone."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, packed: Tensor, state: Any, bias: Tensor | None) -> Tensor:
        ctx.save_for_backward(packed)
        ctx.state = state
        return nn.functional.linear(x, dequantize_4bit(packed, state).to(x.dtype), bias)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None, None]:
        (packed,), (gradient,) = ctx.saved_tensors, gradients
        return gradient @ dequantize_4bit(packed, ctx.state).to(gradient.dtype), None, None, None


def quantize_linear_layers(backbone: Any, *, source: ModelSource) -> None:
    """Make every linear layer of `backbone` a `FourBitLinear`, but a head over the vocabulary.

    Raises:
        InputError: most weights are of other layers, which can't be quantized.
    """
    head = backbone.get_output_embeddings()
    found = [
        (parent, name, layer)
        for parent in list(backbone.modules())
        for name, layer in parent.named_children()
        if type(layer) in (nn.Linear, Conv1D) and layer is not head
    ]
    weights = sum(layer.weight.numel() for _, _, layer in found)
    embeddings = {m.weight for m in backbone.modules() if isinstance(m, nn.Embedding)}
    outside = embeddings if head is None else {*embeddings, head.weight}
    every = sum(p.numel() for p in backbone.parameters() if p not in outside)
    if weights < LEAST_SHARE * every:
        raise InputError(
            f"{called(source)}: only {weights:,} of {every:,} weights are of linear layers, which "
            "training.tuning.base: nf4 quantizes; leave base out"
        )
    for parent, name, layer in found:
        setattr(parent, name, FourBitLinear(layer))
