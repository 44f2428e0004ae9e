"""The tensors of a file, compared with those that a model of its configuration has.

Owns the comparison by names and shapes: layers, norms, embeddings, the language model's head. Where
transformers renames tensors, they are compared when they are loaded. It reads no files.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from w2s_ray.data.architecture import Architecture, Skeleton
from w2s_ray.data.headers import Shapes

_SHOWN = 3
"""Tensors that a line names."""
_LEGACY = (("LayerNorm.gamma", "LayerNorm.weight"), ("LayerNorm.beta", "LayerNorm.bias"))
"""Names that old files have, and what transformers reads them as."""


def misfit(tensors: Shapes, model: Architecture) -> str:
    """Why the tensors of a file aren't those of `model`; empty where they are."""
    skeleton = model.skeleton
    if skeleton.renamed:
        return ""
    found = {_within(name, skeleton): shape for name, shape in tensors.items()}
    place = re.compile(rf"{re.escape(skeleton.layers)}\.(\d+)\.")
    layers = {int(match[1]) for match in map(place.match, found) if match}
    if not layers:
        return f"no tensor is of a layer of {model.family}; it has {_listed(tensors)}"
    if layers != set(range(model.layers)):
        return f"layers in config.json: {model.layers}, in the weights: {_ranges(layers)}"
    wanted = skeleton.tensors
    missing = [name for name in wanted if name not in found]
    if missing:
        return f"{len(missing)} of {len(wanted)} tensors are missing: {_listed(missing)}"
    other = [
        f"{name} is {_by(found[name])} and should be {_by(shape)}"
        for name, shape in wanted.items()
        if tuple(found[name]) != shape
    ]
    return f"{len(other)} of {len(wanted)} tensors have another shape: {other[0]}" if other else ""


def lacks_head(tensors: Shapes, skeleton: Skeleton) -> bool:
    """Whether the language model's head is neither in the file nor the embedding."""
    if skeleton.tied or skeleton.renamed or not skeleton.head:
        return False
    return not any(f"{name}.weight" in tensors for name in skeleton.head)


def _within(name: str, skeleton: Skeleton) -> str:
    """A tensor's name within the backbone."""
    for old, new in _LEGACY:
        if name.endswith(old):
            name = name.removesuffix(old) + new
    return name.removeprefix(f"{skeleton.prefix}.")


def _listed(names: Sequence[str] | Shapes) -> str:
    shown = sorted(names)[:_SHOWN]
    return ", ".join(shown) + (", ..." if len(names) > len(shown) else "")


def _ranges(layers: set[int]) -> str:
    """`2`, or `1 (number 4)` where they don't begin at 0 or have gaps."""
    if layers == set(range(len(layers))):
        return str(len(layers))
    return f"{len(layers)} (numbers {', '.join(map(str, sorted(layers)[:_SHOWN]))}, ...)"


def _by(shape: Sequence[int]) -> str:
    return " x ".join(map(str, shape))
