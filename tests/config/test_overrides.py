"""Overrides change the values of a sweep file, and the store's text of it has them."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from typer.testing import CliRunner

from w2s_ray.cli import app
from w2s_ray.config import Sweep, load_sweep, parse_sweep, read_sweep
from w2s_ray.execute import driver

FILE = """\
# A comment.
name: t
task: {name: sciq, train: 80, validation: 20, test: 40}
models:
  - &base {name: a, training: {epochs: 3}}
  - {<<: *base, name: b, label: b.1}
  - c
  - {ladder: pythia, from: 14m, to: 31m}
methods:
  naive: {}
  v1.5: {loss: {kind: confidence, alpha: 0.5}, stages: [{kind: temperature, by: 2.0}]}
  searched: {search: {training.lr: {choice: [1.0e-3]}}}
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "t.yaml"
    path.write_text(FILE)
    return path


def value_at(sweep: Sweep, path: str) -> Any:
    value: Any = sweep
    for key in path.split("/"):
        if isinstance(value, tuple | dict):
            value = value[int(key) if isinstance(value, tuple) else key]
        else:
            value = getattr(value, key)
    return value


CHANGES = {
    "training.lr=1e-3": ("training/lr", 1e-3),
    "seeds=[0, 1, 2,3]": ("seeds", (0, 1, 2, 3)),
    "task.train=100": ("tasks/0/train", 100),
    "task.difficulty=[1, null]": ("tasks/0/difficulty/test", (1.0, None)),
    "early_stopping.patience=1": ("early_stopping/patience", 1),
    "models.a.training.lr=1": ("models/0/training", {"epochs": 3, "lr": 1}),
    "models.b.1.training.epochs=5": ("models/1/training", {"epochs": 5}),
    "models.c.training.lr=1": ("models/2/training", {"lr": 1}),
    "models.2={name: d}": ("models/2/label", "d"),
    "models.pythia.training.epochs=4": ("models/4/training", {"lr": 5e-5, "epochs": 4}),
    "methods.naive.training.epochs=4": ("methods/naive/training", {"epochs": 4}),
    "methods.new={loss: {kind: kl}}": ("methods/new/loss/kind", "kl"),
    "methods.v1.5.loss.alpha=0.25": ("methods/v1.5/loss/alpha", 0.25),
    "methods.v1.5.loss={kind: xent}": ("methods/v1.5/loss/kind", "xent"),
    "methods.v1.5.stages.temperature.by=3": ("methods/v1.5/stages/0/by", 3),
    "methods.searched.search.training.lr.choice=[1, 2]": (
        "methods/searched/search/training.lr/choice",
        (1, 2),
    ),
    "methods.naive.search.training.epochs={integer: [1, 2]}": (
        "methods/naive/search/training.epochs/integer",
        (1, 2),
    ),
    "trackers=[tensorboard]": ("trackers/tensorboard/folder", "tensorboard"),
    "store=s3://bucket/a=b": ("store", "s3://bucket/a=b"),
    "store='on'": ("store", "on"),
}


@pytest.mark.parametrize(("given", "changed"), CHANGES.items(), ids=CHANGES)
def test_an_override_changes_its_value_alone(file, given, changed):
    path, value = changed
    sweep, before = load_sweep(file, overrides=[given]), load_sweep(file)
    assert value_at(sweep, path) == value
    section = path.split("/")[0]
    assert getattr(sweep, section) != getattr(before, section)
    assert sweep.model_copy(update={section: getattr(before, section)}) == before


def test_an_override_leaves_other_uses_of_an_anchor(file):
    sweep = load_sweep(file, overrides=["models.a.training.epochs=9"])
    assert [model.training.get("epochs") for model in sweep.models[:2]] == [9, 3]


def test_a_shared_search_can_be_added(file):
    given = ["search.for=all", "search.shared.early_stopping.patience={choice: [1]}"]
    sweep = load_sweep(file, overrides=[*given, "early_stopping={}"])
    assert sweep.methods["naive"].search["early_stopping.patience"].examples() == (1,)


def test_later_overrides_go_into_earlier_ones(file):
    given = ["methods.new={loss: {kind: confidence}}", "methods.new.loss.alpha=0.125"]
    assert load_sweep(file, overrides=given).methods["new"].loss.alpha == 0.125


def test_the_text_is_a_sweep_file_with_the_values_and_names_the_overrides(file):
    given = ["models.c.revision='1e-5'", "store='on'", "seeds=[3]"]
    source = read_sweep(file, overrides=given)
    assert source.sweep.models[2].revision == "1e-5"
    assert parse_sweep(source.text) == source.sweep
    assert source.text.splitlines()[:4] == [
        "# t.yaml with these overrides:",
        *(f"#   {override}" for override in given),
    ]
    assert read_sweep(file).text == FILE


def test_run_gives_the_store_the_text_with_the_overrides(file, monkeypatch, tmp_path):
    given: dict[str, Any] = {}

    def run_sweep(sweep: Sweep, **options: Any) -> SimpleNamespace:
        given.update(options, sweep=sweep)
        return SimpleNamespace(
            spent=None, stopped="a test", done=0, plan=SimpleNamespace(fits=(), studies=())
        )

    monkeypatch.setattr(driver, "run_sweep", run_sweep)
    arguments = ["run", str(file), "--store", str(tmp_path / "r"), "seeds=[5]", "name=other"]
    run = CliRunner().invoke(app, arguments)
    assert run.exit_code == 130, run.output
    assert (given["sweep"].seeds, given["sweep"].name) == ((5,), "other")
    assert parse_sweep(given["sweep_text"]) == given["sweep"]
    assert "#   seeds=[5]\n#   name=other\n" in given["sweep_text"]
