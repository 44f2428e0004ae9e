"""The ledger notes what stopping by ground truth would have given, and steers nothing."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.learn.tiny import CommandAt, data_of, make_gpt2, recipe_of, source_of
from w2s_ray.config import EarlyStopping, Execution
from w2s_ray.data.right import Truth
from w2s_ray.fits.contrast import contrast
from w2s_ray.fits.metrics_recorder import MetricsRecorder, mean_loss
from w2s_ray.fits.train_fit import RecordedCheckpoints
from w2s_ray.learn.checkpoints import FolderCheckpoints
from w2s_ray.learn.contract import FitResult, LeaveRequested, Predicted
from w2s_ray.learn.loop import fit

RECIPE = recipe_of(
    {"epochs": 6, "lr": 0.03, "schedule": "constant"},
    early_stopping=EarlyStopping(patience=4, metric="loss"),
)
TEST_TRUTH_N = np.random.default_rng(7).integers(0, 2, 17)
VALIDATION_TRUTH_M = (data_of().validation_targets_MC[:, 1] > 0.5).astype(np.int64)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_gpt2(tmp_path_factory.mktemp("gpt2"))


def a_recorder(*, predicts: bool = True) -> MetricsRecorder:
    return MetricsRecorder(
        truth_M=Truth(VALIDATION_TRUTH_M),
        test_truth_N=Truth(TEST_TRUTH_N) if predicts else None,
        evaluations=12,
    )


def trained(model: Path, observer: Any, **more: Any) -> FitResult:
    return fit(
        RECIPE,
        data=data_of(),
        source=source_of(model, "gpt2"),
        execution=Execution(
            gpus_per_worker=0, evaluation_batch=8, keep="last" if "weights" in more else "none"
        ),
        observer=observer,
        **more,
    )


class Whole:
    """An observer that predicts test at every evaluation."""

    def __init__(self) -> None:
        self.seen: list[tuple[int, float, float]] = []

    def trained(self, **_: Any) -> None:
        pass

    def evaluated(self, *, step: int, predicted: Any, predict: Any, **_: Any) -> None:
        right = np.mean((predicted.probabilities > 0.5) == VALIDATION_TRUTH_M)
        on_test = np.mean((predict("test").probabilities > 0.5) == TEST_TRUTH_N)
        self.seen.append((step, float(right), float(on_test)))


def test_the_first_best_evaluation_by_ground_truth_is_noted(model: Path) -> None:
    recorder, whole = a_recorder(), Whole()
    trained(model, recorder)
    trained(model, whole)
    step, accuracy, on_test = max(whole.seen, key=lambda seen: (seen[1], -seen[0]))
    assert recorder.oracle == {
        "oracle_step": step,
        "oracle_validation_accuracy": accuracy,
        "oracle_test_accuracy": on_test,
    }
    noted = [(s, value) for s, name, value in recorder.rows if name == "oracle/test_accuracy"]
    improving, best = [], -1.0
    for at, right, test in whole.seen:
        if right > best:
            best = right
            improving.append((at, test))
    assert noted == improving
    assert 1 < len(noted) < len(whole.seen)


def test_noting_it_changes_no_weight_and_no_prediction(model: Path, tmp_path: Path) -> None:
    found = {}
    for predicts in (True, False):
        recorder, folder = a_recorder(predicts=predicts), tmp_path / str(predicts)
        result = trained(model, recorder, weights=folder)
        found[predicts] = result, recorder, {p.name: p.read_bytes() for p in folder.iterdir()}
    noting, silent = found[True], found[False]
    assert noting[2] == silent[2]
    assert (noting[0].steps, noting[0].best_step) == (silent[0].steps, silent[0].best_step)
    for part, predictions in noting[0].predicted.items():
        values = predictions.probabilities
        assert np.array_equal(values, silent[0].predicted[part].probabilities)
    assert [row for row in noting[1].rows if not row[1].startswith("oracle/")] == silent[1].rows
    assert silent[1].oracle == {}


@pytest.mark.parametrize("at", [3, 10, 20])
def test_the_noted_evaluation_is_in_checkpoints(at: int, model: Path, tmp_path: Path) -> None:
    whole = a_recorder()
    trained(model, whole)
    first, again = a_recorder(), a_recorder()
    with pytest.raises(LeaveRequested):
        trained(
            model,
            first,
            checkpoints=RecordedCheckpoints(FolderCheckpoints(tmp_path, every_s=10_000), first),
            control=CommandAt("leave", at=at),
        )
    kept = RecordedCheckpoints(FolderCheckpoints(tmp_path, every_s=10_000), again)
    trained(model, again, checkpoints=kept)
    assert again.oracle == whole.oracle
    assert again.rows == whole.rows


def test_an_evaluation_has_the_mean_training_loss_since_the_last() -> None:
    rows = [(1, "train/loss", 1.0), (1, "train/lr", 9.0), (2, "train/loss", 2.0)]
    rows += [(2, "validation/loss", 9.0), (3, "train/loss", 4.0)]
    assert mean_loss(rows, after=0, until=2) == 1.5
    assert mean_loss(rows, after=2, until=3) == 4.0
    assert mean_loss(rows, after=3, until=4) is None
    reported: list[Any] = []
    recorder = MetricsRecorder(
        truth_M=Truth(VALIDATION_TRUTH_M), evaluations=2, on_evaluation=reported.append
    )
    for step, loss in ((1, 1.0), (2, 3.0), (3, 5.0), (4, 6.0)):
        recorder.trained(step=step, total_steps=4, loss=loss, lr=0.1)
        if step % 2 == 0:
            recorder.evaluated(
                step=step,
                total_steps=4,
                predicted=Predicted(np.full(len(VALIDATION_TRUTH_M), 0.75)),
                agreement=0.5,
                loss=0.6,
                predict=lambda part: Predicted(np.zeros(0)),
            )
    assert [(e["evaluations"], e["step"], e["train_loss"]) for e in reported] == [
        (1, 2, 2.0),
        (2, 4, 5.5),
    ]
    recorder.replay()
    assert reported[2:] == reported[:2]


def test_contrast_is_of_two_classes_alone():
    found = contrast(Predicted(np.array([0.4, 0.6, 0.6, 0.4], np.float32)))
    assert found == {"spread": pytest.approx(0.1), "class_1": 0.5}
    answers = Predicted(np.array([0.9, 0.2], np.float32), answers=("a", "b"))
    assert contrast(answers) == {}
