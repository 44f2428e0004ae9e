"""`w2s plan` names the rows whose own ground truth, or that of the same student, is searched."""

from __future__ import annotations

import json

import pytest
from typer.testing import CliRunner

from w2s_ray.cli import app

SWEEP = """\
name: marks
task: {name: embedded, train: 200, validation: 20, test: 20}
models:
  - {name: "embedded:xs", label: xs}
  - {name: "embedded:s", label: s}
  - {name: "embedded:m", label: m}
methods:
  naive: {}
  confidence: {loss: {kind: confidence}, search: {loss.alpha: {uniform: [0, 1]}}}
search: {trials: 2}
"""
OWN = "in the table, because it "
SAME = "the search trains the same student on the same task"


@pytest.mark.parametrize(
    ("search", "lines"),
    [
        ("trials: 2", [f"(xs → s): {OWN}is the first of pairs, and search.on is left out"]),
        (
            "trials: 2, on: [[xs, m]]",
            [f"(xs → m): {OWN}is in search.on and in pairs", f"(s → m): {SAME}"],
        ),
        ("trials: 2, objective: weak_validation", []),
    ],
)
def test_the_plan_says_why_a_searched_pair_is_in_the_table(tmp_path, monkeypatch, search, lines):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "s.yaml").write_text(SWEEP.replace("trials: 2", search))
    result = CliRunner().invoke(app, ["plan", "s.yaml"])
    assert result.exit_code == 0, result.output
    assert sum(OWN in line or SAME in line for line in result.output.splitlines()) == len(lines)
    assert all(line in result.output for line in lines)


@pytest.mark.parametrize(
    ("seeds", "warned"), [("[0]", True), ("[0, 1]", True), ("[0, 1, 2]", False)]
)
def test_the_plan_warns_below_three_seeds(tmp_path, monkeypatch, seeds, warned):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "s.yaml").write_text(SWEEP)
    plan = CliRunner().invoke(app, ["plan", "s.yaml", f"seeds={seeds}", "--format", "json"])
    assert plan.exit_code == 0, plan.output
    found = [line for line in json.loads(plan.output)["warnings"] if "seed" in line]
    assert bool(found) == warned
    shown = CliRunner().invoke(app, ["plan", "s.yaml", f"seeds={seeds}"]).output
    assert all(line in shown for line in found)
