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
TINY_VISION = {
    "hidden_size": WIDTH,
    "num_hidden_layers": LAYERS,
    "num_attention_heads": 2,
    "intermediate_size": 32,
    "image_size": 28,
    "patch_size": 14,
}
DECODERS = ("pythia", "qwen3", "smollm2", "olmo2", "llama3", "gemma2", "gemma3")
MULTIMODAL = "gemma3 4b"
ENCODERS = ("modernbert",)
FAMILIES = (*DECODERS, MULTIMODAL, *ENCODERS)
"""Names of ladders, each for its smallest rung, or of a ladder and a size."""


def targets_of(family: str) -> tuple[str, ...]:
    """The modules that get an adapter under LoRA."""
    return OPEN_LADDERS[family.partition(" ")[0]].targets


def config_of(family: str, **more: Any) -> Any:
    """The configuration of a tiny model, which has every setting that a rung's has."""
    from transformers import CONFIG_MAPPING

    ladder, _, size = family.partition(" ")
    rungs = OPEN_LADDERS[ladder].rungs
    rung = rungs[size] if size else next(iter(rungs.values()))
    config = json.loads(OPEN_MODELS.read_text())[rung.name]["config"]
    tokens = {"bos_token_id": 1, "eos_token_id": 2, "cls_token_id": 1, "sep_token_id": 2}
    if family == MULTIMODAL:
        images = {f"{name}_token_id": VOCABULARY - 1 for name in ("image", "boi", "eoi")}
        tokens |= images
        tiny: dict[str, Any] = {
            "text_config": config["text_config"] | _tiny(config["text_config"]),
            "vision_config": config["vision_config"] | TINY_VISION,
            "mm_tokens_per_image": 4,
        }
    else:
        tiny = _tiny(config)
    return CONFIG_MAPPING[config["model_type"]].from_dict({**config, **tokens, **tiny, **more})


def _tiny(config: dict[str, Any]) -> dict[str, Any]:
    """The settings of a decoder or an encoder that are replaced."""
    tiny: dict[str, Any] = {k: v for k, v in TINY.items() if k in (*config, "pad_token_id")}
    if "original_max_position_embeddings" in config.get("rope_scaling", {}):
        tiny["rope_scaling"] = {**config["rope_scaling"], "original_max_position_embeddings": 16}
    return tiny


def make_family(family: str, folder: Path) -> Path:
    """A folder with the tiny model, as pretraining would leave it: with its head."""
    import torch
    from transformers import AutoModelForCausalLM, AutoModelForMaskedLM

    torch.manual_seed(0)
    loader: Any = AutoModelForMaskedLM if family in ENCODERS else AutoModelForCausalLM
    model = loader.from_config(config_of(family))
    for parameter in model.parameters():  # the initial weights are too small for any difference
        if parameter.dim() > 1:
            torch.nn.init.normal_(parameter, std=0.2)
    model.save_pretrained(folder)
    return folder
