"""The reference's SciQ grid: it is planned unchanged, and runs with local folders for hub names."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.support import WORDS, make_model, w2s
from w2s_ray.config import load_sweep

REFERENCE = Path(__file__).parents[2] / "sweeps" / "reference_sciq.yaml"


def test_the_sweep_has_the_settings_of_the_reference():
    sweep = load_sweep(REFERENCE)
    assert [model.label for model in sweep.models] == [
        "gpt2",
        "gpt2-medium",
        "gpt2-large",
        "gpt2-xl",
    ]
    rates = [sweep.ground_truth_settings(model).training.lr for model in sweep.models]
    assert rates == [5e-5, 5e-5, 1e-5, 1e-5]
    assert (sweep.training.batch_size, sweep.training.epochs) == (32, 2)
    assert {m.loss.kind for m in sweep.methods.values()} == {
        "xent",
        "confidence_reference",
        "product",
    }
    assert len(sweep.cells()) == 10


def test_the_reference_sweep_is_planned_without_a_network(tmp_path, monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hub"))
    monkeypatch.setenv("W2S_CACHE", str(tmp_path / "cache"))
    shown = w2s("plan", REFERENCE, "--store", tmp_path / "results")
    assert shown.returncode == 0, shown.stderr
    assert "= 30 cells" in shown.stdout
    assert "not on this machine" in shown.stdout
    refused = w2s("run", REFERENCE, "--store", tmp_path / "results")
    assert refused.returncode == 2
    assert refused.stderr.splitlines()[-1].startswith("error: ")
    assert not (tmp_path / "results" / "runs").exists()


def questions(count: int, start: int) -> str:
    rows = [
        {
            "question": f"{WORDS[i % 60]} {WORDS[(i * 7 + start) % 60]} {WORDS[i // 60]}",
            "support": "",
            "correct_answer": WORDS[i % 20],
            **{f"distractor{k}": WORDS[20 + (i + k) % 40] for k in (1, 2, 3)},
        }
        for i in range(start, start + count)
    ]
    return json.dumps(rows)


@pytest.mark.ray
def test_the_reference_sweep_runs_with_local_folders(tmp_path):
    data = tmp_path / "sciq"
    data.mkdir()
    for name, count, start in (("train", 80, 0), ("valid", 20, 80), ("test", 30, 100)):
        (data / f"{name}.json").write_text(questions(count, start))
    text = REFERENCE.read_text()
    for i, name in enumerate(("gpt2-medium", "gpt2-large", "gpt2-xl", "gpt2")):
        folder = make_model(tmp_path / name, width=8 * (i + 1), seed=i)
        text = text.replace(f"openai-community/{name}", str(folder))
    text = text.replace("name: sciq", f"name: sciq\n  path: {data}")
    for old, new in (
        ("train: 20000", "train: 64"),
        ("validation: 1000", "validation: 16"),
        ("test: 2000", "test: 32"),
    ):
        assert old in text
        text = text.replace(old, new)
    text = text.replace("engine: deepspeed", "engine: torch").replace("workers: 2", "workers: 1")
    sweep = tmp_path / "sweep.yaml"
    sweep.write_text(text)
    run = w2s("run", sweep, "--store", tmp_path / "results")
    assert run.returncode == 0, run.stdout + run.stderr
    table = w2s("table", sweep, "--store", tmp_path / "results", "--format", "json")
    rows = json.loads(table.stdout)["rows"]
    assert len(rows) == 30
    assert all(row["student_accuracy"] is not None for row in rows)
