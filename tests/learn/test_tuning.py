"""What each way of tuning trains, and what it leaves as it was."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from tests.learn.tiny import Recorder, data_of, recipe_of
from w2s_ray.config import (
    Execution,
    FitRecipe,
    FullTuning,
    LastLayersTuning,
    LpFtTuning,
    ModelSource,
    ProbeTuning,
    parse_sweep,
)
from w2s_ray.learn.checkpoints import FolderCheckpoints
from w2s_ray.learn.loop import fit
from w2s_ray.learn.models import build_model

KEEP = Execution(gpus_per_worker=0, keep="last")


def trained(recipe: FitRecipe, source: ModelSource, folder: Path, **more: Any) -> Any:
    """The result, what was seen, and the weights that training left."""
    observer = more.pop("observer", None) or Recorder()
    result = fit(
        recipe,
        source=source,
        data=data_of(),
        execution=KEEP,
        observer=observer,
        weights=folder,
        **more,
    )
    return result, observer, load_file(folder / "model.safetensors")


def changed(source: ModelSource, weights: dict[str, torch.Tensor]) -> set[str]:
    """Names of the backbone's weights that are no longer the pretrained ones."""
    before = load_file(Path(source.location) / "model.safetensors")
    return {name for name, value in weights.items() if not torch.equal(value, before[name])}


@pytest.mark.parametrize("kind", ["gpt2", "bert"])
def test_a_probe_changes_the_head_alone_and_learns(
    kind: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    source = request.getfixturevalue(kind)
    recipe = recipe_of({"tuning": ProbeTuning(), "lr": 0.05, "epochs": 6})
    result, seen, weights = trained(recipe, source, tmp_path)
    assert changed(source, weights) == set()
    assert result.trained_parameters == 2 * 16
    assert result.parameters > result.trained_parameters
    assert seen.losses[-1] < seen.losses[0]


@pytest.mark.parametrize(
    ("kind", "last", "first"),
    [
        ("gpt2", ("h.1.", "ln_f."), "h.0."),
        ("bert", ("encoder.layer.1.",), "encoder.layer.0."),
    ],
)
def test_last_layers_and_the_modules_after_them_change(
    kind: str, last: tuple[str, ...], first: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    source = request.getfixturevalue(kind)
    recipe = recipe_of({"tuning": LastLayersTuning(layers=1)})
    _, _, weights = trained(recipe, source, tmp_path)
    moved = changed(source, weights)
    assert moved
    assert all(name.startswith(last) for name in moved)
    assert {prefix for prefix in last for name in moved if name.startswith(prefix)} == set(last)
    model = build_model(source, tuning=LastLayersTuning(layers=2), seed=0)
    open_names = {n for n, p in model.named_parameters() if p.requires_grad}
    assert any(first in name for name in open_names)
    assert not any("embed" in name or "wte" in name for name in open_names)


def test_more_layers_than_there_are_is_an_error(gpt2: ModelSource) -> None:
    with pytest.raises(ValueError, match="layers is 3, but the model has 2 layers"):
        build_model(gpt2, tuning=LastLayersTuning(layers=3), seed=0)


def test_lp_ft_is_a_probe_until_its_share_is_done(gpt2: ModelSource, tmp_path: Path) -> None:
    probe = recipe_of({"tuning": ProbeTuning(), "schedule": "constant"})
    both = recipe_of({"tuning": LpFtTuning(probe_share=0.5), "schedule": "constant"})
    full = recipe_of({"tuning": FullTuning(), "schedule": "constant"})
    _, as_probe, _ = trained(probe, gpt2, tmp_path / "probe")
    result, seen, weights = trained(both, gpt2, tmp_path / "both")
    _, as_full, _ = trained(full, gpt2, tmp_path / "full")
    half = result.total_steps // 2
    assert seen.losses[: half + 1] == pytest.approx(as_probe.losses[: half + 1], abs=1e-6)
    assert seen.losses[half + 1 :] != pytest.approx(as_probe.losses[half + 1 :], abs=1e-6)
    assert seen.losses[1:half] != pytest.approx(as_full.losses[1:half], abs=1e-6)
    assert changed(gpt2, weights)


@pytest.mark.parametrize("stop_after", [4, 8])
@pytest.mark.parametrize(
    "training",
    [
        {"tuning": LpFtTuning(probe_share=0.5)},
        {"weight_decay": 5.0, "weight_decay_to": "initial"},
        {"tuning": LastLayersTuning(layers=1)},
    ],
    ids=["lp_ft", "initial", "last_layers"],
)
def test_kill_and_resume_gives_the_same_bits(
    stop_after: int, training: dict[str, Any], gpt2: ModelSource, tmp_path: Path
) -> None:
    recipe = recipe_of(training)
    straight, _, weights = trained(recipe, gpt2, tmp_path / "straight")
    kept = FolderCheckpoints(tmp_path / "work", every_s=0)
    stopping = Recorder(stop_after)
    with pytest.raises(KeyboardInterrupt):
        trained(recipe, gpt2, tmp_path / "x", checkpoints=kept, observer=stopping)
    resumed, _, again = trained(recipe, gpt2, tmp_path / "resumed", checkpoints=kept)
    assert np.array_equal(
        straight.predicted["test"].probabilities, resumed.predicted["test"].probabilities
    )
    assert all(torch.equal(weights[name], again[name]) for name in weights)


def test_decay_of_everything_to_the_initial_weights_leaves_one_step(
    gpt2: ModelSource, tmp_path: Path
) -> None:
    """lr x decay = 1 sets the weights back before each step, and AdamW moves none by more than a
    few lr; towards zero it would wipe them out."""
    training = {"lr": 0.01, "weight_decay": 100.0, "schedule": "constant", "epochs": 2}
    before = load_file(Path(gpt2.location) / "model.safetensors")
    apart = {}
    for to in ("initial", "zero"):
        recipe = recipe_of({**training, "weight_decay_to": to})
        _, _, weights = trained(recipe, gpt2, tmp_path / to)
        apart[to] = max(float((weights[n] - before[n]).abs().max()) for n in weights)
    assert apart["initial"] < 0.04
    assert apart["zero"] > 0.5


def test_without_weight_decay_its_target_changes_nothing(gpt2: ModelSource, tmp_path: Path) -> None:
    one, other = (
        trained(recipe_of({"weight_decay_to": to}), gpt2, tmp_path / to)[2]
        for to in ("zero", "initial")
    )
    assert all(torch.equal(one[name], other[name]) for name in one)


SWEEP = """
name: s
task: {{name: creak, train: 100, validation: 20, test: 20}}
models: [a, b]
execution: {{engine: deepspeed}}
methods:
  m: {{{method}}}
"""


@pytest.mark.parametrize(
    "method",
    [
        "training: {tuning: {kind: lp_ft}}",
        "training: {weight_decay_to: initial}",
        "search: {training.tuning: {one_of: [{kind: full}, {kind: lp_ft}]}}",
        "search: {training.weight_decay_to: {choice: [zero, initial]}}",
    ],
)
def test_what_deepspeed_cannot_do_is_refused_with_the_sweep_file(method: str) -> None:
    with pytest.raises(
        ValueError, match=r"which the DeepSpeed engine doesn't support; set execution.engine: torch"
    ):
        parse_sweep(SWEEP.format(method=method))
    parse_sweep(SWEEP.format(method=method).replace("deepspeed", "torch"))
