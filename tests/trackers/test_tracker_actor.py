"""The tracker actor without a cluster: what trackers get, and failures that cost no run."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.plan.test_plan import SWEEP, planned
from tests.trackers.events import scalars
from tests.trackers.offline_runs import read_wandb
from w2s_ray.config import MLflow, TensorBoard, Trackers, Wandb, parse_sweep
from w2s_ray.trackers import check as check_module
from w2s_ray.trackers.check import check_trackers
from w2s_ray.trackers.tracked import evaluation_metrics, final_metrics, tracked_fit
from w2s_ray.trackers.tracker_actor import TrackerActor

FITS = list(planned(SWEEP).fits.values())
STUDENT = next(fit for fit in FITS if fit.roles == ("student",) and fit.methods == ("confidence",))
EVALUATION = {"step": 4, "accuracy": 0.5, "loss": 0.7, "agreement": 0.75, "log_loss": 0.6}


@pytest.fixture
def tracker_actor(tmp_path: Path, monkeypatch) -> Callable[..., TrackerActor]:
    monkeypatch.chdir(tmp_path)

    def make(**trackers: Any) -> TrackerActor:
        return TrackerActor(
            Trackers(**trackers), sweep="grid", folder=str(tmp_path), environment={}
        )

    return make


def finish(tracker_actor: TrackerActor) -> None:
    tracker_actor.close()
    deadline = time.monotonic() + 60
    while tracker_actor.backlog():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_a_fit_is_named_by_what_it_is_and_its_run_id():
    fit = tracked_fit(STUDENT, study=None, trial=None)
    assert fit.name == f"student_creak_s-to-m_confidence_seed0_{STUDENT.id}"
    assert fit.settings["run"] == STUDENT.id
    assert fit.settings["training.lr"] == STUDENT.recipe.training.lr
    assert (fit.settings["loss.kind"], fit.settings["loss.alpha"]) == ("confidence", 0.5)
    assert all(isinstance(value, int | float | str) for value in fit.settings.values())
    trial = tracked_fit(STUDENT, study="abc", trial=3)
    assert trial.name.startswith("trial_creak_")
    assert (trial.settings["study"], trial.settings["trial"]) == ("abc", 3)


def test_metrics_are_named_by_the_part_that_they_are_measured_on():
    assert evaluation_metrics({**EVALUATION, "train_loss": 0.8, "evaluations": 2}) == {
        "validation/accuracy": 0.5,
        "validation/loss": 0.7,
        "validation/agreement": 0.75,
        "validation/log_loss": 0.6,
        "train/loss": 0.8,
    }
    assert "train/loss" not in evaluation_metrics({**EVALUATION, "train_loss": None})
    summary = {"test_accuracy": 0.75, "training_flops": 12, "stopped_early": True}
    assert final_metrics(summary) == {"test/accuracy": 0.75, "training_flops": 12.0}


def test_tensorboard_has_every_value_once_even_if_it_is_sent_again(tracker_actor, tmp_path: Path):
    actor = tracker_actor(tensorboard=TensorBoard(folder="curves"))
    fit = tracked_fit(STUDENT, study=None, trial=None)
    for number, step in ((1, 4), (2, 8), (1, 4), (2, 8), (3, 12)):
        actor.evaluated(fit, number, step, {"validation/accuracy": step / 16})
    for _ in range(2):  # two processes monitor one fit, and each sends everything
        actor.ended(fit, "done", 12, {"test/accuracy": 0.5})
        actor.evaluated(fit, 1, 4, {"validation/accuracy": 0.25})
    finish(actor)
    assert actor.errors() == {}
    found = scalars(tmp_path / "curves" / "grid" / fit.name)
    assert found["validation/accuracy"] == {4: 0.25, 8: 0.5, 12: 0.75}
    assert found["test/accuracy"] == {12: 0.5}


def test_mlflow_has_parameters_metrics_and_the_status_of_each_run(tracker_actor, tmp_path: Path):
    pytest.importorskip("mlflow", reason="the extra mlflow is not installed")
    from mlflow import MlflowClient

    uri = f"sqlite:///{tmp_path}/mlflow.db"
    actor = tracker_actor(mlflow=MLflow(tracking_uri=uri, experiment="mine"))
    fits = [tracked_fit(fit, study=None, trial=None) for fit in FITS[:4]]
    for fit, status in zip(fits, ("done", "failed", "pruned", None), strict=True):
        actor.evaluated(fit, 1, 4, {"validation/accuracy": 0.3})
        if status is not None:  # the last one runs when the sweep is stopped
            actor.ended(fit, status, 8, {"test/accuracy": 0.1} if status == "done" else {})
    finish(actor)
    assert actor.errors() == {}
    client = MlflowClient(uri)
    experiment = client.get_experiment_by_name("mine")
    assert experiment is not None
    runs = {run.info.run_name: run for run in client.search_runs([experiment.experiment_id])}
    assert runs.keys() == {fit.name for fit in fits}
    ended = [runs[fit.name].info.status for fit in fits]
    assert ended == ["FINISHED", "FAILED", "FINISHED", "KILLED"]
    first = runs[fits[0].name]
    assert first.data.params["run"] == fits[0].run
    assert first.data.params["training.lr"] == str(FITS[0].recipe.training.lr)
    assert (first.data.metrics["validation/accuracy"], first.data.metrics["test/accuracy"]) == (
        0.3,
        0.1,
    )
    (point,) = client.get_metric_history(first.info.run_id, "validation/accuracy")
    assert (point.step, point.value) == (4, 0.3)


def test_wandb_keeps_each_fit_offline_by_its_run_id(tracker_actor, tmp_path: Path, monkeypatch):
    wandb = pytest.importorskip("wandb", reason="the extra wandb is not installed")
    monkeypatch.delenv("WANDB_MODE", raising=False)
    actor = tracker_actor(wandb=Wandb(project="mine"))
    fits = [tracked_fit(fit, study=None, trial=None) for fit in FITS[:4]]
    for fit in fits:  # all of them run at once
        actor.evaluated(fit, 1, 4, {"validation/accuracy": 0.25})
    for fit, status in zip(fits, ("done", "failed", "pruned", None), strict=True):
        actor.evaluated(fit, 2, 8, {"validation/accuracy": 0.5})
        if status is not None:  # the last one runs when the sweep is stopped
            actor.ended(fit, status, 8, {"test/accuracy": 0.125} if status == "done" else {})
    finish(actor)
    wandb.teardown()
    assert actor.errors() == {}
    assert len(list((tmp_path / "wandb").glob("offline-run-*"))) == 4
    for fit, code in zip(fits, (0, 1, 0, 1), strict=True):
        (file,) = (tmp_path / "wandb").glob(f"offline-run-*-{fit.run}/run-{fit.run}.wandb")
        kept = read_wandb(file)
        assert (kept.project, kept.group, kept.name) == ("mine", "grid", fit.name)
        assert kept.config["training.lr"] == fit.settings["training.lr"]
        last = {"test/accuracy": 0.125} if fit is fits[0] else {}
        assert kept.metrics == {
            4: {"validation/accuracy": 0.25},
            8: {"validation/accuracy": 0.5, **last},
        }
        assert kept.exit_code == code


def test_a_run_that_wandb_refuses_is_a_warning_long_before_the_end(tracker_actor, monkeypatch):
    wandb = pytest.importorskip("wandb", reason="the extra wandb is not installed")

    def refuse(**options: Any) -> Any:
        raise wandb.errors.UsageError("No API key configured.")

    monkeypatch.setattr(wandb, "init", refuse)
    actor = tracker_actor(wandb=Wandb(mode="online"))
    fit = tracked_fit(STUDENT, study=None, trial=None)
    number, deadline = 1, time.monotonic() + 60
    while not actor.errors():
        assert time.monotonic() < deadline
        actor.evaluated(fit, number, number, {"validation/accuracy": 0.25})
        number += 1
        time.sleep(0.01)
    assert "No API key configured" in actor.errors()["wandb"]
    finish(actor)


def test_what_wandb_fails_to_write_at_the_end_is_a_warning(tracker_actor, monkeypatch):
    wandb = pytest.importorskip("wandb", reason="the extra wandb is not installed")

    class Run:
        def finish(self, exit_code: int) -> None:
            raise wandb.errors.CommError("the server is gone")

    monkeypatch.setattr(wandb, "init", lambda **options: Run())
    actor = tracker_actor(wandb=Wandb(mode="online"))
    actor.ended(tracked_fit(STUDENT, study=None, trial=None), "done", 8, {})
    finish(actor)
    assert "the server is gone" in actor.errors()["wandb"]


def test_a_tracker_that_fails_is_a_warning_and_stops_no_other(tracker_actor, tmp_path: Path):
    pytest.importorskip("mlflow", reason="the extra mlflow is not installed")
    actor = tracker_actor(
        mlflow=MLflow(tracking_uri="nonsense://nowhere"), tensorboard=TensorBoard(folder="curves")
    )
    fit = tracked_fit(STUDENT, study=None, trial=None)
    for number in range(1, 50):
        actor.evaluated(fit, number, number, {"validation/accuracy": 0.5})
    actor.ended(fit, "done", 50, {})
    finish(actor)
    assert actor.errors().keys() == {"mlflow"}
    assert "nonsense" in actor.errors()["mlflow"]
    assert len(scalars(tmp_path / "curves" / "grid" / fit.name)["validation/accuracy"]) == 49


def test_a_tracker_that_hangs_delays_neither_the_sender_nor_the_others(
    tracker_actor, tmp_path: Path, monkeypatch
):
    from w2s_ray.trackers import clients

    never, real = threading.Event(), clients.run_factory

    def hangs(name: str, *arguments: Any, **options: Any) -> Any:
        if name == "mlflow":
            never.wait()
        return real(name, *arguments, **options)

    monkeypatch.setattr(clients, "run_factory", hangs)
    actor = tracker_actor(mlflow=MLflow(), tensorboard=TensorBoard(folder="curves"))
    fit = tracked_fit(STUDENT, study=None, trial=None)
    actor.evaluated(fit, 1, 4, {"validation/accuracy": 0.5})
    actor.ended(fit, "done", 8, {})
    actor.close()
    deadline = time.monotonic() + 60
    while actor.backlog().keys() != {"mlflow"}:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    assert actor.backlog() == {"mlflow": 3}
    assert scalars(tmp_path / "curves" / "grid" / fit.name)["validation/accuracy"] == {4: 0.5}
    never.set()
    finish(actor)


def test_a_missing_package_is_refused_before_anything_is_started(tmp_path: Path, monkeypatch):
    from w2s_ray import run_sweep

    monkeypatch.setattr(check_module, "find_spec", lambda module: None)
    sweep = parse_sweep(f"{SWEEP}trackers: [wandb]\nstore: {tmp_path}/results\n")
    refusal = r"trackers: wandb needs the package wandb, .*pip install \"w2s_ray\[wandb\]\""
    with pytest.raises(ValueError, match=refusal):
        run_sweep(sweep)
    assert not (tmp_path / "results").exists()
    check_trackers(Trackers())
