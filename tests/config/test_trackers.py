"""The key `trackers`: its forms, its errors, and that no run's id depends on it."""

from __future__ import annotations

import pytest

from tests.plan.test_plan import SEARCH, inputs
from w2s_ray.config import MLflow, Sweep, SweepError, TensorBoard, Wandb, parse_sweep
from w2s_ray.plan import make_plan


@pytest.mark.parametrize(
    ("section", "chosen"),
    [
        ("", ()),
        ("trackers: []", ()),
        ("trackers: tensorboard", ("tensorboard",)),
        ("trackers: [tensorboard]", ("tensorboard",)),
        ("trackers: {wandb:}", ("wandb",)),
        ("trackers: [mlflow, {tensorboard: {folder: curves}}]", ("tensorboard", "mlflow")),
    ],
)
def test_trackers_are_named_in_a_list_or_with_settings(section: str, chosen: tuple[str, ...]):
    assert parse_sweep(f"{SEARCH}{section}\n").trackers.chosen == chosen


def test_settings_reach_their_tracker():
    section = """
trackers:
  tensorboard: {folder: curves}
  mlflow: {tracking_uri: "http://server:5000", experiment: grid}
  wandb: {project: grid, entity: us, mode: online}
"""
    trackers = parse_sweep(SEARCH + section).trackers
    assert trackers.tensorboard == TensorBoard(folder="curves")
    assert trackers.mlflow == MLflow(tracking_uri="http://server:5000", experiment="grid")
    assert trackers.wandb == Wandb(project="grid", entity="us", mode="online")


@pytest.mark.parametrize(
    ("section", "error"),
    [
        ("[tensorbord]", "unknown key 'tensorbord'; did you mean 'tensorboard'?"),
        ("{wandb: {projekt: a}}", "trackers.wandb.projekt: unknown key 'projekt'"),
        ("{wandb: {mode: always}}", "trackers.wandb.mode: write 'online' or 'offline'"),
        ("[wandb, wandb]", "a tracker occurs twice; keep one"),
        ("[3]", r"\[3\] is not a list of trackers; write \[tensorboard\]"),
        ("null", r"None is not a list of trackers; write \[tensorboard\]"),
    ],
)
def test_invalid_trackers_give_the_remedy(section: str, error: str):
    with pytest.raises(SweepError, match=error) as refused:
        parse_sweep(f"{SEARCH}trackers: {section}\n")
    assert len(str(refused.value).splitlines()) == 1


def test_trackers_change_no_run_id():
    section = "trackers: [tensorboard, {mlflow: {experiment: grid}}, {wandb: {mode: offline}}]\n"
    outcomes = {
        study: {"loss.alpha": 0.5} for study in make_plan(parse_sweep(SEARCH), inputs()).studies
    }
    plans = [
        make_plan(parse_sweep(text), inputs(), outcomes=outcomes)
        for text in (SEARCH, SEARCH + section)
    ]
    assert plans[0].fits.keys() == plans[1].fits.keys()
    assert plans[0].studies.keys() == plans[1].studies.keys()
    assert plans[0].cells == plans[1].cells


@pytest.mark.parametrize("section", ["", "trackers: [tensorboard]", "trackers: {wandb:}"])
def test_trackers_survive_writing_and_reading_the_sweep(section: str):
    sweep = parse_sweep(f"{SEARCH}{section}\n")
    assert Sweep.model_validate(sweep.model_dump()) == sweep
