"""A model's shape: how many weights it has, which matrices it multiplies, what its tensors are.

Owns the form in which plans have it. `learn/describe` makes one of a config.json, and
`data/descriptions` keeps it; this module loads nothing, and knows nothing of FLOPs, memory and
training. The language model's head isn't counted: fits put one of their own on the backbone.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Matrix:
    """A linear map from `inner` to `outer` features."""

    name: str
    """Of its module, within its layer."""
    inner: int
    outer: int
    bias: bool
    before_attention: bool
    """Whether it reads nothing that attention made (of its layer)."""

    @property
    def weights(self) -> int:
        """Entries of the matrix, without bias."""
        return self.inner * self.outer


@dataclass(frozen=True)
class Skeleton:
    """The names and shapes of a backbone's tensors; names are those within the backbone."""

    prefix: str
    """What stands before them where a head has been saved along."""
    layers: str
    """The list of layers."""
    embedding: str
    head: tuple[str, ...]
    """The modules of the language model's head; empty for an encoder."""
    tied: bool
    """Whether the head is the embedding."""
    tensors: Mapping[str, tuple[int, ...]]
    renamed: bool
    """Whether transformers reads other names than these, so that files can't be compared."""


@dataclass(frozen=True)
class Architecture:
    """The shape of a backbone. Features are those of one token."""

    family: str
    """The model type of the transformers library."""
    layers: int
    width: int
    matrices: tuple[Matrix, ...]
    """Of one layer: those that make queries, keys and values, the one after attention, those that
    read the MLP's input, and the one that ends the MLP."""
    mlp_inputs: int
    """How many read the MLP's input."""
    gated: bool
    """Whether the MLP multiplies two maps of its input."""
    attention: int
    """Features over which attention is computed: heads times their width."""
    heads: int
    """Of queries."""
    attended: int
    """Features of attention's inputs and output as they lie in memory."""
    by_head: bool
    """Whether attention's inputs lie head by head, so that its output is copied token by token."""
    norm_inputs: int
    """Features that a layer's norms read, those that several read counted once."""
    norm_copies: int
    """Features of norms that are computed step by step and keep what their weights multiply."""
    ends_in_product: bool
    """Whether a layer's last product needs no second computing where activations are recomputed."""
    outside_matrices: tuple[Matrix, ...]
    """Projections before and after the layers."""
    parameters: int
    """Weights of the backbone."""
    layer_parameters: int
    """Weights of the last layer."""
    activation: str
    vocabulary: int
    longest: int | None
    """Most tokens of a row; None where the configuration is silent."""
    causal: bool
    pooled: int
    """Features that the head reads."""
    adapted: tuple[str, ...] | None
    """The modules that get an adapter where nobody names any; None where peft has no default."""
    skeleton: Skeleton

    @property
    def of_attention(self) -> tuple[Matrix, ...]:
        """The matrices that make queries, keys and values."""
        return self.matrices[: -2 - self.mlp_inputs]

    @property
    def after_attention(self) -> Matrix:
        """The matrix that reads attention's output."""
        return self.matrices[-2 - self.mlp_inputs]

    @property
    def of_mlp(self) -> tuple[Matrix, ...]:
        """The matrices that read the MLP's input."""
        return self.matrices[-1 - self.mlp_inputs : -1]

    @classmethod
    def of(cls, description: Mapping[str, Any]) -> Architecture:
        """The shape that `learn/describe` wrote.

        Raises:
            TypeError, KeyError, AttributeError: it wrote no such thing.
        """
        found = dict(description)
        skeleton = dict(found["skeleton"])
        tensors = {name: tuple(shape) for name, shape in skeleton["tensors"].items()}
        adapted = found["adapted"]
        return cls(
            **{
                **found,
                "matrices": tuple(Matrix(**m) for m in found["matrices"]),
                "outside_matrices": tuple(Matrix(**m) for m in found["outside_matrices"]),
                "adapted": None if adapted is None else tuple(adapted),
                "skeleton": Skeleton(
                    **{**skeleton, "head": tuple(skeleton["head"]), "tensors": tensors}
                ),
            }
        )
