"""The tensors that a configuration implies are those that transformers saves."""

from __future__ import annotations

import pytest

from w2s_ray.config import ModelSource
from w2s_ray.data.architecture import Architecture
from w2s_ray.data.descriptions import architecture_from_config
from w2s_ray.data.folders import model_files
from w2s_ray.data.skeletons import lacks_head, tensor_mismatch

SHAPE = {"vocab_size": 40, "hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2}
WIDE = {**SHAPE, "intermediate_size": 32, "max_position_embeddings": 32}
MODELS = {
    "gpt2": ("GPT2", {"vocab_size": 40, "n_embd": 16, "n_layer": 2, "n_head": 2}),
    "gpt_neox": ("GPTNeoX", WIDE),
    "llama": ("Llama", {**WIDE, "num_key_value_heads": 1}),
    "llama with biases": ("Llama", {**WIDE, "attention_bias": True, "mlp_bias": True}),
    "mistral": ("Mistral", {**WIDE, "num_key_value_heads": 1, "head_dim": 8}),
    "qwen2": ("Qwen2", {**WIDE, "num_key_value_heads": 1}),
    "opt": ("OPT", {**SHAPE, "ffn_dim": 32, "word_embed_proj_dim": 16}),
    "opt projected": ("OPT", {**SHAPE, "ffn_dim": 32, "word_embed_proj_dim": 8}),
    "opt normed before": ("OPT", {**SHAPE, "ffn_dim": 32, "do_layer_norm_before": False}),
    "bert": ("Bert", WIDE),
    "roberta": ("Roberta", WIDE),
    "qwen3": ("Qwen3", {**WIDE, "num_key_value_heads": 1}),
    "gemma": ("Gemma", {**WIDE, "num_key_value_heads": 1, "head_dim": 8}),
    "gemma2": ("Gemma2", {**WIDE, "num_key_value_heads": 1, "head_dim": 8}),
    "gemma3": ("Gemma3", {**WIDE, "num_key_value_heads": 1, "head_dim": 8}),
    "olmo2": ("Olmo2", {**WIDE, "num_key_value_heads": 2, "pad_token_id": 0}),
    "modernbert": ("ModernBert", {**WIDE, "pad_token_id": 0}),
}
TIED = ("GPT2", "OPT", "Gemma", "Gemma2", "Gemma3")


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("kind", ["Model", "head"])
def test_the_tensors_of_a_saved_model_match(name, kind, tmp_path):
    import transformers

    family, shape = MODELS[name]
    encoder = "Bert" in family or family == "Roberta"
    suffix = {"GPT2": "LMHeadModel"}.get(family, "ForMaskedLM" if encoder else "ForCausalLM")
    shape = {"word_embed_proj_dim": 16, **shape} if family == "OPT" else shape
    text = "Text" if family == "Gemma3" else ""
    config = getattr(transformers, f"{family}{text}Config")(**shape)
    end = suffix if kind == "head" else f"{text}Model"
    made = getattr(transformers, f"{family}{end}")(config)
    made.save_pretrained(tmp_path)
    files = model_files(ModelSource(name="m", location=str(tmp_path), identity="sha256:m"))
    assert files is not None
    assert files.architecture is not None
    assert tensor_mismatch(files.tensors, files.architecture) == ""
    assert files.layers == 2
    depth = "n_layer" if family == "GPT2" else "num_hidden_layers"
    deeper = architecture_from_config(
        {**{k: v for k, v in files.config.items() if k != "layer_types"}, depth: 3}
    )
    assert isinstance(deeper, Architecture)
    assert tensor_mismatch(files.tensors, deeper) == "layers in config.json: 3, in the weights: 2"
    if not encoder:
        untied = family not in TIED
        assert lacks_head(files.tensors, files.architecture.skeleton) == (
            untied and kind == "Model"
        )
