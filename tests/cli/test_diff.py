"""`w2s diff`: the keys in which sweeps differ, and the fits that they share."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from tests.store.builders import a_record
from w2s_ray.cli import app
from w2s_ray.config import read_sweep
from w2s_ray.config.sweep_diff import MISSING, sweep_differences
from w2s_ray.prepare import plan_sweep, write_manifest
from w2s_ray.store import Store

SWEEP = """\
name: s
task: {name: embedded, train: 80, validation: 20, test: 40}
models:
  - {name: "embedded:xs", label: xs}
  - {name: "embedded:s", label: s}
  - {name: "embedded:m", label: m}
pairs: [[xs, s], [s, m]]
seeds: [0, 1]
methods:
  naive: {}
  confidence:
    loss: {kind: confidence, alpha: 0.5}
    search: {loss.alpha: {uniform: [0.0, 0.9]}}
search: {trials: 4, seed: 9}
"""


@pytest.fixture(autouse=True)
def _file(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("W2S_CACHE", str(tmp_path / "cache"))
    Path("a.yaml").write_text(SWEEP)


def diff(*arguments: str) -> dict[str, Any]:
    run = CliRunner().invoke(app, ["diff", *arguments, "--format", "json"])
    assert run.exit_code == 0, run.output
    return json.loads(run.stdout)


def changed(*changes: tuple[str, str]) -> str:
    text = SWEEP
    for old, new in changes:
        assert old in text
        text = text.replace(old, new)
    Path("b.yaml").write_text(text)
    return "b.yaml"


def test_equal_sweeps_share_everything():
    Path("b.yaml").write_text(f"# another comment\n{SWEEP}seal: false\n")
    found = diff("a.yaml", "b.yaml")
    assert found["keys"] == {}
    assert found["fits"] == {
        "fits": {"both": 12, "only_first": 0, "only_second": 0},
        "fits of trials": {"both": 4, "only_first": 0, "only_second": 0},
        "fits after a study": {"both": 4, "only_first": 0, "only_second": 0},
    }


def test_keys_are_named_as_in_overrides_and_defaults_count():
    path = changed(
        ("seeds: [0, 1]", "seeds: [0, 1, 2]\ntraining: {lr: 2.0e-5}"),
        ("label: m}", "label: m, training: {lr: 1.0e-4}}"),
        ("naive: {}", "naive: {}\n  kl: {loss: {kind: kl}}"),
        ("{uniform: [0.0, 0.9]}", "{choice: [0.5]}"),
    )
    keys = diff("a.yaml", path)["keys"]
    default = read_sweep("a.yaml").sweep.training.lr
    assert keys.pop("methods.kl").keys() == {"b"}
    assert keys == {
        "models.m.training.lr": {"b": 1e-4},
        "seeds": {"a": [0, 1], "b": [0, 1, 2]},
        "training.lr": {"a": default, "b": 2e-5},
        "methods.confidence.search.loss.alpha.uniform": {"a": [0.0, 0.9], "b": None},
        "methods.confidence.search.loss.alpha.choice": {"a": None, "b": [0.5]},
    }


def test_the_order_of_models_is_a_difference():
    first = read_sweep("a.yaml").sweep
    second = first.model_copy(update={"models": first.models[::-1]})
    (one,) = sweep_differences(first, second)
    assert (one.key, one.first, one.second) == (
        "models (order)",
        ["xs", "s", "m"],
        ["m", "s", "xs"],
    )
    fewer = first.model_copy(update={"models": first.models[:2]})
    assert [(d.key, d.second) for d in sweep_differences(first, fewer)] == [("models.m", MISSING)]


def test_fits_are_shared_by_id():
    fits = diff("a.yaml", "a.yaml", "seeds=[1,2]", "search.trials=5")["fits"]
    assert fits["fits"] == {"both": 6, "only_first": 6, "only_second": 6}
    assert fits["fits of trials"] == {"both": 0, "only_first": 4, "only_second": 5}
    other = diff("a.yaml", "a.yaml", "task.train=60")["fits"]["fits"]
    assert other == {"both": 0, "only_first": 12, "only_second": 12}


def test_execution_changes_no_fit():
    found = diff("a.yaml", "a.yaml", "execution.cpus_per_worker=2")
    assert list(found["keys"]) == ["execution.cpus_per_worker"]
    assert found["fits"]["fits"]["both"] == 12


@pytest.mark.parametrize("store", [[], ["--store", "other"]])
def test_one_file_is_compared_with_the_last_run(store):
    source = read_sweep("a.yaml", overrides=["seeds=[0]"])
    results = Store.open(store[1] if store else "results")
    write_manifest(plan_sweep(source.sweep, store=results), results, source.text)
    found = diff("a.yaml", *store)
    assert (found["a"], found["b"]) == ("s as it last ran", "a.yaml")
    assert found["keys"] == {"seeds": {"a": [0], "b": [0, 1]}}
    assert found["fits"]["fits"] == {"both": 6, "only_first": 0, "only_second": 6}
    assert diff("a.yaml", "seeds=[0]", *store)["keys"] == {}


def test_a_sweep_from_python_has_no_text_to_compare():
    source = read_sweep("a.yaml")
    results = Store.open("results")
    write_manifest(plan_sweep(source.sweep, store=results), results, "")
    run = CliRunner().invoke(app, ["diff", "a.yaml"])
    assert run.exit_code == 2
    assert "ran from Python, and has no file; give two files" in run.stderr


def test_keys_are_compared_where_a_sweep_cant_be_planned():
    path = changed(("name: embedded,", "name: mine, path: d.csv, columns: {text: t, label: l},"))
    Path("d.csv").write_text("t,l\na,0\n")
    found = diff("a.yaml", path)
    assert found["fits"] is None
    assert found["notes"][0].startswith("fits are not compared, since B can't be planned: ")
    assert "tasks.embedded" in found["keys"]
    Path("d.csv").unlink()
    found = diff("a.yaml", path)
    assert found["fits"]["fits"]["both"] == 0
    assert found["notes"][0].startswith("not on this machine, so that ids of runs are provisional")


def test_the_table_has_both_values_and_the_counts():
    run = CliRunner().invoke(app, ["diff", "a.yaml", "a.yaml", "seeds=[0]", "methods.kl={}"])
    assert run.exit_code == 0, run.output
    lines = [line.split() for line in run.stdout.splitlines()]
    assert lines[:2] == [["A:", "a.yaml"], ["B:", "a.yaml", "seeds=[0]", "methods.kl={}"]]
    assert ["seeds", "[0,", "1]", "[0]"] in lines
    assert ["methods.kl", "–", '{"loss":', '{"kind":', '"xent"}}'] in lines
    assert ["fits", "6", "6", "0"] in lines
    assert CliRunner().invoke(app, ["diff", "a.yaml", "a.yaml"]).stdout.count("no key differs") == 1


PLUGIN = """
import w2s_ray as w2s

