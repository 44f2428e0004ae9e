"""Loading, pooling, dropout, adapters and export of two-class models."""

from __future__ import annotations

import math
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import LlamaConfig, LlamaModel

from tests.learn.tiny import make_gpt2, source_of
from w2s_ray.config import Execution, FullTuning, LoraTuning, ModelSource, Training
from w2s_ray.errors import InputError
from w2s_ray.learn.forms.classes import TwoClass
from w2s_ray.learn.models import build_model


def build(source: ModelSource, tuning: Any = None, **more: Any) -> TwoClass:
    model = build_model(source, tuning=tuning or FullTuning(), seed=0, **more)
    return model


def with_some_head(model: TwoClass) -> TwoClass:
    generator = torch.Generator().manual_seed(0)
    model.head.weight.data = torch.randn(model.head.weight.shape, generator=generator)
    return model


IDS = torch.tensor([[5, 0, 7, 0], [3, 4, 0, 0], [8, 9, 10, 11]])
LENGTHS = torch.tensor([4, 3, 2])


@pytest.mark.parametrize("kind", ["gpt2", "bert"])
def test_first_loss_is_ln_2(kind: str, request: pytest.FixtureRequest) -> None:
    logits = build(request.getfixturevalue(kind))(IDS, LENGTHS)
    loss = torch.nn.functional.cross_entropy(logits, torch.tensor([0, 1, 1]))
    assert loss.item() == pytest.approx(math.log(2), abs=1e-7)


def test_a_decoder_is_read_at_its_last_real_token_even_if_that_is_id_0(gpt2: ModelSource) -> None:
    model = with_some_head(build(gpt2))
    together = model(IDS, LENGTHS)
    for i, length in enumerate(LENGTHS.tolist()):
        alone = model(IDS[i : i + 1, :length], torch.tensor([length]))
        torch.testing.assert_close(together[i : i + 1], alone)
    hidden = model.backbone(input_ids=IDS[:1]).last_hidden_state[0, 3]
    torch.testing.assert_close(together[0], model.head.weight @ hidden)


def test_padding_changes_nothing(gpt2: ModelSource, bert: ModelSource) -> None:
    for source in (gpt2, bert):
        model = with_some_head(build(source))
        filled = IDS.clone()
        filled[1, 3], filled[2, 2:] = 17, torch.tensor([20, 21])
        torch.testing.assert_close(model(IDS, LENGTHS), model(filled, LENGTHS))


def test_token_0_is_a_word_like_any_other(gpt2: ModelSource) -> None:
    """Padding is known by its place: a row that ends in token 0 is read at its end, not before."""
    model = with_some_head(build(gpt2))
    row = torch.tensor([[5, 0, 0]])
    whole = model(row, torch.tensor([3]))
    padded = model(torch.cat([row, torch.zeros(1, 4, dtype=torch.long)], dim=1), torch.tensor([3]))
    torch.testing.assert_close(whole, padded)
    assert not torch.allclose(whole, model(row[:, :1], torch.tensor([1])))


def test_an_encoder_is_read_at_its_first_token(bert: ModelSource) -> None:
    model = with_some_head(build(bert))
    assert not model.causal
    hidden = model.backbone(input_ids=IDS[1:2, :3]).last_hidden_state[0, 0]
    torch.testing.assert_close(model(IDS, LENGTHS)[1], model.head.weight @ hidden)
    assert model.backbone.pooler is None


def test_dropout_is_off_while_training(tmp_path: Path) -> None:
    model = with_some_head(build(source_of(make_gpt2(tmp_path, dropout=0.9), "g")))
    assert model.training
    assert torch.equal(model(IDS, LENGTHS), model(IDS, LENGTHS))


def test_activation_checkpointing_gives_the_same_gradient(gpt2: ModelSource) -> None:
    gradients = []
    for checkpointing in (False, True):
        model = with_some_head(build(gpt2, activation_checkpointing=checkpointing))
        model(IDS, LENGTHS).square().sum().backward()
        gradients.append(
            torch.cat([p.grad.flatten() for p in model.parameters() if p.grad is not None])
        )
    torch.testing.assert_close(gradients[0], gradients[1])


