"""Ground truth of a reported cell never reaches its student, unless the run says oracle."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from tests.support import make_model, make_task
from w2s_ray.data import load_split
from w2s_ray.execute.fits.job import FitJob
from w2s_ray.execute.fits.labels import SplitRows, targets
from w2s_ray.plan import PlannedFit
from w2s_ray.spec import (
    Columns,
    ConfidenceLoss,
    EarlyStopping,
    Execution,
    FitRecipe,
    ModelSource,
    Task,
    Training,
    XentLoss,
)
from w2s_ray.store import Store
from w2s_ray.store.tables import SPLIT_ROWS


@pytest.fixture(scope="module")
def model(tmp_path_factory) -> Path:
    return make_model(tmp_path_factory.mktemp("model") / "m")


@pytest.fixture(scope="module")
def rows(tmp_path_factory) -> list[dict]:
    path = make_task(tmp_path_factory.mktemp("task") / "task.csv")
    columns = Columns(text="text", label="label")
    split = load_split(
        Task(name="words", path=str(path), columns=columns, train=96, validation=32, test=32)
    )
    return [
        {"example_id": e.id, "part": part, "text": e.text, "label": e.label, "group": e.group}
        for part, examples in split.parts.items()
        for e in examples
    ]


def write_split(store: Store, rows: list[dict], *, flipped: bool) -> None:
    """The split in `store`, under one name; `flipped` inverts the truth that a student may not
    see."""
    hidden = ("student_half", "validation", "test")
    changed = [
        {**row, "label": 1 - row["label"]} if flipped and row["part"] in hidden else row
        for row in rows
    ]
    store.write_split("s" * 20, pa.Table.from_pylist(changed, schema=SPLIT_ROWS), {})


def planned(model: Path, **recipe) -> PlannedFit:
    settings = Training(epochs=2, batch_size=16, lr=3e-3, evaluations_per_epoch=2)
    made = FitRecipe.model_validate(
        {"split": "s" * 20, "model": "sha256:m", "training": settings, "seed": 0, **recipe}
    )
    source = ModelSource(name="m", location=str(model), identity="sha256:m")
    execution = Execution(gpus_per_worker=0)
    return PlannedFit(made.run_id, made, source, execution, task="words")


def supervisor(model: Path) -> PlannedFit:
    return planned(
        model,
        train_on="supervisor_half",
        labels="ground_truth",
        loss=XentLoss(),
        predicts=("student_half", "validation", "test"),
    )


def student(model: Path, stopping: EarlyStopping | None) -> PlannedFit:
    return planned(
        model,
        train_on="student_half",
        labels=supervisor(model).id,
        loss=ConfidenceLoss(),
        early_stopping=stopping,
    )


class NoCheckpoints:
    """A fit that can't be resumed."""

    def due(self) -> bool:
        return False

    def save(self, step: int, write: object) -> None:
        raise AssertionError("not due")

    def latest(self) -> None:
        return None


def carried(store: Store, *fits: PlannedFit) -> list[list[float]]:
    found = []
    for fit in fits:
        record = FitJob(fit).run(store, checkpoints=NoCheckpoints())
        assert record.status == "done", record.traceback
        found.append(store.predictions(fit.id, "test").column("probability").to_pylist())
    return found


@pytest.mark.parametrize("oracle", [False, True])
def test_flipping_all_hidden_truth_changes_nothing_in_a_student_but_an_oracles(
    tmp_path, model, rows, oracle
):
    stopping = EarlyStopping(patience=1, metric="loss", oracle=oracle)
    predictions = []
    for flipped in (False, True):
        store = Store.open(tmp_path / f"flipped-{flipped}")
        write_split(store, rows, flipped=flipped)
        predictions.append(carried(store, supervisor(model), student(model, stopping)))
    (weak, learned), (weak_again, learned_again) = predictions
    assert weak == weak_again
    assert (learned == learned_again) is not oracle


def test_a_ceiling_does_learn_from_the_truth_so_the_test_above_can_fail(tmp_path, model, rows):
    ceiling = planned(model, train_on="student_half", labels="ground_truth", loss=XentLoss())
    found = []
    for flipped in (False, True):
        store = Store.open(tmp_path / f"flipped-{flipped}")
        write_split(store, rows, flipped=flipped)
        found.append(carried(store, ceiling))
    assert found[0] != found[1]


def test_a_students_targets_are_its_supervisors_probabilities(model, rows):
    table = SplitRows.of(pa.Table.from_pylist(rows, schema=SPLIT_ROWS))
    weak = {(row["part"], row["example_id"]): 0.25 for row in rows}
    made = targets(student(model, None).recipe, table, weak=weak)
    assert np.array_equal(made.train_NC, np.full((48, 2), (0.75, 0.25), dtype=np.float32))
    assert np.array_equal(made.validation_MC, np.full((32, 2), (0.75, 0.25), dtype=np.float32))
    oracle = student(model, EarlyStopping(oracle=True)).recipe
    made = targets(oracle, table, weak=weak)
    assert np.array_equal(made.train_NC, np.full((48, 2), (0.75, 0.25), dtype=np.float32))
    assert np.array_equal(made.validation_MC[:, 1], table.truth["validation"])


def test_a_missing_weak_label_is_named(model, rows):
    table = SplitRows.of(pa.Table.from_pylist(rows, schema=SPLIT_ROWS))
    with pytest.raises(ValueError, match=r"has no label for \('student_half', "):
        targets(student(model, None).recipe, table, weak={})


def test_nan_fails_the_fit_with_its_step_and_leaves_no_result(tmp_path, model, rows):
    store = Store.open(tmp_path / "store")
    write_split(store, rows, flipped=False)
    fit = supervisor(model)
    training = fit.recipe.training.model_copy(update={"lr": 1e30, "clip_norm": None})
    recipe = fit.recipe.model_copy(update={"training": training})
    fit = PlannedFit(recipe.run_id, recipe, fit.source, fit.execution, fit.task)
    record = FitJob(fit).run(store, checkpoints=NoCheckpoints())
    assert (record.status, record.cause) == ("failed", "diverged")
    assert "at step" in record.reason
    assert store.find(fit.id) is None
