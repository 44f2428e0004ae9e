"""A probe on precomputed activations gives the numbers of one that reads its backbone each step."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from tests.learn.test_forms import pair_data
from tests.learn.tiny import Recorder, category_data, data_of, recipe_of, source_of
from tests.support import make_model
from w2s_ray.config import (
    ConfidenceLoss,
    EarlyStopping,
    Execution,
    FitRecipe,
    ModelSource,
    ProbeTuning,
)
from w2s_ray.learn.activations import activations
from w2s_ray.learn.checkpoints import FolderCheckpoints
from w2s_ray.learn.contract import FitResult
from w2s_ray.learn.forms.classes import ClassData
from w2s_ray.learn.loop import fit
from w2s_ray.learn.probe_engine import ProbeEngine
from w2s_ray.learn.rows import ActivationRows
from w2s_ray.learn.torch_engine import TorchEngine

CPU = Execution(gpus_per_worker=0)
TRAINING: dict[str, Any] = {"tuning": ProbeTuning(), "lr": 0.05, "epochs": 4}


def probe_data(
    data: ClassData, source: ModelSource, recipe: FitRecipe, execution: Execution
) -> ClassData:
    """`data` with activations in place of tokens."""
    parts: dict[str, Any] = {"train": data.train, "validation": data.validation, **data.predict}
    found = activations(
        parts, source=source, training=recipe.training, execution=execution, form=recipe.form
    )
    rows = {
        part: ActivationRows(each.values_ND, parts[part].lengths, each.parameters)
        for part, each in found
    }
    return replace(
        data,
        train=rows["train"],
        validation=rows["validation"],
        predict={part: rows[part] for part in data.predict},
    )


def both(
    recipe: FitRecipe, data: ClassData, source: ModelSource, execution: Execution, **more: Any
) -> tuple[tuple[FitResult, Recorder], tuple[FitResult, Recorder]]:
    """The fit on tokens, and the fit on activations."""
    found = []
    probed = probe_data(data, source, recipe, execution)
    for rows, engine in ((data, TorchEngine), (probed, partial(ProbeEngine, rows=probed.train))):
        seen = Recorder()
        given = {"source": source, "execution": execution, "observer": seen, **more}
        found.append((fit(recipe, data=rows, engine=engine, **given), seen))
    return found[0], found[1]


@pytest.mark.parametrize("kind", ["gpt2", "bert", "pairs", "categories"])
@pytest.mark.parametrize(
    ("fields", "execution"),
    [
        ({}, CPU),
        ({"early_stopping": EarlyStopping(patience=2, metric="loss")}, CPU),
        (
            {"loss": ConfidenceLoss()},
            Execution(gpus_per_worker=0, micro_batch=3, evaluation_batch=5),
        ),
    ],
    ids=["plain", "stopping", "confidence in micro-batches"],
)
def test_activations_give_the_numbers_of_tokens(
    kind: str,
    fields: Mapping[str, Any],
    execution: Execution,
    request: pytest.FixtureRequest,
    tmp_path: Path,
) -> None:
    form = kind if kind in ("pairs", "categories") else "classes"
    recipe = recipe_of(TRAINING, **fields, form=form)
    if kind == "pairs":
        source, data = source_of(make_model(tmp_path / "lm", layers=2), "lm"), pair_data()
    elif kind == "categories":
        source, data = request.getfixturevalue("gpt2"), category_data()
    else:
        source, data = request.getfixturevalue(kind), data_of()
    (tokens, seen), (probed, seen_probed) = both(recipe, data, source, execution)
    assert seen_probed.losses == pytest.approx(seen.losses, rel=1e-5, abs=1e-6)
    assert min(seen_probed.losses) < 0.9 * seen_probed.losses[0]
    for part, found in tokens.predicted.items():
        np.testing.assert_allclose(
            probed.predicted[part].probabilities, found.probabilities, atol=2e-6
        )
        assert probed.predicted[part].answers == found.answers
    figures = ("steps", "total_steps", "best_step", "stopped_early", "parameters", "tokens")
    figures = (*figures, "trained_parameters", "planned_tokens", "evaluated_tokens")
    assert [getattr(probed, f) for f in figures] == [getattr(tokens, f) for f in figures]


def test_bf16_activations_are_those_of_bf16_steps(gpt2: ModelSource) -> None:
    recipe = recipe_of({**TRAINING, "precision": "bf16"})
    (_, seen), (_, seen_probed) = both(recipe, data_of(), gpt2, CPU)
    assert seen_probed.losses == pytest.approx(seen.losses, abs=2e-3)


def test_no_dropout_is_in_activations(gpt2: ModelSource) -> None:
    """The model has dropout of 0.1; two passes are equal."""
    parts = {"train": data_of().train}
    one, other = (
        dict(activations(parts, source=gpt2, training=recipe_of(TRAINING).training, execution=CPU))
        for _ in range(2)
    )
    assert np.array_equal(one["train"].values_ND, other["train"].values_ND)


def test_weights_that_are_kept_are_the_whole_models(gpt2: ModelSource, tmp_path: Path) -> None:
    execution = Execution(gpus_per_worker=0, keep="last")
    recipe, data = recipe_of(TRAINING), data_of()
    fit_on = {"source": gpt2, "execution": execution}
    fit(recipe, data=data, observer=Recorder(), weights=tmp_path / "tokens", **fit_on)
    probed = probe_data(data, gpt2, recipe, execution)
    engine = partial(ProbeEngine, rows=probed.train)
    weights = tmp_path / "probed"
    fit(recipe, data=probed, observer=Recorder(), weights=weights, engine=engine, **fit_on)
    for name in ("model.safetensors", "head.safetensors"):
        wanted, found = load_file(tmp_path / "tokens" / name), load_file(weights / name)
        assert wanted.keys() == found.keys()
        for tensor, value in wanted.items():
            torch.testing.assert_close(found[tensor], value, rtol=1e-5, atol=1e-5)
    assert (tmp_path / "tokens/config.json").read_text() == (weights / "config.json").read_text()


def test_kill_and_resume_gives_the_same_bits(gpt2: ModelSource, tmp_path: Path) -> None:
    recipe = recipe_of(TRAINING, early_stopping=EarlyStopping(patience=3))
    data = probe_data(data_of(), gpt2, recipe, CPU)
    given = {"data": data, "source": gpt2, "execution": CPU}
    given["engine"] = partial(ProbeEngine, rows=data.train)
    straight = fit(recipe, observer=Recorder(), **given)
    kept = FolderCheckpoints(tmp_path, every_s=0)
    with pytest.raises(KeyboardInterrupt):
        fit(recipe, observer=Recorder(stop_after=9), checkpoints=kept, **given)
    resumed = fit(recipe, observer=Recorder(), checkpoints=kept, **given)
    assert np.array_equal(
        straight.predicted["test"].probabilities, resumed.predicted["test"].probabilities
    )
