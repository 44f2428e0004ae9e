"""The head on learned tokens alone and its losses in chunks, against the model's own logits."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from tests.learn import families
from w2s_ray.config import LoraTuning
from w2s_ray.learn import models, vocabulary_head
from w2s_ray.learn.adapters import with_adapters
from w2s_ray.learn.forms.language import LanguageModel

V, D, ROWS, TOKENS = 211, 16, 5, 12
SHARED = {"vocab_size": V, "num_hidden_layers": 2, "bos_token_id": 1, "eos_token_id": 2}
WIDE = {**SHARED, "hidden_size": D, "num_attention_heads": 2, "max_position_embeddings": 64}
MLP = {**WIDE, "intermediate_size": 24, "num_key_value_heads": 2, "pad_token_id": 0}
HEADS = {**MLP, "head_dim": 8}
FAMILIES: dict[str, tuple[str, dict[str, Any]]] = {
    "tied": ("gpt2", {"n_embd": D, "n_head": 2, "n_positions": 64, "n_layer": 2, **SHARED}),
    "not tied": ("llama", {**MLP, "tie_word_embeddings": False}),
    "a bias": ("phi", MLP),
    "another name": ("gpt_neox", {**WIDE, "intermediate_size": 24}),
    "a decoder within": ("opt", {**WIDE, "ffn_dim": 24, "word_embed_proj_dim": 8}),
    "capped": ("gemma2", {**HEADS, "final_logit_softcapping": 0.05}),
    "scaled": ("cohere", {**MLP, "logit_scale": 0.3}),
    "divided": ("granite", {**MLP, "logits_scaling": 7.0}),
}
LADDERS = {f"ladder {name}": name for name in families.DECODERS}
NOT_SPLIT = ("bert", {**WIDE, "intermediate_size": 24, "is_decoder": True})


def built(name: str, tuning: LoraTuning | None = None) -> LanguageModel:
    from transformers import AutoConfig, AutoModelForCausalLM

    torch.manual_seed(0)
    if name in LADDERS:
        config = families.config_of(LADDERS[name], vocab_size=V, hidden_size=D)
    else:
        family, settings = NOT_SPLIT if name == "no split" else FAMILIES[name]
        config = AutoConfig.for_model(family, **settings)
    models._silence(config)
    backbone: Any = AutoModelForCausalLM.from_config(config, dtype=torch.float32)
    if tuning is not None:
        backbone = with_adapters(backbone, tuning)
        for parameter_name, parameter in backbone.named_parameters():
            if "lora_B" in parameter_name:
                nn.init.normal_(parameter, std=0.1)
    return LanguageModel(backbone, width=D, causal=True, pad_id=0).train()


def rows() -> tuple[Tensor, Tensor, Tensor]:
    torch.manual_seed(1)
    ids = torch.randint(3, V, (ROWS, TOKENS))
    return ids, torch.tensor([12, 7, 12, 9, 4]), torch.tensor([1, 3, 11, 2, 1])


def plain(model: LanguageModel) -> Tensor:
    """The loss by the model's own forward pass, with every logit."""
    ids, lengths, starts = rows()
    logits: Tensor = model.backbone(input_ids=ids, use_cache=False).logits.float()
    found = []
    for i, (length, start) in enumerate(zip(lengths, starts, strict=True)):
        log_p = torch.log_softmax(logits[i], dim=-1)
        found.append(-sum(log_p[t - 1, ids[i, t]] for t in range(int(start), int(length))))
    return torch.stack(found)


def gradients(model: LanguageModel, nll_B: Tensor) -> dict[str, Tensor]:
    model.zero_grad(set_to_none=True)
    (nll_B * torch.arange(1, ROWS + 1)).sum().backward()
    return {n: p.grad.clone() for n, p in model.named_parameters() if p.grad is not None}


