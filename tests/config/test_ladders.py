"""A named ladder is the models that a sweep file could have listed, at the rates of the ladder."""

from __future__ import annotations

import json
import re

import pytest

from tests.support import w2s
from w2s_ray.config import Model, ModelSource, Sweep, SweepError, parse_sweep
from w2s_ray.config.ladders import OPEN_LADDERS, is_pickled
from w2s_ray.data import descriptions, hub, models
from w2s_ray.data.architecture import Architecture
from w2s_ray.data.descriptions import architecture_of
from w2s_ray.ladder import OPEN_MODELS

TEXT = """\
name: ladders
task: {{name: sciq, train: 100, validation: 20, test: 20}}
models: {models}
methods: {{naive: {{}}}}
"""


def sweep(models: str) -> Sweep:
    return parse_sweep(TEXT.format(models=models), name="s")


def test_a_range_is_its_models_smallest_first():
    found = sweep("{ladder: pythia, from: 70m, to: 1.4b}")
    names = [model.name for model in found.models]
    assert names == [f"EleutherAI/pythia-{s}" for s in ("70m", "160m", "410m", "1b", "1.4b")]
    assert found.models[0].label == "pythia-70m"
    rates = [found.ground_truth_settings(model).training.lr for model in found.models]
    assert rates == [5e-5, 5e-5, 5e-5, 1e-5, 1e-5]


def test_a_ladder_equals_the_list_of_its_models():
    listed = sweep(
        "[{name: openai-community/gpt2, training: {lr: 5e-5}}, "
        "{name: openai-community/gpt2-medium, training: {lr: 5e-5}}]"
    )
    assert sweep("{ladder: gpt2, to: 355m}") == listed


def test_lora_uses_the_targets_of_the_architecture():
    found = sweep("{ladder: qwen2.5, to: 1.5b, tuning: lora}")
    small, large = (found.ground_truth_settings(model).training for model in found.models)
    assert (small.lr, large.lr) == (5e-4, 8e-5)
    assert small.tuning.kind == "lora"
    assert "gate_proj" in (small.tuning.targets or ())


def test_ladders_and_models_mix_and_the_files_own_settings_win():
    found = sweep("[./mine, {ladder: opt, from: 125m, to: 350m, training: {lr: 2e-5, epochs: 1}}]")
    assert [model.label for model in found.models] == ["mine", "opt-125m", "opt-350m"]
    training = found.ground_truth_settings(found.models[2]).training
    assert (training.lr, training.epochs) == (2e-5, 1)


def test_a_size_has_its_own_revision_and_the_files_revision_wins():
    found = sweep("{ladder: opt, from: 6.7b, to: 13b}")
    assert [model.revision for model in found.models] == ["refs/pr/31", None]
    found = sweep("{ladder: opt, from: 6.7b, to: 13b, revision: v2}")
    assert [model.revision for model in found.models] == ["v2", "v2"]


@pytest.mark.parametrize(
    ("models", "error"),
    [
        ("{ladder: pythea}", "unknown ladder 'pythea'; did you mean 'pythia'?"),
        ("{ladder: pythia, from: 100m}", "models.from: the ladder pythia has no size '100m'; "),
        ("{ladder: pythia, from: 100m}", "did you mean '70m'? known: 14m, 31m, 70m"),
        ("{ladder: qwen2.5, to: 8b}", "did you mean '7B'"),
        ("{ladder: gpt2, from: 1.5b, to: 124m}", "models.to: 124m is smaller than `from: 1.5b`"),
        ("{ladder: gpt2, form: 124m}", "models.form: unknown key 'form'; did you mean 'from'?"),
        ("{ladder: gpt2, tuning: half}", "models.tuning: "),
        ("{ladder: gpt2, training: {lrr: 1}}", "models.gpt2.training: unknown key 'lrr'"),
    ],
)
def test_an_unknown_size_gives_the_nearest(models, error):
    with pytest.raises(SweepError, match=r"^s:3: ") as caught:
        sweep(models)
    assert error in str(caught.value)


def test_the_plan_shows_the_models_of_a_ladder(tmp_path, monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("W2S_CACHE", str(tmp_path / "cache"))
    file = tmp_path / "sweep.yaml"
    file.write_text(TEXT.format(models="{ladder: opt, to: 350m, tuning: lora}"))
    shown = w2s("plan", file, "--store", tmp_path / "results")
    assert shown.returncode == 0, shown.stderr
    for size in ("125m", "350m"):
        line = f"model opt-{size} (facebook/opt-{size}, lr 0.0005, lora): "
        assert line in shown.stdout
        assert re.search(rf"\n(ceiling|supervisor) +opt-{size} .* GiB on 1", shown.stdout)


def test_every_rung_has_a_source_of_its_numbers():
    for name, ladder in OPEN_LADDERS.items():
        assert ladder.targets_source
        sizes = [rung.parameters for rung in ladder.rungs.values()]
        assert sizes == sorted(sizes), name
        assert all(rung.lr_source and "/" in rung.name for rung in ladder.rungs.values())


RUNGS = [(name, size) for name, ladder in OPEN_LADDERS.items() for size in ladder.rungs]


def test_the_shipped_configurations_are_those_of_the_rungs():
    names = {rung.name for ladder in OPEN_LADDERS.values() for rung in ladder.rungs.values()}
    models = json.loads(OPEN_MODELS.read_text())
    assert set(models) == names
    assert all(model["source"] and model["config"]["model_type"] for model in models.values())


@pytest.mark.parametrize(("name", "size"), RUNGS)
def test_every_rung_is_estimated_without_its_files(name, size, monkeypatch):
    """Its size is the published one, and its LoRA targets are matrices of its layers."""
    monkeypatch.setattr(descriptions, "run_describe", lambda configs: pytest.fail("described"))
    ladder, rung = OPEN_LADDERS[name], OPEN_LADDERS[name].rungs[size]
    model = architecture_of(ModelSource(name=size, location=rung.name, identity="hub:x"))
    assert isinstance(model, Architecture), model
    head = 0 if model.skeleton.tied or not model.causal else model.vocabulary * model.pooled
    assert model.parameters + head == pytest.approx(rung.parameters, rel=0.01)
    matched = [
        {target for target in ladder.targets if f".{matrix.name}".endswith(f".{target}")}
        for matrix in model.matrices
    ]
    assert set().union(*matched) == set(ladder.targets)
    if name not in ("gpt2", "pythia"):  # there the reference leaves a matrix out
        assert all(matched)


def test_a_rung_without_safetensors_has_its_own_reason_offline(tmp_path, monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("HF_HOME", str(tmp_path))
    monkeypatch.setenv("W2S_CACHE", str(tmp_path))
    monkeypatch.setattr(models, "LOOKUPS", hub.Lookups())
    names = {rung.name: rung for rung in OPEN_LADDERS["opt"].rungs.values()}
    assert [name for name in names if is_pickled(name)] == ["facebook/opt-30b"]
    sources = {name: models.model_source(Model(name=name)) for name in names}
    assert all(source.provisional for source in sources.values())
    assert "has no model.safetensors" in sources["facebook/opt-30b"].note
    assert "isn't used: HF_HUB_OFFLINE is set" in sources["facebook/opt-66b"].note
    pinned = models.model_source(Model(name="facebook/opt-30b", revision="refs/pr/9"))
    assert pinned.note == sources["facebook/opt-66b"].note
