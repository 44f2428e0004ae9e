"""`w2s plan` names the rows whose own ground truth, or that of the same student, is searched."""

from __future__ import annotations

import json

import pytest
from typer.testing import CliRunner

from tests.store.builders import a_record
from w2s_ray.cli import app
from w2s_ray.config import parse_sweep
from w2s_ray.prepare import plan_sweep
from w2s_ray.store import Store

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


@pytest.mark.parametrize(
    ("sealed", "share", "said"), [(False, 0.0, 1), (False, 0.3, 0), (True, 0.0, 0)]
)
def test_the_plan_says_which_finished_fits_predict_one_class(
    tmp_path, monkeypatch, sealed, share, said
):
    monkeypatch.chdir(tmp_path)
    text = (
        SWEEP.split("methods:", maxsplit=1)[0] + "methods: {naive: {}}\n" + "seal: true\n" * sealed
    )
    (tmp_path / "s.yaml").write_text(text)
    sweep = parse_sweep(text)
    store = Store.open(tmp_path / sweep.store)
    fit = next(iter(plan_sweep(sweep, store=store).fits.values()))
    summary = {"test_accuracy": 0.5, "test_class_1": share}
    recipe = fit.recipe.model_dump(mode="json")
    store.write_run(a_record(id=fit.id, recipe=recipe, summary=summary))
    result = CliRunner().invoke(app, ["plan", "s.yaml"])
    assert result.exit_code == 0, result.output
    line = f"{fit.description}: predicts one class on all test rows"
    assert result.output.splitlines().count(line) == said
