"""`w2s plan` and `w2s run` warn about overrides that change no run."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner

from w2s_ray.cli import app

SWEEP = """\
name: s
task: {name: embedded, train: 80, validation: 20, test: 40}
models:
  - {name: "embedded:xs", label: xs, training: {lr: 1.0e-3}, execution: {cpus_per_worker: 1}}
  - {name: "embedded:s", label: s, training: {lr: 1.0e-3}, execution: {cpus_per_worker: 1}}
methods:
  naive: {}
  slow: {training: {lr: 1.0e-4, epochs: 3}}
"""
SEARCHED = [
    "methods={naive: {search: {training.weight_decay: {choice: [0.0, 0.01]}}}}",
    "ground_truth.search={training.weight_decay: {choice: [0.0, 0.01]}}",
    "search.trials=2",
    "search.seed=9",
    "search.scheduler=none",
]
OWN = "models, methods or searches have values of their own; override"


@pytest.mark.parametrize(
    ("overrides", "warned"),
    [
        (["training.lr=0.1"], {"training.lr=0.1": f"{OWN} models.NAME.training or methods."}),
        (["training.epochs=1"], {}),
        ([*SEARCHED, "training.weight_decay=0.1"], {"training.weight_decay=0.1": OWN}),
        ([*SEARCHED, "training.epochs=1"], {}),
        (["training.lr=1.0e-5"], {}),
        (["models.s.training.lr=0.1", "methods.slow.training.lr=0.1"], {}),
        (["execution.cpus_per_worker=2"], {"execution.cpus_per_worker=2": "models.NAME.execution"}),
        (["search.trials=3", "seeds=[1]"], {"search.trials=3": "it sets what nothing uses"}),
        (["name=t", "limits.studies_at_once=2", "store=other"], {}),
        (["task.train=60"], {}),
    ],
)
def test_an_override_that_changes_no_run_is_named(overrides, warned, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("W2S_CACHE", str(tmp_path / "cache"))
    Path("s.yaml").write_text(SWEEP)
    run = CliRunner().invoke(app, ["plan", "s.yaml", *overrides])
    assert run.exit_code == 0, run.output
    lines = [line for line in run.stdout.splitlines() if line.startswith("warning: the override")]
    assert len(lines) == len(warned)
    for line, (text, why) in zip(lines, warned.items(), strict=True):
        assert line.startswith(f"warning: the override {text} changes no run of this sweep: ")
        assert why in line
