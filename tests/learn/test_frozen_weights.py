"""Frozen weights in bf16 give the numbers and the exported model of frozen weights in fp32."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from tests.learn.tiny import Recorder, data_of, make_gpt2, recipe_of, round_to_bf16, source_of
from w2s_ray.config import Execution, LastLayersTuning, LoraTuning, ModelSource
from w2s_ray.learn import inference
from w2s_ray.learn.frozen_weights import hold_frozen_in_bf16
from w2s_ray.learn.loop import fit
from w2s_ray.learn.models import build_model

TUNINGS = {"lora": LoraTuning(rank=2), "last_layers": LastLayersTuning(layers=1)}


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> ModelSource:
    """A checkpoint whose values are those of bf16."""
    return source_of(round_to_bf16(make_gpt2(tmp_path_factory.mktemp("model") / "gpt2")), "gpt2")


def trained(source: ModelSource, tuning: Any, weights: Path) -> Any:
    recipe = recipe_of({"precision": "bf16", "tuning": tuning, "lr": 1e-2})
    execution = Execution(gpus_per_worker=0, keep="last")
    given = {"data": data_of(), "source": source, "execution": execution, "weights": weights}
    return fit(recipe, observer=Recorder(), **given)


@pytest.mark.parametrize("tuning", TUNINGS.values(), ids=TUNINGS)
def test_a_fit_and_its_weights_are_the_same(tuning, source, tmp_path, monkeypatch):
    held = trained(source, tuning, tmp_path / "held")
    monkeypatch.setattr(inference, "hold_frozen_in_bf16", lambda model, **_: None)
    plain = trained(source, tuning, tmp_path / "plain")
    assert held.train_loss == plain.train_loss
    for part, predicted in plain.predicted.items():
        assert np.array_equal(held.predicted[part].probabilities, predicted.probabilities)
    ours, theirs = (load_file(tmp_path / name / "model.safetensors") for name in ("held", "plain"))
    assert ours.keys() == theirs.keys()
    for name, value in theirs.items():
        assert value.dtype == ours[name].dtype == torch.float32
        assert torch.equal(ours[name], value), name


def dtypes(source: ModelSource, tuning: Any) -> dict[str, torch.dtype]:
    model = build_model(source, tuning=tuning, seed=0)
    hold_frozen_in_bf16(model)
    return {name: p.dtype for name, p in model.named_parameters()}


@pytest.mark.parametrize("tuning", TUNINGS.values(), ids=TUNINGS)
def test_frozen_products_alone_are_held_in_bf16(tuning, source):
    model = build_model(source, tuning=tuning, seed=0)
    frozen = {
        name
        for name, p in model.named_parameters()
        if not p.requires_grad and p.ndim == 2 and ".h." in name
    }
    found = dtypes(source, tuning)
    assert {name for name, dtype in found.items() if dtype == torch.bfloat16} == frozen
    assert frozen


def test_weights_that_bf16_would_round_stay(tmp_path):
    rounded = source_of(make_gpt2(tmp_path / "gpt2"), "gpt2")
    assert set(dtypes(rounded, LoraTuning(rank=2)).values()) == {torch.float32}
