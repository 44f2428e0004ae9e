"""The tensors that a known family is said to have are those that transformers saves."""

from __future__ import annotations

import pytest

from w2s_ray.config import ModelSource
from w2s_ray.data.folders import model_files
from w2s_ray.data.skeletons import embedding_rows, lacks_head, misfit

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
}


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("kind", ["Model", "head"])
def test_a_saved_model_fits(name, kind, tmp_path):
    import transformers

    family, shape = MODELS[name]
    encoder = family in ("Bert", "Roberta")
    suffix = {"GPT2": "LMHeadModel"}.get(family, "ForMaskedLM" if encoder else "ForCausalLM")
    shape = {"word_embed_proj_dim": 16, **shape} if family == "OPT" else shape
    config = getattr(transformers, f"{family}Config")(**shape)
    made = getattr(transformers, f"{family}{suffix if kind == 'head' else 'Model'}")(config)
    made.save_pretrained(tmp_path)
    files = model_files(ModelSource(name="m", location=str(tmp_path), identity="sha256:m"))
    assert files is not None
    assert files.architecture is not None
    assert misfit(files.tensors, files.architecture) == ""
    assert files.layers == 2
    found = files.architecture.family
    assert embedding_rows(files.tensors, found) == 40
    if not encoder:
        tied = files.text.get("tie_word_embeddings")
        untied = family in ("GPTNeoX", "Llama", "Mistral", "Qwen2")
        assert lacks_head(files.tensors, found, tied=tied) == (untied and kind == "Model")