@w2s.loss
def mine(logits_BC, labels_BC):
    return -(labels_BC * logits_BC.float().log_softmax(dim=1)).sum(dim=1)
"""
_OWN_METHOD = "naive: {}\n  own: {loss: {kind: mine}}"
OWN = "plugins: [mine.py]\n" + SWEEP.replace("naive: {}", _OWN_METHOD)


def test_two_sources_of_one_plugin_are_a_difference():
    for folder, text in (("a", PLUGIN), ("b", f"{PLUGIN}# edited\n")):
        Path(folder).mkdir()
        Path(folder, "mine.py").write_text(text)
        Path(folder, "s.yaml").write_text(OWN)
    keys = diff("a/s.yaml", "b/s.yaml")["keys"]
    assert list(keys) == ["plugins.mine.py", "methods.own.loss.source"]
    assert all(value.startswith("source ") for value in keys["plugins.mine.py"].values())
    assert diff("a/s.yaml", "a/s.yaml")["keys"] == {}
    assert diff("a.yaml", "a/s.yaml")["keys"]["plugins.mine.py"].keys() == {"b"}


def test_a_plugin_edited_since_the_run_is_a_difference():
    Path("mine.py").write_text(PLUGIN)
    Path("a.yaml").write_text(OWN)
    source, results = read_sweep("a.yaml"), Store.open("results")
    plan = plan_sweep(source.sweep, store=results)
    write_manifest(plan, results, source.text)
    assert diff("a.yaml")["keys"] == {}
    student = next(cell.student for cell in plan.cells if cell.method == "own")
    recipe = plan.fits[student].recipe.model_dump(mode="json")
    results.write_run(a_record(id=student, recipe=recipe))
    Path("mine.py").write_text(f"{PLUGIN}# edited\n")
    found = diff("a.yaml")
    assert list(found["keys"]) == ["plugins.mine.py"]
    assert found["keys"]["plugins.mine.py"]["a"] == f"source {recipe['loss']['source'][:8]}"
    assert found["notes"] == [
        "mine.py has changed since A ran; fits of A are counted with its source as it is now"
    ]
