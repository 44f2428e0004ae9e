"""The project's DeepSpeed sweep through the `w2s` command: Ray Train workers, ZeRO-3, a search."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from w2s_ray.config import load_sweep
from w2s_ray.store import Store

pytestmark = [pytest.mark.ray, pytest.mark.slow, pytest.mark.timeout(900), pytest.mark.path]

SWEEP = Path(__file__).parents[2] / "sweeps" / "deepspeed_cpu.yaml"


def test_a_sharded_search_runs_to_its_table_and_resumes_to_nothing(tmp_path):
    sweep, uri = load_sweep(SWEEP), tmp_path / "results"
    assert (sweep.execution.engine, sweep.execution.workers) == ("deepspeed", 2)
    assert sweep.execution.zero_stage == 3
    assert sweep.search.trials >= 6
    command = [sys.executable, "-m", "w2s_ray", "run", str(SWEEP), "--store", str(uri)]
    run = subprocess.run(command, capture_output=True, text=True, check=False, timeout=850)
    assert run.returncode == 0, run.stdout + run.stderr
    store = Store.open(uri)
    (study,) = [record for record in store.records() if record.kind == "study"]
    assert len(store.trials(study.id)) == sweep.search.trials
    fits = [record for record in store.records() if record.kind == "fit"]
    assert {record.execution["engine"] for record in fits} == {"deepspeed"}
    assert {record.execution["workers"] for record in fits} == {2}
    table = subprocess.run(
        [sys.executable, "-m", "w2s_ray", "table", "--store", str(uri), "--format", "json"],
        capture_output=True,
        text=True,
        check=True,
    )
    rows = json.loads(table.stdout)["rows"]
    assert all(row["student_accuracy"] is not None for row in rows)
    assert store.work.fit_ids() == set()
    again = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)
    assert "0 fits trained" in again.stderr
