"""Inputs that are not on this machine: what `w2s plan` and `w2s run` print."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from tests.hub_server import HubServer, Repository, hub_server, use_hub
from w2s_ray.cli.app import app
from w2s_ray.data import hub, inputs, models

CARD = {"config.json": b'{"model_type": "gpt2"}'}
PICKLED = {**CARD, "pytorch_model.bin": b""}
SAFE = {**CARD, "model.safetensors": b""}


@pytest.fixture
def server(monkeypatch, tmp_path):
    monkeypatch.setenv("W2S_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.chdir(tmp_path)
    fresh = hub.Lookups()
    for module in (inputs, models):
        monkeypatch.setattr(module, "LOOKUPS", fresh)
    with hub_server() as running:
        use_hub(monkeypatch, running.url, tmp_path / "datasets")
        yield running


def sweep(*names: str, task: str = "name: embedded") -> None:
    Path("s.yaml").write_text(
        f"name: s\ntask: {{{task}, train: 40, validation: 10, test: 10}}\n"
        f"models: {json.dumps(['embedded:xs', *names])}\nmethods: {{naive: {{}}}}\n"
    )


def refused(command: str) -> str:
    """The line that a command prints; `run` prints its steps above it."""
    run = CliRunner().invoke(app, [command, "s.yaml"])
    assert run.exit_code == 2, run.output
    assert "Traceback" not in run.output
    *steps, line = run.stderr.splitlines()
    assert bool(steps) == (command == "run"), run.output
    assert line.startswith("error: ")
    return line


REFUSED = {
    "a pickle": ("org/pickled", {}, "has no model.safetensors on the Hugging Face hub, only"),
    "a gate": ("org/gated", {}, "models.gated: model 'org/gated' is gated and this machine has no"),
    "another's token": ("org/gated", {"HF_TOKEN": "hf_x"}, "then log in with `hf auth login`"),
    "a wrong name": ("org/nothing", {}, "no model 'org/nothing' on the Hugging Face hub"),
}


@pytest.mark.parametrize(("name", "environment", "line"), REFUSED.values(), ids=REFUSED)
def test_a_model_that_cant_be_used_is_refused_when_it_is_planned(
    server: HubServer, monkeypatch, name, environment, line
):
    server.models["org/pickled"] = Repository.of(PICKLED)
    server.models["org/gated"] = Repository.of(SAFE, gated="manual")
    for variable, value in environment.items():
        monkeypatch.setenv(variable, value)
    sweep(name)
    assert line in refused("plan")


def test_all_that_is_not_on_this_machine_is_one_line_of_the_plan(server: HubServer):
    server.status = 503
    sweep("org/a", "org/b", task="name: sciq")
    run = CliRunner().invoke(app, ["plan", "s.yaml"])
    assert run.exit_code == 0, run.output
    lines = [line for line in run.output.splitlines() if "can't be reached" in line]
    assert len(lines) == 1
    assert "task sciq and models a, b (the Hugging Face hub can't be reached" in lines[0]
    assert len(server.requests) == 1
    assert "not on this machine: task sciq and models a, b: the Hugging" in refused("run")


def test_missing_files_are_in_the_plan_and_refused_by_a_run(server: HubServer):
    Path("s.yaml").write_text(
        "name: s\ntask: {name: mine, path: d.csv, columns: {category: c, image: i}, train: 40,"
        " validation: 10, test: 10}\nmodels: [a.npz, b.npz]\nmethods: {naive: {}}\n"
    )
    run = CliRunner().invoke(app, ["plan", "s.yaml"])
    assert run.exit_code == 0, run.output
    missing = [line for line in run.output.splitlines() if "not on this machine" in line]
    assert len(missing) == 1
    for part in ("task mine (no such file or folder: d.csv", "a.npz (no feature file at "):
        assert part in missing[0]
    ended = CliRunner().invoke(app, ["run", "s.yaml"])
    assert ended.exit_code == 2
    assert "not on this machine: task mine: no such file or folder: d.csv" in ended.stderr
    assert not server.requests
