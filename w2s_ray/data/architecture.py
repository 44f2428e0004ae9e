"""A model's shape from its config.json: how many weights it has, and which matrices it multiplies.

Owns the way from a configuration to shapes, for the families that most language models on the hub
belong to. It loads no weights and no library, and knows nothing of FLOPs, memory and training. The
language model's head isn't counted: fits put one of their own on the backbone.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from w2s_ray.config import ModelSource
from w2s_ray.data.hub import cache_folder
from w2s_ray.errors import InputError

FAMILIES = ("gpt2", "gpt_neox", "llama", "mistral", "qwen2", "opt", "bert", "roberta")


@dataclass(frozen=True)
class Matrix:
    """A linear map that every layer has: from `inner` to `outer` features."""

    name: str
    """Of its module, without the layer's."""
    inner: int
    outer: int
    bias: bool
    before_attention: bool = False
    """Whether no attention comes before it in its layer: it reads the layer's input."""

    @property
    def weights(self) -> int:
        """Entries of the matrix, without bias."""
        return self.inner * self.outer


@dataclass(frozen=True)
class Architecture:
    """The shape of a backbone."""

    family: str
    layers: int
    width: int
    attention: int
    """Features over which attention is computed: heads times their width."""
    keys: int
    """Features of keys, and of values: fewer where several heads share them."""
    matrices: tuple[Matrix, ...]
    """Of one layer."""
    layer_extras: int
    """Weights of one layer that are in no matrix: norms."""
    outside: int
    """Weights outside the layers: embeddings and norms."""
    outside_matrices: tuple[Matrix, ...] = ()
    """Projections before and after the layers."""
    gated: bool = False
    """Whether the MLP multiplies two maps of its input."""
    activation: str = "gelu"
    normed: str = "layer"
    """The norm: `layer`, or `rms`."""
    rotary: bool = False
    vocabulary: int = 0
    longest: int | None = None
    """Most tokens of a row; None where the configuration is silent."""
    causal: bool = True
    pooled: int = 0
    """Features that the head reads; 0 = the width."""
    ends_in_product: bool = True
    """Whether a layer's last product needs no second computing where activations are recomputed."""
    adapted: tuple[str, ...] = ()
    """The matrices that get an adapter where nobody names any: peft's default."""

    @property
    def of_attention(self) -> tuple[Matrix, ...]:
        """The matrices that make queries, keys and values."""
        return tuple(m for m in self.matrices[: -2 - self.gated] if m.before_attention)

    @property
    def of_mlp(self) -> tuple[Matrix, ...]:
        """The matrices that read the MLP's input."""
        return self.matrices[-2 - self.gated : -1]

    @property
    def layer_parameters(self) -> int:
        """Weights of one layer."""
        return self.layer_extras + sum(m.weights + m.outer * m.bias for m in self.matrices)

    @property
    def parameters(self) -> int:
        """Weights of the backbone."""
        beside = sum(m.weights + m.outer * m.bias for m in self.outside_matrices)
        return self.outside + beside + self.layers * self.layer_parameters


def architecture_of(source: ModelSource) -> Architecture | str:
    """The shape of the model at `source`, or why it isn't known."""
    config = _config(source)
    if config is None:
        of = f" --revision {source.revision}" if source.revision else ""
        return (
            f"the config.json of {source.name} is not on this machine; where there is a hub, "
            f"`hf download {source.location} config.json{of}` fetches it alone"
        )
    family = config.get("model_type")
    try:
        return read_architecture(config)
    except KeyError as error:
        return f"the config.json of {source.name} ({family}) has no {error.args[0]}"
    except ValueError as error:
        return f"{source.name}: {error}"


def read_architecture(config: dict[str, Any]) -> Architecture:
    """The shape that a config.json declares.

    Raises:
        InputError: a family that isn't known.
        KeyError: a setting is missing that has no default in its family.
    """
    match config.get("model_type"):
        case "gpt2":
            return _gpt2(config)
        case "gpt_neox":
            return _gpt_neox(config)
        case "llama" | "mistral" | "qwen2":
            return _llama(config)
        case "opt":
            return _opt(config)
        case "bert" | "roberta":
            return _bert(config)
        case other:
            known = ", ".join(FAMILIES)
            raise InputError(f"model_type {other!r} is not estimated; known are {known}")


def _config(source: ModelSource) -> dict[str, Any] | None:
    """The model's configuration: of its folder, or of the hub's cache."""
    folders = [Path(source.location)]
    if source.revision is not None:
        name = f"models--{source.location.replace('/', '--')}"
        folders.append(cache_folder() / name / "snapshots" / source.revision)
    for folder in folders:
        try:
            found = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        except (OSError, ValueError):
            continue
        return found if isinstance(found, dict) else None
    return None


def _gpt2(config: dict[str, Any]) -> Architecture:
    width = config["n_embd"]
    inner = config.get("n_inner") or 4 * width
    positions = config.get("n_positions", 1024)
    return Architecture(
        family="gpt2",
        layers=config["n_layer"],
        width=width,
        attention=width,
        keys=width,
        matrices=(
            Matrix("c_attn", width, 3 * width, bias=True, before_attention=True),
            Matrix("attn.c_proj", width, width, bias=True),
            Matrix("c_fc", width, inner, bias=True),
            Matrix("mlp.c_proj", inner, width, bias=True),
        ),
        layer_extras=4 * width,
        outside=(config["vocab_size"] + positions) * width + 2 * width,
        activation=config.get("activation_function", "gelu_new"),
        vocabulary=config["vocab_size"],
        longest=positions,
        adapted=("c_attn",),
    )


