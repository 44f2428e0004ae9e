"""A sweep reports each fit to its trackers once; no tracker can fail or delay it."""

from __future__ import annotations

import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

from tests.support import sweep_text
from tests.trackers.events import scalars
from w2s_ray.store import Record, Store

pytestmark = [pytest.mark.ray, pytest.mark.slow, pytest.mark.timeout(600)]

SEARCHED = """confidence:
    loss: {kind: confidence}
    search: {loss.alpha: {uniform: [0.0, 0.9]}}"""
SEARCH = "search: {trials: 2, concurrent_trials: 2, sampler: random}"
MLFLOW, WANDB = (find_spec(name) is not None for name in ("mlflow", "wandb"))


def run(folder: Path, *, trackers: str, **options: str) -> subprocess.CompletedProcess[str]:
    """`w2s run` of a sweep of one pair and one seed, in `folder`."""
    text = sweep_text(folder, **options) + f"trackers: {trackers}\n"
    text = text.replace("pairs: [[a, b], [b, c]]", "pairs: [[a, b]]")
    (folder / "sweep.yaml").write_text(text.replace("seeds: [0, 1]", "seeds: [0]"))
    command = [sys.executable, "-m", "w2s_ray", "run", "sweep.yaml"]
    return subprocess.run(
        command, cwd=folder, capture_output=True, text=True, check=False, timeout=550
    )


@pytest.fixture(scope="module")
def tracked_fit(tmp_path_factory) -> Path:
    """A folder in which a sweep was run twice, with every installed tracker."""
    folder = tmp_path_factory.mktemp("tracked_fit")
    mlflow = f", {{mlflow: {{tracking_uri: 'sqlite:///{folder}/mlflow.db'}}}}" if MLFLOW else ""
    trackers = f"[tensorboard{mlflow}{', wandb' if WANDB else ''}]"
    for _ in range(2):
        ended = run(folder, trackers=trackers, methods=SEARCHED, extra=SEARCH)
        assert ended.returncode == 0, ended.stderr
        assert "tracker" not in ended.stderr
    assert "0 fits trained" in ended.stderr
    return folder


def fits_of(folder: Path) -> list[Record]:
    fits = [r for r in Store.open(folder / "results").records() if r.kind == "fit"]
    assert len(fits) == 5  # supervisor, ceiling, two trials, refit
    return fits


def expected_values(folder: Path, fit: Record) -> dict[str, dict[int, float]]:
    """The expected values of a fit in trackers: metric -> step -> value, from the store."""
    table = Store.open(folder / "results").metrics(fit.id)
    columns = (table.column(name).to_pylist() for name in ("step", "metric", "value"))
    rows = list(zip(*columns, strict=True))
    expected: dict[str, dict[int, float]] = {}
    for step, metric, value in rows:
        if metric.startswith(("validation/", "test/")):
            expected.setdefault(metric, {})[step] = value
    losses = [value for step, metric, value in rows if metric == "train/loss"]
    steps = sorted(expected["validation/accuracy"])
    assert steps == [2, 4, 6, 8]
    expected["train/loss"] = {step: (losses[step - 2] + losses[step - 1]) / 2 for step in steps}
    last = int(fit.summary["steps"] or 0)
    expected["test/accuracy"] = {last: fit.summary["test_accuracy"]}  # pyright: ignore
    expected["test/log_loss"] = {last: fit.summary["test_log_loss"]}  # pyright: ignore
    return expected


def test_tensorboard_has_every_fit_with_its_values_by_step(tracked_fit: Path):
    folders = list((tracked_fit / "tensorboard" / "tiny").iterdir())
    assert len(folders) == 5
    roles = sorted(folder.name.partition("_")[0] for folder in folders)
    assert roles == ["ceiling", "student", "supervisor", "trial", "trial"]
    for fit in fits_of(tracked_fit):
        (folder,) = [folder for folder in folders if folder.name.endswith(fit.id)]
        assert len(list(folder.iterdir())) == 1
        found = scalars(folder)
        for metric, values in expected_values(tracked_fit, fit).items():
            assert found[metric] == pytest.approx(values, rel=1e-6), metric


@pytest.mark.skipif(not MLFLOW, reason="the extra mlflow is not installed")
def test_mlflow_has_every_fit_with_its_settings_and_values(tracked_fit: Path):
    from mlflow import MlflowClient

    client = MlflowClient(f"sqlite:///{tracked_fit}/mlflow.db")
    experiment = client.get_experiment_by_name("tiny")
    assert experiment is not None
    runs = {run.data.params["run"]: run for run in client.search_runs([experiment.experiment_id])}
    fits = fits_of(tracked_fit)
    assert runs.keys() == {fit.id for fit in fits}
    for fit in fits:
        run = runs[fit.id]
        assert run.info.status == "FINISHED"
        assert run.info.run_name is not None
        assert run.info.run_name.endswith(fit.id)
        assert run.data.params["loss.kind"] == fit.recipe["loss"]["kind"]
        assert float(run.data.params["training.lr"]) == fit.recipe["training"]["lr"]
        if fit.recipe["loss"]["kind"] == "confidence":
            assert float(run.data.params["loss.alpha"]) == fit.recipe["loss"]["alpha"]
        for metric, values in expected_values(tracked_fit, fit).items():
            history = client.get_metric_history(run.info.run_id, metric)
            assert {point.step: point.value for point in history} == pytest.approx(values), metric


@pytest.mark.skipif(not WANDB, reason="the extra wandb is not installed")
def test_weights_and_biases_logs_every_fit_offline_by_default(tracked_fit: Path):
    kept = [path.name for path in (tracked_fit / "wandb").glob("offline-run-*")]
    assert sorted(name.rpartition("-")[2] for name in kept) == [f.id for f in fits_of(tracked_fit)]
    assert not list((tracked_fit / "wandb").glob("run-*"))
    for fit in fits_of(tracked_fit):
        (folder,) = (tracked_fit / "wandb").glob(f"offline-run-*-{fit.id}")
        assert b"validation/accuracy" in (folder / f"run-{fit.id}.wandb").read_bytes()


@pytest.mark.skipif(not MLFLOW, reason="the extra mlflow is not installed")
def test_an_unreachable_server_gives_one_warning(tmp_path: Path, monkeypatch):
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    ended = run(tmp_path, trackers="{mlflow: {tracking_uri: 'http://127.0.0.1:9'}}")
    assert ended.returncode == 0, ended.stderr
    assert ended.stderr.count("tracker mlflow") == 1
    assert "3 of 3 planned runs" in ended.stderr
