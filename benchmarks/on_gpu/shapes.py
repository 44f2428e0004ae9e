"""The models of `benchmarks/gpu.py`: shapes of known models, with random weights.

Owns the configurations, a folder in place of a pretrained model, and the loading of random
weights on the device in place of a checkpoint. It needs no network and writes no weights. Shapes:
N weights.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import torch
from safetensors.numpy import save_file

from w2s_ray.config import ModelSource


@dataclass(frozen=True)
class Shape:
    """One model."""

    name: str
    config: dict[str, Any]
    steps: int
    """Optimizer steps of one pass over the rows."""
    layers: int
    width: int
    """Features over which attention is computed: heads times their width."""
    vocabulary: int


def _gpt2(name: str, *, layers: int, width: int, heads: int, steps: int, vocabulary: int) -> Shape:
    config = {"model_type": "gpt2", "n_embd": width, "n_layer": layers, "n_head": heads}
    config |= {"n_positions": 1024, "vocab_size": vocabulary}
    config |= dict.fromkeys(("bos_token_id", "eos_token_id", "pad_token_id"), 0)
    return Shape(name, config, steps, layers, width, vocabulary)


def _llama(
    name: str,
    *,
    layers: int,
    width: int,
    inner: int,
    heads: int,
    keys: int,
    vocabulary: int,
    steps: int,
    family: str = "llama",
) -> Shape:
    config = {"model_type": family, "hidden_size": width, "num_hidden_layers": layers}
    config |= {"intermediate_size": inner, "num_attention_heads": heads}
    config |= {"num_key_value_heads": keys, "max_position_embeddings": 2048}
    config |= {"vocab_size": vocabulary, "tie_word_embeddings": family == "qwen2"}
    config |= dict.fromkeys(("bos_token_id", "eos_token_id", "pad_token_id"), 0)
    return Shape(name, config, steps, layers, width, vocabulary)


SHAPES = {
    shape.name: shape
    for shape in (
        _gpt2("gpt2-124m", layers=12, width=768, heads=12, vocabulary=50257, steps=64),
        _llama(
            "qwen2-0.5b",
            family="qwen2",
            layers=24,
            width=896,
            inner=4864,
            heads=14,
            keys=2,
            vocabulary=151936,
            steps=32,
        ),
        _llama(
            "llama-1.5b",
            layers=20,
            width=2048,
            inner=8192,
            heads=32,
            keys=8,
            vocabulary=128256,
            steps=16,
        ),
        _llama(
            "llama-7b",
            layers=32,
            width=4096,
            inner=11008,
            heads=32,
            keys=32,
            vocabulary=32000,
            steps=8,
        ),
    )
}


def toy(shape: Shape) -> Shape:
    """The same kind of model at a size for a CPU."""
    if shape.config["model_type"] == "gpt2":
        return _gpt2(shape.name, layers=2, width=32, heads=2, vocabulary=200, steps=8)
    return _llama(
        shape.name,
        family=shape.config["model_type"],
        layers=2,
        width=32,
        inner=64,
        heads=2,
        keys=1,
        vocabulary=200,
        steps=8,
    )


def chosen(names: list[str] | None, *, among: tuple[str, ...], small: bool) -> list[Shape]:
    """The shapes of a section that the command line names, or all of `among`."""
    found = [SHAPES[name] for name in among if names is None or name in names]
    return [toy(shape) for shape in found] if small else found


def source_of(shape: Shape, folder: Path) -> ModelSource:
    """A folder in place of a pretrained model: its configuration, and a file without weights."""
    place = folder / shape.name
    place.mkdir(parents=True, exist_ok=True)
    (place / "config.json").write_text(json.dumps(shape.config))
    save_file({"none": np.zeros(1, np.float32)}, place / "model.safetensors")
    return ModelSource(name=shape.name, location=str(place), identity=f"sha256:{shape.name}")


NOTHING_WRONG: dict[str, Any] = {
    "missing_keys": set(),
    "unexpected_keys": set(),
    "mismatched_keys": set(),
    "error_msgs": [],
}
"""The loading report of a checkpoint that fits."""


@contextmanager
def random_weights(device: torch.device) -> Iterator[None]:
    """Context in which transformers makes random weights on `device` instead of reading files.

    Where the configuration is of a checkpoint in bf16, they have values of bf16.
    """
    from transformers import AutoModel, AutoModelForCausalLM

    def instead_of(auto: Any) -> Any:
        def made(_: Any, *, config: Any, dtype: torch.dtype, **more: Any) -> Any:
            kept = {k: v for k, v in more.items() if k == "attn_implementation"}
            rounded = str(config.dtype).endswith("bfloat16")
            with device:
                model = auto.from_config(config, dtype=dtype, **kept)
            for parameter in model.parameters() if rounded else ():
                parameter.data = parameter.data.bfloat16().to(dtype)
            return (model, NOTHING_WRONG) if more.get("output_loading_info") else model

        return patch.object(auto, "from_pretrained", made)

    with instead_of(AutoModel), instead_of(AutoModelForCausalLM):
        yield


def weights_outside_embeddings(shape: Shape) -> int:
    """N of the backbone, embeddings left out."""
    from transformers import AutoConfig, AutoModel

    config = AutoConfig.for_model(**shape.config)
    with torch.device("meta"):
        model = AutoModel.from_config(config)
    embedded = sum(m.weight.numel() for m in model.modules() if isinstance(m, torch.nn.Embedding))
    return sum(p.numel() for p in model.parameters()) - embedded


def with_steps(shape: Shape, steps: int) -> Shape:
    """The same shape with other steps of a pass."""
    return replace(shape, steps=steps)
