"""The tensors that a model of a known family must have, from its shape alone.

Owns the families' names of tensors, and the comparison of a file's tensors with them: layers,
norms, embeddings, the language model's head. Other families are compared when they are loaded. It
reads no files.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from w2s_ray.data.architecture import Architecture
from w2s_ray.data.headers import Shapes

_SHOWN = 3
"""Tensors that a line names."""


@dataclass(frozen=True)
class Skeleton:
    """Where a family keeps its tensors; names are those within the backbone."""

    prefix: str
    """What stands before them where a head has been saved along."""
    layers: str
    """The list of layers."""
    matrices: tuple[str, ...]
    """Of a layer, in the order of `Architecture.matrices`."""
    norms: tuple[str, ...]
    """Of a layer."""
    embedding: str
    outside: tuple[str, ...]
    """Embeddings besides, outside the layers."""
    outside_norms: tuple[str, ...]
    head: tuple[str, ...]
    """The language model's head, by each of the names that it has had."""
    tied: bool
    """Whether the head is the embedding where config.json doesn't say."""


_LLAMA = Skeleton(
    prefix="model",
    layers="layers",
    matrices=(
        *(f"self_attn.{x}_proj" for x in "qkvo"),
        *(f"mlp.{x}_proj" for x in ("gate", "up", "down")),
    ),
    norms=("input_layernorm", "post_attention_layernorm"),
    embedding="embed_tokens",
    outside=(),
    outside_norms=("norm",),
    head=("lm_head",),
    tied=False,
)
_BERT = Skeleton(
    prefix="bert",
    layers="encoder.layer",
    matrices=(
        *(f"attention.self.{x}" for x in ("query", "key", "value")),
        "attention.output.dense",
        "intermediate.dense",
        "output.dense",
    ),
    norms=("attention.output.LayerNorm", "output.LayerNorm"),
    embedding="embeddings.word_embeddings",
    outside=("embeddings.position_embeddings", "embeddings.token_type_embeddings"),
    outside_norms=("embeddings.LayerNorm",),
    head=(),
    tied=True,
)
SKELETONS = {
    "gpt2": Skeleton(
        prefix="transformer",
        layers="h",
        matrices=("attn.c_attn", "attn.c_proj", "mlp.c_fc", "mlp.c_proj"),
        norms=("ln_1", "ln_2"),
        embedding="wte",
        outside=("wpe",),
        outside_norms=("ln_f",),
        head=("lm_head",),
        tied=True,
    ),
    "gpt_neox": Skeleton(
        prefix="gpt_neox",
        layers="layers",
        matrices=(
            "attention.query_key_value",
            "attention.dense",
            "mlp.dense_h_to_4h",
            "mlp.dense_4h_to_h",
        ),
        norms=("input_layernorm", "post_attention_layernorm"),
        embedding="embed_in",
        outside=(),
        outside_norms=("final_layer_norm",),
        head=("lm_head", "embed_out"),
        tied=False,
    ),
    "opt": Skeleton(
        prefix="model",
        layers="decoder.layers",
        matrices=(*(f"self_attn.{x}_proj" for x in ("q", "k", "v", "out")), "fc1", "fc2"),
        norms=("self_attn_layer_norm", "final_layer_norm"),
        embedding="decoder.embed_tokens",
        outside=("decoder.embed_positions",),
        outside_norms=(),
        head=("lm_head",),
        tied=True,
    ),
    **dict.fromkeys(("llama", "mistral", "qwen2"), _LLAMA),
    "bert": _BERT,
    "roberta": Skeleton(**{**vars(_BERT), "prefix": "roberta"}),
}
_LEGACY = (("LayerNorm.gamma", "LayerNorm.weight"), ("LayerNorm.beta", "LayerNorm.bias"))
"""Names that old files have, and what transformers reads them as."""


def misfit(tensors: Shapes, model: Architecture) -> str:
    """Why the tensors of a file aren't those of `model`; empty where they are."""
    skeleton = SKELETONS[model.family]
    found = {_within(name, skeleton): shape for name, shape in tensors.items()}
    place = re.compile(rf"{re.escape(skeleton.layers)}\.(\d+)\.")
    layers = {int(match[1]) for match in map(place.match, found) if match}
    if not layers:
        return f"no tensor is of a layer of {model.family}; it has {_listed(tensors)}"
    if layers != set(range(model.layers)):
        return f"layers in config.json: {model.layers}, in the weights: {_ranges(layers)}"
    wanted = dict(_wanted(model, skeleton))
    missing = [name for name in wanted if name not in found]
    if missing:
        return f"{len(missing)} of {len(wanted)} tensors are missing: {_listed(missing)}"
    other = [
        f"{name} is {_by(found[name])} and should be {_by(shape)}"
        for name, shape in wanted.items()
        if shape is not None and sorted(found[name]) != sorted(shape)
    ]
    return f"{len(other)} of {len(wanted)} tensors have another shape: {other[0]}" if other else ""


def embedding_rows(tensors: Shapes, family: str) -> int | None:
    """Rows of the embedding; None where the file has none by the family's name."""
    skeleton = SKELETONS[family]
    wanted = f"{skeleton.embedding}.weight"
    return next((s[0] for name, s in tensors.items() if _within(name, skeleton) == wanted), None)


def lacks_head(tensors: Shapes, family: str, *, tied: bool | None) -> bool:
    """Whether the language model's head is neither in the file nor the embedding."""
    skeleton = SKELETONS[family]
    if tied if tied is not None else skeleton.tied:
        return False
    return not any(f"{name}.weight" in tensors for name in skeleton.head)


def _wanted(
    model: Architecture, skeleton: Skeleton
) -> Iterator[tuple[str, tuple[int, ...] | None]]:
    """Every tensor of the backbone with its shape; None = not compared."""
    width, norms = (model.width,), list(skeleton.outside_norms)
    yield f"{skeleton.embedding}.weight", (model.vocabulary, model.pooled or model.width)
    for name in skeleton.outside:
        yield f"{name}.weight", None
    for layer in range(model.layers):
        inner = f"{skeleton.layers}.{layer}."
        for place, matrix in zip(skeleton.matrices, model.matrices, strict=True):
            yield f"{inner}{place}.weight", (matrix.inner, matrix.outer)
            if matrix.bias:
                yield f"{inner}{place}.bias", (matrix.outer,)
        norms += [f"{inner}{norm}" for norm in skeleton.norms]
    for norm in norms:
        yield f"{norm}.weight", width
        if model.normed == "layer":
            yield f"{norm}.bias", width


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
