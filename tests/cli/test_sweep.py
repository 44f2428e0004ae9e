"""Whole sweeps through the `w2s` command, on Ray, as a user runs them."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.support import SEARCH, SEARCHED, loaded_by, sweep_text
from w2s_ray.store import Store

pytestmark = [pytest.mark.ray, pytest.mark.path]

W2S = [sys.executable, "-m", "w2s_ray"]


def w2s(*arguments: str | Path, check: bool = True) -> subprocess.CompletedProcess[str]:
    run = subprocess.run(
        [*W2S, *map(str, arguments)], capture_output=True, text=True, check=False, timeout=550
    )
    assert not check or run.returncode == 0, run.stdout + run.stderr
    return run


def write(folder: Path, **options) -> Path:
    path = folder / "sweep.yaml"
    path.write_text(sweep_text(folder, **options))
    return path


def table(sweep: Path) -> dict:
    return json.loads(w2s("table", sweep, "--format", "json").stdout)


def started(store: Store) -> dict[str, str]:
    return {record.id: record.started_at for record in store.records()}


def test_every_cell_has_its_runs_and_pgr_or_a_reason(undisturbed):
    rows = table(undisturbed)["rows"]
    assert [(r["weak"], r["strong"], r["method"]) for r in rows] == [
        ("a", "b", "naive"),
        ("a", "b", "confidence"),
        ("b", "c", "naive"),
        ("b", "c", "confidence"),
    ]
    assert [r["objective"] for r in rows] == ["none", "oracle", "none", "transfer"]
    for row in rows:
        assert row["seeds"] == 2
        gap = row["ceiling_accuracy"] - row["weak_accuracy"]
        if row["gap_low"] > 0:
            gained = row["student_accuracy"] - row["weak_accuracy"]
            assert row["pgr"] == pytest.approx(gained / gap)
        else:
            assert row["pgr"] is None
            assert "ceiling does not beat the supervisor" in row["reason"]


def test_a_second_run_trains_nothing_and_starts_no_ray(undisturbed):
    store = Store.open(undisturbed.parent / "results")
    before = started(store)
    run = w2s("run", undisturbed)
    assert "0 fits trained" in run.stderr
    assert "starting Ray" not in run.stderr
    assert started(store) == before


def test_a_study_stores_all_its_trials(undisturbed):
    store = Store.open(undisturbed.parent / "results")
    (study,) = [record for record in store.records() if record.kind == "study"]
    trials = store.trials(study.id)
    assert [trial["number"] for trial in trials] == list(range(6))
    assert {trial["state"] for trial in trials} <= {"complete", "pruned"}
    winner = next(t for t in trials if t["number"] == study.about["winner"])
    complete = [t["value"] for t in trials if t["state"] == "complete"]
    assert winner["value"] == max(complete) == study.summary["value"]
    assert study.about["settings"] == winner["settings"]
    fits = {record.id for record in store.records() if record.kind == "fit"}
    assert {fit for t in trials if t["state"] == "complete" for fit in t["fits"]} <= fits


def test_plan_status_explain_and_query_print_results(undisturbed):
    store = undisturbed.parent / "results"
    assert "0" in w2s("plan", undisturbed).stdout
    assert "17 done" in w2s("status", undisturbed).stdout
    assert "complete" in w2s("status", "--store", store).stdout
    ids = json.loads(
        w2s(
            "query",
            "select id from runs where kind = 'fit' and labels <> 'ground_truth'",
            "--store",
            store,
            "--format",
            "json",
        ).stdout
    )
    first, second = ids[0]["id"], ids[1]["id"]
    shown = w2s("explain", first, "--store", store).stdout
    assert "training.lr" in shown
    assert "test_accuracy" in shown
    assert "recipe" in w2s("explain", first, second, "--store", store).stdout


@pytest.mark.chaos  # in CI: tests/chaos, with its store on S3
def test_a_killed_sweep_resumes_to_the_same_table(tmp_path, undisturbed):
    fits_done = 9  # at any other moment: tests/chaos
    sweep = write(tmp_path, methods=SEARCHED, extra=SEARCH)
    for name in ("a", "b", "c"):
        for file in (undisturbed.parent / name).iterdir():
            (tmp_path / name / file.name).write_bytes(file.read_bytes())
    store = Store.open(tmp_path / "results")
    driver = subprocess.Popen(
        [*W2S, "run", str(sweep)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    deadline = time.monotonic() + 400
    while len(store.all_done()) < fits_done and time.monotonic() < deadline:
        time.sleep(0.02)
    os.kill(driver.pid, signal.SIGKILL)
    driver.wait()
    time.sleep(1)
    done = started(store)
    assert len(done) >= fits_done
    w2s("run", sweep)
    after = started(store)
    assert {run: after[run] for run in done} == done
    assert table(sweep) == table(undisturbed)


def test_a_diverging_fit_fails_with_its_step_and_the_sweep_continues(tmp_path):
    wild = "{training: {lr: 1000, weight_decay: 1000, clip_norm: null}}"
    sweep = write(tmp_path, methods=f"naive: {{}}\n  wild: {wild}")
    run = w2s("run", sweep, check=False)
    assert run.returncode == 1
    assert "loss is nan at step" in run.stderr
    assert "12 fits trained by this call, trials included; 4 more failed; 12 of 16" in run.stderr
    _, next_steps = run.stderr.split("\nnext:\n")
    assert [line.split()[3] for line in next_steps.splitlines()] == ["explain", "status", "run"]
    rows = table(sweep)["rows"]
    assert {r["seeds"] for r in rows if r["method"] == "naive"} == {2}
    wild = [r for r in rows if r["method"] == "wild"]
    assert {r["seeds"] for r in wild} == {0}
    assert all("loss is nan at step" in str(r["missing"]) for r in wild)


def test_an_unwritable_store_is_refused_before_ray_starts(tmp_path):
    sweep = write(tmp_path)
    (tmp_path / "file").write_text("")
    run = w2s("run", sweep, "--store", tmp_path / "file" / "results", check=False)
    assert run.returncode == 2
    *steps, line = run.stderr.splitlines()
    assert line.startswith("error: can't write to the store")
    assert "starting Ray" not in steps


@pytest.mark.parametrize(
    ("execution", "error"),
    [
        ("{gpus_per_worker: 1}", "execution.gpus_per_worker: model a needs 1 GPU"),
        ("{cpus_per_worker: 4096}", "execution.cpus_per_worker: model a needs 4096 CPU"),
    ],
)
def test_resources_that_the_cluster_lacks_are_refused(tmp_path, execution, error):
    run = w2s("run", write(tmp_path, execution=execution), check=False)
    assert run.returncode == 2
    assert error in run.stderr
    assert not list((tmp_path / "results").glob("runs/*"))


@pytest.mark.parametrize("command", ["plan", "query", "table", "status"])
def test_reading_commands_import_neither_torch_nor_ray(undisturbed, command):
    store = str(undisturbed.parent / "results")
    arguments = {
        "plan": ["plan", str(undisturbed)],
        "query": ["query", "select * from pgr", "--store", store],
        "table": ["table", "--store", store],
        "status": ["status", str(undisturbed)],
    }[command]
    heavy = ("torch", "ray", "transformers", "pandas", "datasets")
    assert loaded_by(arguments, *heavy) == []


def test_python_and_commands_return_the_same_results(undisturbed):
    from w2s_ray import load_sweep, open_results, plan_sweep, run_sweep

    sweep = load_sweep(undisturbed)
    plan = plan_sweep(sweep)
    assert len(plan.cells) == 8
    outcome = run_sweep(sweep)
    assert (outcome.trained, outcome.complete) == (0, True)
    results = open_results(sweep.store)
    frame = results.pgr()
    assert list(frame["method"]) == ["naive", "confidence"] * 2
    assert len(results.runs()) >= 17
    student = plan.cells[0].student
    assert set(results.predictions(student)["part"]) == {"validation", "test"}
    assert {"train/loss", "validation/accuracy"} <= set(results.metrics(student)["metric"])
    assert len(results.trials()) == 6
