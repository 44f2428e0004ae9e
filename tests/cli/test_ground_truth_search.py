"""A sweep whose supervisors, ceilings and students are all searched, on Ray, to its table."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.support import w2s
from w2s_ray.store import Record, Store

pytestmark = pytest.mark.ray

SWEEP = """
name: tuned
task: {{name: embedded, train: 200, validation: 60, test: 100}}
models:
  - {{name: "embedded:xs", label: xs}}
  - {{name: "embedded:s", label: s}}
training: {{batch_size: 32, epochs: 1, max_tokens: 32, evaluations_per_epoch: 2}}
methods:
  naive: {{training: {{lr: 2.0e-3}}}}
  found: {{search: {{training.lr: {{loguniform: [1.0e-3, 1.0e-1]}}}}}}
search: {{trials: 2, objective: weak_validation, concurrent_trials: 2}}
ground_truth: {{trials: 3, search: {{training.lr: {{loguniform: [1.0e-3, 1.0e-1]}}}}}}
store: {folder}/results
"""


def shown(*arguments: str | Path) -> str:
    run = w2s(*arguments)
    assert run.returncode == 0, run.stdout + run.stderr
    return run.stdout


def lr(record: Record) -> float:
    return record.recipe["training"]["lr"]


def test_tuned_supervisors_and_ceilings_label_and_bound_their_students(tmp_path: Path):
    sweep = tmp_path / "sweep.yaml"
    sweep.write_text(SWEEP.format(folder=tmp_path))
    before = shown("plan", sweep)
    assert "supervisor xs on embedded: 3 trials, tpe" in before
    assert "a study of found on embedded (xs → s): 2 trials" in before
    run = w2s("run", sweep)
    assert run.returncode == 0, run.stdout + run.stderr
    assert "12 fits trained" in run.stderr  # 3 + 3 + 2 trials, supervisor, ceiling, two students

    store = Store.open(tmp_path / "results")
    for cell in store.manifests.latest("tuned").cells:
        supervisor, ceiling, student = (store.record(run) for run in cell.runs)
        for fit, id_ in ((supervisor, cell.supervisor_study), (ceiling, cell.ceiling_study)):
            study = store.record(id_ or "")
            trials = store.trials(study.id)
            assert len(trials) == study.summary["complete"] == 3
            assert study.summary["value"] == max(trial["value"] for trial in trials)
            assert lr(fit) == study.about["settings"]["training.lr"]
            assert study.about["roles"] == fit.about["roles"]
        assert student.labelled_by == (supervisor.id,)
        assert (lr(student) == 2e-3) is (cell.method == "naive")
    rows = json.loads(shown("table", sweep, "--format", "json"))["rows"]
    assert [(row["method"], row["objective"], row["seeds"]) for row in rows] == [
        ("naive", "none", 1),
        ("found", "weak_validation", 1),
    ]
    assert "trial supervisor" in shown("cost", sweep)
    status = json.loads(shown("status", sweep, "--format", "json"))
    assert (status["state"], status["done"], status["total"]) == ("complete", 7, 7)

    (tmp_path / "results" / "runs" / (cell.ceiling_study or "") / "record.json").unlink()
    resumed = w2s("run", sweep)
    assert resumed.returncode == 0, resumed.stdout + resumed.stderr
    assert "0 fits trained" in resumed.stderr
    assert json.loads(shown("table", sweep, "--format", "json"))["rows"] == rows
