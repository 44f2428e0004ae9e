"""A tiny model of each open ladder is trained, exported and read again; padding changes nothing."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from tests.learn.families import (
    DECODERS,
    ENCODERS,
    FAMILIES,
    LAYERS,
    MULTIMODAL,
    make_family,
    targets_of,
)
from tests.learn.tiny import VOCABULARY, Recorder, data_of, recipe_of, source_of
from w2s_ray.config import (
    Execution,
    FullTuning,
    LastLayersTuning,
    LoraTuning,
    ModelSource,
)
from w2s_ray.errors import InputError
from w2s_ray.learn.evaluate import predict_margins, probabilities
from w2s_ray.learn.loop import fit
from w2s_ray.learn.models import build_model
from w2s_ray.learn.torch_engine import TorchEngine

KEEP = Execution(gpus_per_worker=0, keep="last")


@pytest.fixture(scope="module")
def family(tmp_path_factory: pytest.TempPathFactory) -> Any:
    made: dict[str, ModelSource] = {}

    def find(name: str) -> ModelSource:
        if name not in made:
            folder = make_family(name, tmp_path_factory.mktemp("families") / name)
            made[name] = source_of(folder, name)
        return made[name]

    return find


def tuning_of(kind: str, name: str) -> Any:
    match kind:
        case "lora" | "lora in bf16":
            return LoraTuning(rank=2, targets=targets_of(name))
        case "last_layers":
            return LastLayersTuning(layers=1)
        case _:
            return FullTuning()


def names_within(weights: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Weights by their names within the backbone."""
    outer = re.compile(r"(language_model\.)?(model\.|gpt_neox\.)?")
    return {outer.sub("", name, count=1): value for name, value in weights.items()}


@pytest.mark.parametrize("kind", ["full", "lora", "lora in bf16", "last_layers"])
@pytest.mark.parametrize("name", FAMILIES)
def test_a_fit_changes_what_its_tuning_trains_and_its_export_predicts_the_same(
    name: str, kind: str, family: Any, tmp_path: Path
) -> None:
    source = family(name)
    training: dict[str, Any] = {"tuning": tuning_of(kind, name), "schedule": "constant"}
    if kind == "lora in bf16":  # frozen weights of a bf16 checkpoint are held in bf16
        training["precision"] = "bf16"
    recipe = recipe_of({**training, "epochs": 3})
    data, seen = data_of(), Recorder()
    result = fit(recipe, source=source, data=data, execution=KEEP, observer=seen, weights=tmp_path)
    assert np.mean(seen.losses[-3:]) < np.mean(seen.losses[:3])

    before = names_within(load_file(Path(source.location) / "model.safetensors"))
    after = names_within(load_file(tmp_path / "model.safetensors"))
    assert set(after) <= set(before)
    changed = {n for n, value in after.items() if not torch.equal(value, before[n])}
    targets = targets_of(name)
    last = (f"layers.{LAYERS - 1}.", "norm.", "final_norm.", "final_layer_norm.")
    adapted = {n for n in after if n.removesuffix(".weight").endswith(targets)}
    expected = {
        "full": set(after),
        "lora": adapted,
        "lora in bf16": adapted,
        "last_layers": {n for n in after if n.startswith(last)},
    }[kind]
    assert changed == expected

    again = TorchEngine(
        recipe.training, source=source_of(tmp_path, "again"), execution=KEEP, seed=0
    )
    again.model.head.load_state_dict(load_file(tmp_path / "head.safetensors"))
    found = probabilities(predict_margins(again, data.predict["test"], batch=8))
    rounding = 2e-2 if kind == "lora in bf16" else 1e-5  # adapters apart, or merged
    np.testing.assert_allclose(found, result.predicted["test"].probabilities, atol=rounding)


def with_some_head(source: ModelSource, **more: Any) -> Any:
    model = build_model(source, tuning=FullTuning(), seed=0, **more)
    torch.nn.init.normal_(model.head.weight, generator=torch.Generator().manual_seed(0))
    return model


def rows() -> tuple[torch.Tensor, torch.Tensor]:
    """Rows that are longer than the windows of attention, padded with token 0."""
    ids = torch.randint(1, VOCABULARY, (3, 14), generator=torch.Generator().manual_seed(1))
    lengths = torch.tensor([14, 9, 3])
    return ids * (torch.arange(14) < lengths[:, None]), lengths


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize("name", FAMILIES)
def test_padding_changes_nothing(name: str, precision: str, family: Any) -> None:
    model, (ids, lengths) = with_some_head(family(name)), rows()
    assert model.causal == (name not in ENCODERS)
    kernel = "eager" if name == "gemma2" else "sdpa"  # no kernel caps the scores
    assert model.backbone.config._attn_implementation == kernel
    other = torch.where(torch.arange(14) < lengths[:, None], ids, 7)
    half = precision == "bf16"
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16, enabled=half):
        together = model(ids, lengths)
        assert torch.equal(together, model(other, lengths))
        alone = torch.cat(
            [model(ids[i : i + 1, :n], lengths[i : i + 1]) for i, n in enumerate(lengths.tolist())]
        )
    torch.testing.assert_close(together, alone, rtol=0, atol=0.1 if half else 1e-4)
    assert together.std() > 0.5


@pytest.mark.parametrize("name", FAMILIES)
def test_activation_checkpointing_gives_the_same_gradient(name: str, family: Any) -> None:
    gradients = []
    for checkpointing in (False, True):
        model = with_some_head(family(name), activation_checkpointing=checkpointing)
        model(*rows()).square().sum().backward()
        grads = [p.grad for p in model.parameters()]
        assert all(g is not None for g in grads)
        gradients.append(torch.cat([g.flatten() for g in grads if g is not None]))
    torch.testing.assert_close(*gradients)


@pytest.mark.parametrize("name", [*DECODERS, MULTIMODAL])
def test_an_exported_language_model_computes_the_same(
    name: str, family: Any, tmp_path: Path
) -> None:
    model: Any = build_model(family(name), tuning=FullTuning(), seed=0, form="text")
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.05 * torch.randn(parameter.shape))
    model.export(dict(model.state_dict()), tmp_path)
    again: Any = build_model(source_of(tmp_path, "again"), tuning=FullTuning(), seed=0, form="text")
    inputs = (*rows(), torch.tensor([1, 4, 1]))
    torch.testing.assert_close(again(*inputs), model(*inputs))


@pytest.mark.parametrize("name", ENCODERS)
def test_an_encoder_trains_no_language_model(name: str, family: Any) -> None:
    with pytest.raises(InputError, match="is an encoder"):
        build_model(family(name), tuning=FullTuning(), seed=0, form="answers")
