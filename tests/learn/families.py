"""A tiny model with random weights of each open ladder, by the settings of its smallest rung."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from tests.learn.tiny import VOCABULARY
from w2s_ray.config.ladders import OPEN_LADDERS
from w2s_ray.ladder import OPEN_MODELS

WIDTH, LAYERS = 16, 3
TINY = {
    "hidden_size": WIDTH,
    "num_hidden_layers": LAYERS,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 8,
    "intermediate_size": 32,
    "vocab_size": VOCABULARY,
    "max_position_embeddings": 64,
    "query_pre_attn_scalar": 8,
    "sliding_window": 4,
    "sliding_window_pattern": LAYERS,
    "local_attention": 8,
    "pad_token_id": 0,
}
"""Replaces what a rung sets; rows of `data_of` are longer than the windows of attention."""
ENCODERS = ("modernbert",)
FAMILIES = ("pythia", "qwen3", "smollm2", "olmo2", "llama3", "gemma2", "gemma3", *ENCODERS)
DECODERS = tuple(name for name in FAMILIES if name not in ENCODERS)


def config_of(ladder: str, **more: Any) -> Any:
    """The configuration of a tiny model, which has every setting that a rung's has."""
    from transformers import CONFIG_MAPPING

    rung = next(iter(OPEN_LADDERS[ladder].rungs.values()))
    config = json.loads(OPEN_MODELS.read_text())[rung.name]["config"]
    tokens = {"bos_token_id": 1, "eos_token_id": 2, "cls_token_id": 1, "sep_token_id": 2}
    tiny = {key: value for key, value in TINY.items() if key in (*config, "pad_token_id")}
    if ladder == "llama3":
        scaling = {**config["rope_scaling"], "original_max_position_embeddings": 16}
        tiny["rope_scaling"] = scaling
    return CONFIG_MAPPING[config["model_type"]].from_dict({**config, **tokens, **tiny, **more})


def make_family(ladder: str, folder: Path) -> Path:
    """A folder with the tiny model, as pretraining would leave it: with its head."""
    import torch
    from transformers import AutoModelForCausalLM, AutoModelForMaskedLM

    torch.manual_seed(0)
    loader: Any = AutoModelForMaskedLM if ladder in ENCODERS else AutoModelForCausalLM
    model = loader.from_config(config_of(ladder))
    for parameter in model.parameters():  # the initial weights are too small for any difference
        if parameter.dim() > 1:
            torch.nn.init.normal_(parameter, std=0.2)
    model.save_pretrained(folder)
    return folder
