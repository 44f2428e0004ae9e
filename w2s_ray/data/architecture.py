"""A model's architecture: its number of weights, its matrix products, and its tensors' names.

Owns the data classes, which planning uses. `learn/describe` derives an architecture from a
config.json, and `data/descriptions` caches it. This module loads no models and computes no FLOPs
and no memory. The language model's head is not counted, because fits put their own head on the
backbone.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Matrix:
    """A linear map from `inner` to `outer` features."""

    name: str
    """Name of its module, within its layer."""
    inner: int
    outer: int
    bias: bool
    before_attention: bool
    """Whether its input does not depend on its layer's attention."""

    @property
    def weights(self) -> int:
        """Entries of the matrix, without bias."""
        return self.inner * self.outer


@dataclass(frozen=True)
class Skeleton:
    """The names and shapes of a backbone's tensors. Names are relative to the backbone."""

    prefix: str
    """Prefix of the names in files that include a head."""
    layers: str
    """Name of the list of layers."""
    embedding: str
    head: tuple[str, ...]
    """The modules of the language model's head; empty for an encoder."""
    tied: bool
    """Whether the head is the embedding."""
    tensors: Mapping[str, tuple[int, ...]]
    renamed: bool
    """Whether files have other names, which transformers converts, so that they can't be
    compared."""


@dataclass(frozen=True)
class Architecture:
    """The architecture of a backbone. Numbers of features are per token."""

    family: str
    """The model type of the transformers library."""
    layers: int
    width: int
    matrices: tuple[Matrix, ...]
    """Matrices of one layer in this order: query, key and value projections, output projection of
    attention, input projections of the MLP, output projection of the MLP."""
    mlp_inputs: int
    """Number of the MLP's input projections."""
    gated: bool
    """Whether the MLP multiplies two projections of its input."""
    attention: int
    """Features over which attention is computed: number of heads times head width."""
    heads: int
    """Number of query heads."""
    attended: int
    """Features of attention's inputs and output in memory."""
    by_head: bool
    """Whether attention's inputs are contiguous per head, so that its output is copied to be
    contiguous per token."""
    norm_inputs: int
    """Features of the inputs of a layer's norms; an input of several norms counts once."""
    norm_copies: int
    """Features of norms that are computed in elementary operations, which save the normalized
    input for the gradient of their weights."""
    ends_in_product: bool
    """Whether activation checkpointing need not recompute a layer's last matrix product."""
    outside_matrices: tuple[Matrix, ...]
    """Projections before and after the layers."""
    parameters: int
    """Weights of the backbone."""
    layer_parameters: int
    """Weights of the last layer."""
    activation: str
    vocabulary: int
    longest: int | None
    """Largest number of tokens of a row; None if the configuration doesn't set it."""
    causal: bool
    pooled: int
    """Features of the head's input."""
    adapted: tuple[str, ...] | None
    """peft's default modules for adapters; None if peft has no default."""
    skeleton: Skeleton
    scores: int = 0
    """Copies of the attention scores that a layer keeps for its backward pass; 0 where a kernel
    computes attention without keeping them."""
    is_bf16: bool = False
    """Whether config.json declares a checkpoint in bf16."""

    @property
    def of_attention(self) -> tuple[Matrix, ...]:
        """The query, key and value projections."""
        return self.matrices[: -2 - self.mlp_inputs]

    @property
    def after_attention(self) -> Matrix:
        """The output projection of attention."""
        return self.matrices[-2 - self.mlp_inputs]

    @property
    def of_mlp(self) -> tuple[Matrix, ...]:
        """The input projections of the MLP."""
        return self.matrices[-1 - self.mlp_inputs : -1]

    @classmethod
    def of(cls, description: Mapping[str, Any]) -> Architecture:
        """The architecture in a description by `learn/describe`.

        Raises:
            TypeError, KeyError, AttributeError: an invalid description.
        """
        fields = dict(description)
        skeleton = dict(fields["skeleton"])
        tensors = {name: tuple(shape) for name, shape in skeleton["tensors"].items()}
        adapted = fields["adapted"]
        return cls(
            **{
                **fields,
                "matrices": tuple(Matrix(**m) for m in fields["matrices"]),
                "outside_matrices": tuple(Matrix(**m) for m in fields["outside_matrices"]),
                "adapted": None if adapted is None else tuple(adapted),
                "skeleton": Skeleton(
                    **{**skeleton, "head": tuple(skeleton["head"]), "tensors": tensors}
                ),
            }
        )
