"""Frozen linear layers in 4 bits: their numbers, their memory, fits on them, and their exports."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch import nn

pytest.importorskip("bitsandbytes", reason="the extra quantized is not installed")

from tests.learn.tiny import VOCABULARY, Recorder, data_of, recipe_of, source_of
from w2s_ray.config import Execution, LoraTuning, ModelSource, ProbeTuning, Training, tuning
from w2s_ray.errors import InputError
from w2s_ray.learn.activations import activations
from w2s_ray.learn.checkpoints import FolderCheckpoints
from w2s_ray.learn.four_bit import FourBitLinear
from w2s_ray.learn.kernels import compile_layers
from w2s_ray.learn.loop import fit
from w2s_ray.learn.models import build_model
from w2s_ray.learn.probe_engine import ProbeEngine
from w2s_ray.learn.rows import ActivationRows
from w2s_ray.learn.torch_engine import TorchEngine
from w2s_ray.plan.estimates.activations import NF4

LORA, PROBE = LoraTuning(rank=2, base="nf4"), ProbeTuning(base="nf4")
CPU = Execution(gpus_per_worker=0, keep="last")
IDS = torch.tensor([[3, 1, 4, 1, 5], [9, 2, 6, 0, 0]])
LENGTHS = torch.tensor([5, 3])
CODES = np.array(  # arXiv 2305.14314, appendix E
    [
        *(-1.0, -0.6961928009986877, -0.5250730514526367, -0.39491748809814453),
        *(-0.28444138169288635, -0.18477343022823334, -0.09105003625154495, 0.0),
        *(0.07958029955625534, 0.16093020141124725, 0.24611230194568634, 0.33791524171829224),
        *(0.44070982933044434, 0.5626170039176941, 0.7229568362236023, 1.0),
    ]
)


def layer_of(kind: str, inputs: int = 24, outputs: int = 17) -> Any:
    from transformers.pytorch_utils import Conv1D

    torch.manual_seed(1)
    return nn.Linear(inputs, outputs) if kind == "Linear" else Conv1D(outputs, inputs)


def quantized(layer: Any) -> FourBitLinear:
    return FourBitLinear(layer).to("cpu")


def dequantized(layer: FourBitLinear) -> torch.Tensor:
    return layer.state_dict()["weight"]


@pytest.mark.parametrize("half", [False, True], ids=["fp32", "bf16"])
@pytest.mark.parametrize("kind", ["Linear", "Conv1D"])
def test_a_layer_computes_what_its_dequantized_weights_do(kind: str, half: bool) -> None:
    layer = layer_of(kind)
    ours = quantized(layer)
    assert not torch.equal(dequantized(ours), layer.weight.data)
    layer.weight.data = dequantized(ours)
    found = []
    for each in (ours, layer, ours.eval()):
        x = torch.randn(3, 24, generator=torch.Generator().manual_seed(0), requires_grad=True)
        with torch.autocast("cpu", torch.bfloat16, enabled=half):
            y = each(x)
        y.float().square().sum().backward()
        assert x.grad is not None
        found.append((y, x.grad))
    assert found[0][0].dtype == found[1][0].dtype == (torch.bfloat16 if half else torch.float32)
    for y, gradient in found[1:]:
        torch.testing.assert_close(found[0][0], y)
        torch.testing.assert_close(found[0][1], gradient)
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16, enabled=half):
        assert torch.equal(ours.train()(x), found[0][0])


def test_weights_are_the_codes_of_nf4_times_the_largest_of_64() -> None:
    layer = nn.Linear(64, 32, bias=False)
    blocks = layer.weight.detach().numpy().copy()  # a row is a block of 64
    scales = np.abs(blocks).max(axis=1, keepdims=True)
    nearest = CODES[np.abs(blocks[..., None] / scales[..., None] - CODES).argmin(axis=-1)]
    found = dequantized(quantized(layer)).numpy()
    # The scales have 8 bits.
    np.testing.assert_allclose(found, nearest * scales, rtol=0.02, atol=1e-7)


@pytest.mark.parametrize("kind", ["Linear", "Conv1D"])
def test_a_weight_takes_the_estimated_bytes(kind: str) -> None:
    layer = quantized(layer_of(kind, 256, 512))
    state = layer.weight.quant_state
    tensors = (layer.weight, state.absmax, state.state2.absmax)
    assert sum(t.numel() * t.element_size() for t in tensors) == NF4 * 256 * 512


def trained(source: ModelSource, tuning: Any, folder: Path, **more: Any) -> Any:
    training = {"tuning": tuning, "epochs": 6, "lr": 0.02, **more.pop("training", {})}
    seen = more.pop("observer", None) or Recorder()
    given = {"data": data_of(), "source": source, "execution": CPU, "weights": folder, **more}
    return fit(recipe_of(training), observer=seen, **given), seen


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize("kind", ["gpt2", "bert"])
def test_a_lora_fit_learns_and_counts_its_weights(
    kind: str, precision: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    source, more = request.getfixturevalue(kind), {"training": {"precision": precision}}
    result, seen = trained(source, LORA, tmp_path / "four", **more)
    plain, _ = trained(source, LoraTuning(rank=2), tmp_path / "plain", **more)
    assert seen.losses[-1] < 0.9 * seen.losses[0]
    assert result.parameters == plain.parameters
    assert result.trained_parameters == plain.trained_parameters
    assert result.train_loss != plain.train_loss


def test_kill_and_resume_gives_the_same_bits(gpt2: ModelSource, tmp_path: Path) -> None:
    straight, _ = trained(gpt2, LORA, tmp_path / "straight")
    kept = FolderCheckpoints(tmp_path / "work", every_s=0)
    with pytest.raises(KeyboardInterrupt):
        trained(gpt2, LORA, tmp_path / "x", checkpoints=kept, observer=Recorder(8))
    resumed, _ = trained(gpt2, LORA, tmp_path / "resumed", checkpoints=kept)
    for part, predicted in straight.predicted.items():
        again = resumed.predicted[part].probabilities
        assert np.array_equal(predicted.probabilities, again)
    for name, value in load_file(tmp_path / "straight" / "model.safetensors").items():
        assert torch.equal(load_file(tmp_path / "resumed" / "model.safetensors")[name], value)


@pytest.mark.parametrize("tuning", [LORA, PROBE], ids=["lora", "probe"])
@pytest.mark.parametrize("kind", ["gpt2", "bert"])
def test_an_export_is_a_plain_model_that_computes_the_same(
    kind: str, tuning: Any, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    source = request.getfixturevalue(kind)
    training = Training(tuning=tuning)
    engine = TorchEngine(training, source=source, execution=CPU, seed=0)
    generator = torch.Generator().manual_seed(0)
    for p in engine.model.parameters():
        if p.requires_grad:
            p.data = torch.randn(p.shape, generator=generator) / 4
    engine.export(tmp_path)
    before = load_file(Path(source.location) / "model.safetensors")
    after = load_file(tmp_path / "model.safetensors")
    assert {n: (v.shape, v.dtype) for n, v in after.items()} == {
        n: (v.shape, v.dtype) for n, v in before.items() if "pooler" not in n
    }
    again: Any = build_model(source_of(tmp_path, "again"), tuning=ProbeTuning(), seed=0)
    again.head.load_state_dict(load_file(tmp_path / "head.safetensors"))
    with torch.no_grad():
        torch.testing.assert_close(
            again(IDS, LENGTHS), engine.model(IDS, LENGTHS), rtol=1e-4, atol=1e-5
        )


def test_a_probe_on_activations_exports_the_model_that_they_are_of(
    gpt2: ModelSource, tmp_path: Path
) -> None:
    rows = data_of().train
    training, given = Training(tuning=PROBE), {"source": gpt2, "execution": CPU}
    ((_, found),) = activations({"train": rows}, training=training, **given)
    ((_, plain),) = activations({"train": rows}, training=Training(tuning=ProbeTuning()), **given)
    assert np.abs(found.values_ND - plain.values_ND).max() > 1e-3
    assert found.parameters == plain.parameters
    inputs = ActivationRows(found.values_ND, rows.lengths, found.parameters)
    ProbeEngine(training, seed=0, rows=inputs, **given).export(tmp_path)
    exported = {**given, "source": source_of(tmp_path, "exported")}
    ((_, again),) = activations(
        {"train": rows}, training=Training(tuning=ProbeTuning()), **exported
    )
    np.testing.assert_allclose(again.values_ND, found.values_ND, rtol=1e-4, atol=1e-5)


def language_model(folder: Path, *, experts: bool = False) -> ModelSource:
    from transformers import (
        LlamaConfig,
        LlamaForCausalLM,
        MixtralConfig,
        MixtralForCausalLM,
    )

    torch.manual_seed(0)
    shape: dict[str, Any] = {
        "vocab_size": VOCABULARY,
        "hidden_size": 16,
        "intermediate_size": 32,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "num_key_value_heads": 1,
        "max_position_embeddings": 32,
    }
    dense, sparse = LlamaConfig(**shape), MixtralConfig(**shape)
    made: Any = MixtralForCausalLM(sparse) if experts else LlamaForCausalLM(dense)
    made.save_pretrained(folder)
    return source_of(folder, "language")


def test_a_head_over_the_vocabulary_is_not_quantized(tmp_path: Path) -> None:
    source = language_model(tmp_path / "model")
    model = build_model(source, tuning=LORA, seed=0, form="text").to("cpu")
    held = {n for n, p in model.named_parameters() if p.dtype == torch.uint8}
    assert len(held) == 2 * 7  # four matrices of attention and three of the MLP in each layer
    assert not any("head" in name or "embed" in name for name in held)


def test_compiled_layers_compute_the_same(tmp_path: Path) -> None:
    source = language_model(tmp_path / "model")
    model = build_model(source, tuning=LORA, seed=0).to("cpu")
    plain = model(IDS, LENGTHS).detach()
    assert compile_layers(model.backbone, backend="aot_eager") == 2
    logits = model(IDS, LENGTHS)
    torch.testing.assert_close(logits.detach(), plain)
    logits.sum().backward()
    assert all(p.grad is not None for n, p in model.named_parameters() if "lora_" in n)


def test_a_model_whose_weights_are_not_in_linear_layers_is_refused(tmp_path: Path) -> None:
    source = language_model(tmp_path / "model", experts=True)
    with pytest.raises(InputError, match="weights are of linear layers, which"):
        build_model(source, tuning=LORA, seed=0)


def test_a_missing_package_is_named(gpt2: ModelSource, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tuning, "find_spec", lambda name: None)
    with pytest.raises(InputError, match=r'is missing: pip install "w2s_ray\[quantized\]"'):
        build_model(gpt2, tuning=PROBE, seed=0)


def test_deepspeed_is_refused(gpt2: ModelSource) -> None:
    from w2s_ray.learn.deepspeed_engine import DeepSpeedEngine

    execution = Execution(engine="deepspeed", gpus_per_worker=0)
    with pytest.raises(InputError, match="DeepSpeed can't shard"):
        DeepSpeedEngine(Training(tuning=LORA), source=gpt2, execution=execution, seed=0)