def _gpt_neox(config: dict[str, Any]) -> Architecture:
    width, inner = config["hidden_size"], config["intermediate_size"]
    bias = config.get("attention_bias", True)
    parallel = config.get("use_parallel_residual", True)
    return Architecture(
        family="gpt_neox",
        layers=config["num_hidden_layers"],
        width=width,
        attention=width,
        keys=width,
        matrices=(
            Matrix("query_key_value", width, 3 * width, bias=bias, before_attention=True),
            Matrix("dense", width, width, bias=bias),
            Matrix("dense_h_to_4h", width, inner, bias=True, before_attention=parallel),
            Matrix("dense_4h_to_h", inner, width, bias=True, before_attention=parallel),
        ),
        layer_extras=4 * width,
        outside=config["vocab_size"] * width + 2 * width,
        activation=config.get("hidden_act", "gelu"),
        rotary=True,
        vocabulary=config["vocab_size"],
        longest=config.get("max_position_embeddings"),
        adapted=("query_key_value",),
    )


def _llama(config: dict[str, Any]) -> Architecture:
    width, inner = config["hidden_size"], config["intermediate_size"]
    family, heads = config["model_type"], config["num_attention_heads"]
    head = config.get("head_dim") or width // heads
    attention = heads * head
    keys = (config.get("num_key_value_heads") or heads) * head
    declared = config.get("attention_bias", False)
    bias = True if family == "qwen2" else declared
    mlp = config.get("mlp_bias", False)
    return Architecture(
        family=family,
        layers=config["num_hidden_layers"],
        width=width,
        attention=attention,
        keys=keys,
        matrices=(
            Matrix("q_proj", width, attention, bias=bias, before_attention=True),
            Matrix("k_proj", width, keys, bias=bias, before_attention=True),
            Matrix("v_proj", width, keys, bias=bias, before_attention=True),
            Matrix("o_proj", attention, width, bias=declared),
            Matrix("gate_proj", width, inner, bias=mlp),
            Matrix("up_proj", width, inner, bias=mlp),
            Matrix("down_proj", inner, width, bias=mlp),
        ),
        layer_extras=2 * width,
        outside=config["vocab_size"] * width + width,
        gated=True,
        activation=config.get("hidden_act", "silu"),
        normed="rms",
        rotary=True,
        vocabulary=config["vocab_size"],
        longest=config.get("max_position_embeddings"),
        adapted=("q_proj", "v_proj"),
    )


def _opt(config: dict[str, Any]) -> Architecture:
    width, inner = config["hidden_size"], config["ffn_dim"]
    embedded = config.get("word_embed_proj_dim") or width
    positions = config.get("max_position_embeddings", 2048)
    bias = config.get("enable_bias", True)
    last = config.get("do_layer_norm_before", True) and not config.get("_remove_final_layer_norm")
    projections = ()
    if embedded != width:
        projections = (
            Matrix("project_in", embedded, width, bias=False, before_attention=True),
            Matrix("project_out", width, embedded, bias=False),
        )
    return Architecture(
        family="opt",
        layers=config["num_hidden_layers"],
        width=width,
        attention=width,
        keys=width,
        matrices=(
            *(Matrix(f"{x}_proj", width, width, bias, before_attention=True) for x in "qkv"),
            Matrix("out_proj", width, width, bias=bias),
            Matrix("fc1", width, inner, bias=bias),
            Matrix("fc2", inner, width, bias=bias),
        ),
        layer_extras=4 * width,
        outside=config["vocab_size"] * embedded + (positions + 2) * width + 2 * width * bool(last),
        outside_matrices=projections,
        activation=config.get("activation_function", "relu"),
        vocabulary=config["vocab_size"],
        longest=positions,
        pooled=embedded,
        ends_in_product=False,
        adapted=("q_proj", "v_proj"),
    )


def _bert(config: dict[str, Any]) -> Architecture:
    width, inner = config["hidden_size"], config["intermediate_size"]
    family, positions = config["model_type"], config["max_position_embeddings"]
    types = config.get("type_vocab_size", 2)
    return Architecture(
        family=family,
        layers=config["num_hidden_layers"],
        width=width,
        attention=width,
        keys=width,
        matrices=(
            Matrix("query", width, width, bias=True, before_attention=True),
            Matrix("key", width, width, bias=True, before_attention=True),
            Matrix("value", width, width, bias=True, before_attention=True),
            Matrix("attention.output.dense", width, width, bias=True),
            Matrix("intermediate.dense", width, inner, bias=True),
            Matrix("output.dense", inner, width, bias=True),
        ),
        layer_extras=4 * width,
        outside=(config["vocab_size"] + positions + types) * width + 2 * width,
        activation=config.get("hidden_act", "gelu"),
        vocabulary=config["vocab_size"],
        longest=positions - (config.get("pad_token_id", 1) + 1 if family == "roberta" else 0),
        causal=bool(config.get("is_decoder", False)),
        ends_in_product=False,
        adapted=("query", "value"),
    )