class Largest(TorchDispatchMode):
    """The most numbers that a tensor of these operations has."""

    numbers = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        made = func(*args, **(kwargs or {}))
        sizes = (leaf.numel() for leaf in tree_leaves(made) if isinstance(leaf, Tensor))
        self.numbers = max(self.numbers, *sizes, 0)
        return made


@pytest.mark.parametrize("chunk", [2**27, 4 * V + 3], ids=["one", "many"])
@pytest.mark.parametrize("name", [*FAMILIES, *LADDERS])
def test_losses_and_gradients_are_those_of_the_whole_logits(name, chunk, monkeypatch):
    monkeypatch.setattr(vocabulary_head, "LOGITS_AT_ONCE", chunk)
    model = built(name)
    assert model.parts is not None
    assert (model.parts.after is not None) == (
        name in ("capped", "scaled", "divided", "ladder gemma2")
    )
    expected = plain(model)
    wanted = gradients(model, expected)
    found = model(*rows())
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5)
    got = gradients(model, found)
    assert got.keys() == wanted.keys()
    for key, value in wanted.items():
        torch.testing.assert_close(got[key], value, rtol=1e-4, atol=1e-5, msg=key)
    with torch.no_grad():
        torch.testing.assert_close(model(*rows()), expected, rtol=1e-5, atol=1e-5)
    ids, lengths, _ = rows()
    every: Tensor = model.backbone(input_ids=ids, use_cache=False).logits
    torch.testing.assert_close(
        model.pooled(ids, lengths), every[torch.arange(ROWS), lengths - 1], rtol=1e-5, atol=1e-5
    )


def test_no_tensor_is_larger_than_a_chunk_of_logits(monkeypatch):
    monkeypatch.setattr(vocabulary_head, "LOGITS_AT_ONCE", 4 * V)
    model, inputs = built("not tied"), rows()
    with Largest() as seen:
        model(*inputs).sum().backward()
        with torch.no_grad():
            model(*inputs)
            model.pooled(*inputs[:2])
    weights = max(p.numel() for p in model.parameters())
    assert seen.numbers == max(weights, ROWS * V)
    with Largest() as seen:
        plain(model)
    assert seen.numbers == ROWS * TOKENS * V


@pytest.mark.parametrize("name", ["tied", *LADDERS])
def test_under_autocast_losses_are_as_near_as_the_whole_logits_are(name, monkeypatch):
    monkeypatch.setattr(vocabulary_head, "LOGITS_AT_ONCE", 4 * V)
    model = built(name)
    exact = plain(model)
    with torch.autocast("cpu", torch.bfloat16):
        whole, found = plain(model), model(*rows())
    rounding = (whole - exact).abs().max()
    assert found.dtype == torch.float32
    assert (found - exact).abs().max() <= 2 * rounding
    wanted, got = gradients(model, exact), gradients(model, found)
    for key, value in wanted.items():
        assert (got[key] - value).norm() <= 0.05 * value.norm() + 1e-6, key


def test_an_adapter_on_the_head_is_trained(monkeypatch):
    monkeypatch.setattr(vocabulary_head, "LOGITS_AT_ONCE", 4 * V)
    model = built("not tied", LoraTuning(rank=2, targets=("lm_head", "q_proj")))
    expected = plain(model)
    wanted = gradients(model, expected)
    got = gradients(model, model(*rows()))
    assert any("lm_head" in name for name in got)
    for key, value in wanted.items():
        torch.testing.assert_close(got[key], value, rtol=1e-4, atol=1e-5, msg=key)


def test_a_model_of_another_build_uses_its_own_forward_pass():
    model = built("no split")
    assert model.parts is None
    torch.testing.assert_close(model(*rows()), plain(model), rtol=1e-5, atol=1e-5)
    ids, lengths, _ = rows()
    assert model.pooled(ids, lengths).shape == (ROWS, V)


def test_names_of_weights_are_the_pretrained_ones():
    model = built("tied")
    inner: Any = model.backbone
    assert {f"backbone.{name}" for name in inner.state_dict()} == set(model.state_dict())
