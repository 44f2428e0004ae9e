"""The digits' sweep as a user runs it, with its generated feature file."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support import w2s
from w2s_ray.report import open_results
from w2s_ray.report.figures import figures_of

ROOT = Path(__file__).parents[2]


@pytest.mark.ray
def test_the_digits_sweep_runs_to_its_table(tmp_path):
    made = [sys.executable, "benchmarks/digit_features.py", "--out", str(tmp_path / "features")]
    subprocess.run(made, check=True, cwd=ROOT, capture_output=True)
    text = (ROOT / "sweeps" / "vision_digits.yaml").read_text()
    for old, new in (
        ("{name: features/", f"{{name: {tmp_path}/features/"),
        ("seeds: [0, 1, 2]", "seeds: [0]"),
        ("pairs: weaker_to_stronger", "pairs: [[blocks-4, kmeans]]"),
    ):
        assert old in text
        text = text.replace(old, new)
    sweep = tmp_path / "sweep.yaml"
    sweep.write_text(text)
    run = w2s("run", sweep, "--store", tmp_path / "results")
    assert run.returncode == 0, run.stdout + run.stderr
    table = w2s("table", sweep, "--store", tmp_path / "results", "--format", "json")
    (row,) = json.loads(table.stdout)["rows"]
    assert row["weak_accuracy"] < row["student_accuracy"] < row["ceiling_accuracy"]
    assert 0 < row["pgr"] < 1
    results = open_results(tmp_path / "results")
    scores = results.scores("vision-digits").set_index("run_id")
    runs = results.runs().set_index("id")
    assert (scores["accuracy"] - runs.loc[scores.index, "test_accuracy"]).abs().max() < 1e-9
    student = scores[scores["supervisor"].notna()].iloc[0]
    assert student["agreement_where_right"] > student["agreement_where_wrong"]
    assert "agreement" in figures_of(results, "vision-digits")
