"""One sweep on Ray with the features of no other test: objectives, LoRA, weights, two tasks."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support import make_task, sweep_text
from w2s_ray.store import Store

pytestmark = pytest.mark.ray

VARIANTS = """
name: variants
tasks:
  - {{name: words, path: {folder}/task.csv, columns: {{text: text, label: label}},
     train: 64, validation: 32, test: 32}}
  - {{name: others, path: {folder}/others.csv, columns: {{text: text, label: label}},
     train: 64, validation: 32, test: 32}}
models: [{folder}/a, {{name: {folder}/b, training: {{tuning: {{kind: lora, rank: 2}}}}}}]
pairs: weaker_or_same
ceiling_on: supervisor_half
training: {{batch_size: 16, epochs: 1, lr: 3.0e-3, max_tokens: 32, evaluations_per_epoch: 2}}
methods:
  stopped_by_truth: {{early_stopping: {{patience: 1, oracle: true}}}}
  product: {{loss: {{kind: product}}}}
  reference:
    loss: {{kind: confidence_reference}}
    stages: [{{kind: iterate}}]
    search: {{loss.alpha: {{choice: [0.1, 0.9]}}}}
search: {{trials: 4, objective: {objective}, sampler: grid, metric: log_loss}}
execution: {{keep: best, micro_batch: 5}}
store: {folder}/results
"""


@pytest.mark.parametrize(
    "objective", ["weak_validation", pytest.param("oracle", marks=pytest.mark.chaos)]
)
def test_every_variant_runs_to_its_row(tmp_path: Path, objective: str):
    sweep_text(tmp_path)
    make_task(tmp_path / "others.csv", seed=1)
    sweep = tmp_path / "sweep.yaml"
    sweep.write_text(VARIANTS.format(folder=tmp_path, objective=objective))
    run = subprocess.run(
        [sys.executable, "-m", "w2s_ray", "run", str(sweep)],
        capture_output=True,
        text=True,
        check=False,
        timeout=550,
    )
    assert run.returncode == 0, run.stdout + run.stderr
    shown = subprocess.run(
        [sys.executable, "-m", "w2s_ray", "table", str(sweep), "--format", "json"],
        capture_output=True,
        text=True,
        check=True,
    )
    rows = json.loads(shown.stdout)["rows"]
    assert len(rows) == 2 * 3 * 3
    assert all(row["student_accuracy"] is not None for row in rows)
    objectives = {row["method"]: row["objective"] for row in rows}
    assert objectives == {
        "stopped_by_truth": "oracle",
        "product": "none",
        "reference": objective,
    }
    store = Store.open(tmp_path / "results")
    studies = [record for record in store.records() if record.kind == "study"]
    assert len(studies) == 2 * 3
    assert {len(store.trials(study.id)) for study in studies} == {2}
    chains = [trial["fits"] for study in studies for trial in store.trials(study.id)]
    assert {len(set(fits)) for fits in chains} == {2}
    assert all(store.record(last).labelled_by == (first,) for first, last in chains)
    fits = [record for record in store.records() if record.kind == "fit"]
    for record in fits:
        weights = store.weights(record.id)
        assert weights is not None
        assert list(Path(weights).glob("*.safetensors"))
    adapted = [r for r in fits if r.recipe["training"]["tuning"]["kind"] == "lora"]
    assert adapted
    assert all(r.summary["trained_parameters"] < r.summary["parameters"] / 2 for r in adapted)
