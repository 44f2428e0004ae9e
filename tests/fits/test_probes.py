"""Probes as fits: a student on other features learns its supervisor's whole distribution."""

from __future__ import annotations

import numpy as np
import pytest

from tests.learn.test_vision import make_vit
from w2s_ray.config import parse_sweep
from w2s_ray.fits.forms import form_of
from w2s_ray.fits.labels import SplitRows
from w2s_ray.fits.train_fit import FitTraining
from w2s_ray.prepare import materialize, plan_sweep
from w2s_ray.store import Store

SWEEP = """
name: digits
task: {{name: digits, train: 200, validation: 60, test: 200}}
models: ["pixels:2", {{name: "{strong}", label: strong}}]
training: {{batch_size: 50, epochs: 10, lr: 5e-2}}
methods:
  naive: {{}}
"""


def trained(tmp_path, strong: str, *, execution: str = ""):
    sweep = parse_sweep(SWEEP.format(strong=strong) + execution)
    store = Store.open(tmp_path / "results")
    plan = plan_sweep(sweep, store=store)
    materialize(plan, store)
    fits = {fit.roles[0]: fit for fit in plan.fits.values()}
    records = {}
    for role in ("supervisor", "ceiling", "student"):
        records[role] = FitTraining(fits[role]).run(store, checkpoints=None)
        assert records[role].status == "done", records[role].traceback
    return store, fits, records


@pytest.fixture(autouse=True)
def _own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("W2S_CACHE", str(tmp_path / "cache"))


def test_a_student_learns_the_supervisors_distribution(tmp_path):
    store, fits, records = trained(tmp_path, "pixels:8")
    rows = SplitRows.of(store.splits.rows(fits["student"].recipe.split))
    assert rows.classes == tuple("0123456789")
    given = form_of(fits["student"].recipe).training_data(fits["student"], rows, store).data
    predictions = store.predictions(records["supervisor"].id).to_pylist()
    by_id = {(row["part"], row["example_id"]): row for row in predictions}
    for part, targets in (
        ("student_half", given.train_targets_NC),
        ("validation", given.validation_targets_MC),
    ):
        for id_, label in zip(rows.ids[part], targets, strict=True):
            prediction = by_id[part, id_]
            assert np.allclose(label, prediction["probabilities"])
            assert prediction["answer"] == rows.classes[int(np.argmax(prediction["probabilities"]))]
            assert prediction["probability"] == pytest.approx(max(prediction["probabilities"]))
    accuracy = {role: record.summary["test_accuracy"] for role, record in records.items()}
    assert 0.3 < accuracy["supervisor"] < 0.65
    assert accuracy["ceiling"] > accuracy["supervisor"] + 0.2
    assert accuracy["student"] < accuracy["ceiling"]
    assert records["student"].summary["test_log_loss"] > 0


def test_controls_of_several_classes_are_trained_or_not(tmp_path):
    text = SWEEP.format(strong="pixels:8") + "controls: true\n"
    store = Store.open(tmp_path / "results")
    plan = plan_sweep(parse_sweep(text), store=store)
    materialize(plan, store)
    for fit in plan.fits.values():
        record = FitTraining(fit).run(store, checkpoints=None)
        assert record.status == "done", record.traceback
    found = {c.method: store.record(c.student).summary for c in plan.cells}
    untrained = found["control: untrained"]
    assert (untrained["steps"], untrained["test_largest_class"]) == (0, 1.0)
    assert untrained["test_log_loss"] == pytest.approx(np.log(10))
    for control in ("shuffled labels", "random labels", "class prior"):
        assert found[f"control: {control}"]["test_accuracy"] < 0.3
    assert found["control: ground truth of 1 row in 10"]["train_rows"] == 10
    assert found["naive"]["test_accuracy"] > 0.3


def test_a_vision_transformer_sees_the_images_once(tmp_path, monkeypatch):
    folder = make_vit(tmp_path / "vit")
    _, fits, records = trained(tmp_path, str(folder))
    assert records["student"].summary["parameters"] == 16 * 10 + 10
    made = list((tmp_path / "results/catalog/activations").glob("*/*.safetensors"))
    assert len(made) == 2 * 3 + 1  # validation, test and student's half; pixels: and the first half

    def never(*args, **options):
        raise AssertionError("features were made twice")

    monkeypatch.setattr("w2s_ray.learn.vision.features_of", never)
    again = FitTraining(fits["ceiling"]).run(Store.open(tmp_path / "results"), checkpoints=None)
    assert again.status == "done"


def test_worker_groups_are_refused(tmp_path):
    sweep = parse_sweep(
        SWEEP.format(strong="pixels:8") + "execution: {workers: 2, engine: deepspeed}"
    )
    with pytest.raises(ValueError, match=r"execution.workers is 2, but task digits has features"):
        plan_sweep(sweep, store=Store.open(tmp_path / "results"))
