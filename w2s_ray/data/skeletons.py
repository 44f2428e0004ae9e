"""Compares the tensors of a weights file with those that the model's configuration implies.

Owns the comparison of names and shapes: layers, norms, embeddings, the language model's head.
Tensors that transformers renames are checked when they are loaded instead. It reads no files.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from w2s_ray.data.architecture import Architecture, Skeleton
from w2s_ray.data.headers import TensorShapes

_SHOWN = 3
"""Largest number of tensors in a message."""
_LEGACY = (("LayerNorm.gamma", "LayerNorm.weight"), ("LayerNorm.beta", "LayerNorm.bias"))
"""Names in old files, and the names that transformers converts them to."""


def tensor_mismatch(tensors: TensorShapes, model: Architecture) -> str:
    """The first difference between a file's tensors and those of `model`; empty if none."""
    skeleton = model.skeleton
    if skeleton.renamed:
        return ""
    found = {_within(name, skeleton): shape for name, shape in tensors.items()}
    layer_name = re.compile(rf"{re.escape(skeleton.layers)}\.(\d+)\.")
    layers = {int(match[1]) for match in map(layer_name.match, found) if match}
    if not layers:
        return f"no tensor belongs to a layer of {model.family}; it has {_listed(tensors)}"
    if layers != set(range(model.layers)):
        return f"layers in config.json: {model.layers}, in the weights: {_ranges(layers)}"
    expected = skeleton.tensors
    missing = [name for name in expected if name not in found]
    if missing:
        return f"{len(missing)} of {len(expected)} tensors are missing: {_listed(missing)}"
    other = [
        f"{name} is {_by(found[name])} and should be {_by(shape)}"
        for name, shape in expected.items()
        if tuple(found[name]) != shape
    ]
    return (
        f"{len(other)} of {len(expected)} tensors have another shape: {other[0]}" if other else ""
    )


def lacks_head(tensors: TensorShapes, skeleton: Skeleton) -> bool:
    """Whether the file has no language model's head, and the head isn't the embedding."""
    if skeleton.tied or skeleton.renamed or not skeleton.head:
        return False
    return not any(f"{name}.weight" in tensors for name in skeleton.head)


def _within(name: str, skeleton: Skeleton) -> str:
    """A tensor's name relative to the backbone."""
    for old, new in _LEGACY:
        if name.endswith(old):
            name = name.removesuffix(old) + new
    return name.removeprefix(f"{skeleton.prefix}.")


def _listed(names: Sequence[str] | TensorShapes) -> str:
    shown = sorted(names)[:_SHOWN]
    return ", ".join(shown) + (", ..." if len(names) > len(shown) else "")


def _ranges(layers: set[int]) -> str:
    """`2`, or `1 (numbers 4, ...)` if they don't begin at 0 or have gaps."""
    if layers == set(range(len(layers))):
        return str(len(layers))
    return f"{len(layers)} (numbers {', '.join(map(str, sorted(layers)[:_SHOWN]))}, ...)"


def _by(shape: Sequence[int]) -> str:
    return " x ".join(map(str, shape))