@pytest.mark.parametrize("kind", ["gpt2", "bert"])
def test_lora_trains_adapters_and_head_only(kind: str, request: pytest.FixtureRequest) -> None:
    model = build(request.getfixturevalue(kind), LoraTuning(rank=2))
    trained = [name for name, p in model.named_parameters() if p.requires_grad]
    assert "head.weight" in trained
    assert len(trained) > 1
    assert all("lora_" in name or name == "head.weight" for name in trained)
    full = build(request.getfixturevalue(kind))
    torch.testing.assert_close(
        with_some_head(model)(IDS, LENGTHS), with_some_head(full)(IDS, LENGTHS)
    )


def test_unknown_targets_name_the_setting(gpt2: ModelSource) -> None:
    with pytest.raises(ValueError, match=r"training\.tuning\.targets.*nonsense"):
        build(gpt2, LoraTuning(targets=("nonsense",)))


@pytest.mark.parametrize("kind", ["gpt2", "bert"])
@pytest.mark.parametrize("tuning", [FullTuning(), LoraTuning(rank=2)])
def test_an_exported_model_computes_the_same(
    kind: str, tuning: Any, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    from safetensors.torch import load_file

    model = with_some_head(build(request.getfixturevalue(kind), tuning))
    for name, parameter in model.named_parameters():
        if parameter.requires_grad and "head" not in name:
            parameter.data += 0.05 * torch.randn_like(parameter)
    model.export(dict(model.state_dict()), tmp_path)
    again = build(source_of(tmp_path, "again"))
    again.head.load_state_dict(load_file(tmp_path / "head.safetensors"))
    torch.testing.assert_close(again(IDS, LENGTHS), model(IDS, LENGTHS))
    assert not list(tmp_path.glob("*.bin"))


def test_a_folder_without_safetensors_is_refused(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text('{"model_type": "gpt2"}')
    (tmp_path / "pytorch_model.bin").write_bytes(b"pickle")
    with pytest.raises(ValueError, match=r"no safetensors weights.*save_pretrained"):
        build(source_of(tmp_path, "pickled"))


def test_an_encoder_decoder_is_refused(tmp_path: Path) -> None:
    from transformers import T5Config, T5Model

    T5Model(
        T5Config(vocab_size=20, d_model=8, d_kv=4, d_ff=8, num_layers=1, num_heads=2)
    ).save_pretrained(tmp_path)
    with pytest.raises(ValueError, match="encoder-decoder"):
        build(source_of(tmp_path, "t5"))


def test_a_checkpointed_pass_in_bf16_frees_the_copies_of_weights(gpt2: ModelSource, monkeypatch):
    from benchmarks.estimates import LiveBytes
    from w2s_ray.learn import inference, torch_engine
    from w2s_ray.learn.engine import autocast

    training = Training(precision="bf16")
    execution = Execution(gpus_per_worker=0, activation_checkpointing=True)
    ids_BL, lengths_B = torch.ones(1, 2, dtype=torch.long), torch.tensor([2])

    def peak(keeps_casts: bool) -> int:
        monkeypatch.setattr(inference, "autocast", partial(autocast, keeps_casts=keeps_casts))
        engine = torch_engine.TorchEngine(training, source=gpt2, execution=execution, seed=0)
        with LiveBytes(engine.model.parameters()) as live:
            engine.forward(ids_BL, lengths_B)
        return live.peak

    matrices = [
        parameter.numel()
        for name, parameter in build(gpt2).named_parameters()
        if ".h." in name and "weight" in name and parameter.ndim == 2
    ]
    # of two layers, the copies of one are freed before those of the other are made
    assert peak(True) - peak(False) >= 2 * sum(matrices) // 2


@torch.no_grad()
def test_attention_by_name_computes_the_same(tmp_path: Path) -> None:
    config = LlamaConfig(
        vocab_size=40,
        hidden_size=32,
        intermediate_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
    )
    LlamaModel(config).save_pretrained(tmp_path)
    llama = source_of(tmp_path, "llama")
    alone = with_some_head(build(llama))(IDS, LENGTHS)
    named = build(llama, attention="flex_attention")
    assert named.backbone.config._attn_implementation == "flex_attention"
    torch.testing.assert_close(with_some_head(named)(IDS, LENGTHS), alone)


def test_an_attention_that_cannot_be_used_is_named_with_the_remedy(gpt2: ModelSource) -> None:
    words = "can't use execution.attention: flash_attention_2 here: .* installed; set attention"
    with pytest.raises(InputError, match=words):
        build(gpt2, attention="flash_attention_2")
    with pytest.raises(
        InputError, match=r"flex_attention here: GPT2Model does not support .*; set"
    ):
        build(gpt2, attention="flex_attention")
