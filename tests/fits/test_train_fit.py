"""The result of `FitTraining`: failures become records, commands to end do not."""

from __future__ import annotations

import errno
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.learn.tiny import recipe_of, source_of
from tests.support import NoCheckpoints, make_model
from w2s_ray.config import Execution, LoraTuning, LpFtTuning, ProbeTuning, parse_sweep
from w2s_ray.fits.train_fit import FitTraining
from w2s_ray.learn.contract import FitResult, LeaveRequested, StopRequested
from w2s_ray.plan import PlannedFit
from w2s_ray.prepare import materialize, plan_sweep
from w2s_ray.store import Store

TF32 = """
name: tf32
task: {{name: mine, path: {folder}/d.csv, columns: {{text: text, label: label}},
        train: 40, validation: 10, test: 10}}
models: [{folder}/m, {folder}/m2]
training: {{batch_size: 8, epochs: 1, precision: {precision}}}
methods: {{naive: {{}}}}
"""


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store.open(tmp_path)


def a_training(raised: Exception) -> FitTraining:
    class Ending(FitTraining):
        def _train(self, store: Store, checkpoints: Any) -> Any:
            raise raised

    recipe = recipe_of()
    fit = PlannedFit(
        id=recipe.run_id,
        recipe=recipe,
        source=source_of(Path("nowhere"), "tiny"),
        execution=Execution(),
        task="task",
        roles=("student",),
    )
    return Ending(fit)


@pytest.mark.parametrize("ended", [StopRequested(3, 12), LeaveRequested(3, 12)])
def test_a_stop_command_reaches_the_caller_and_leaves_no_record(ended: Exception, store: Store):
    training = a_training(ended)
    with pytest.raises(type(ended)):
        training.run(store, checkpoints=None)
    assert store.attempts(training.fit.id) == []


def test_a_failure_becomes_a_record_with_its_cause(store: Store):
    record = a_training(OSError(errno.ENOSPC, "disk full")).run(store, checkpoints=None)
    assert (record.status, record.cause) == ("failed", "disk_full")
    assert record.reason == "OSError: [Errno 28] disk full"
    assert "raise raised" in str(record.traceback)
    assert store.attempts(record.id) == []


def test_earlier_attempts_are_counted_by_cause(store: Store):
    training = a_training(MemoryError())
    for _ in range(2):
        store.write_attempt(training.run(store, checkpoints=None))
    third = training.run(store, checkpoints=None)
    assert (third.attempts, third.retries) == (3, {"out_of_memory": 2})


@pytest.mark.parametrize(
    ("tuning", "per_token"), [(LoraTuning(), 420), (ProbeTuning(), 240), (LpFtTuning(), 420)]
)
def test_a_fits_figures_hold_its_flops(tuning, per_token):
    from w2s_ray.fits.train_fit import _flops

    result = FitResult(
        predicted={},
        losses={},
        steps=1,
        total_steps=2,
        best_step=1,
        stopped_early=True,
        validation_agreement=None,
        validation_loss=None,
        train_loss=0.5,
        parameters=100,
        trained_parameters=10,
        tokens=7,
        planned_tokens=14,
        evaluated_tokens=5,
    )
    assert _flops(result, recipe_of({"tuning": tuning})) == {
        "training_flops": per_token * 7,
        "planned_training_flops": per_token * 14,
        "evaluation_flops": 200 * 5,
    }


def test_tf32_lasts_for_its_fit_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("W2S_CACHE", str(tmp_path / "cache"))
    rows = [f"text {i},{i % 2}" for i in range(80)]
    (tmp_path / "d.csv").write_text("\n".join(["text,label", *rows]))
    make_model(tmp_path / "m")
    make_model(tmp_path / "m2", seed=1)
    seen = []
    for precision in ("tf32", "fp32"):
        sweep = parse_sweep(TF32.format(folder=tmp_path, precision=precision))
        store = Store.open(tmp_path / precision)
        plan = plan_sweep(sweep, store=store)
        materialize(plan, store)
        fit = next(fit for fit in plan.fits.values() if "supervisor" in fit.roles)
        record = FitTraining(fit).run(store, checkpoints=NoCheckpoints())
        assert record.status == "done", record.traceback
        cuda = torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32
        seen.append((record.id, *cuda))
    (first, *during), (second, *after) = seen
    assert (during, after) == ([True, True], [False, False])
    assert first != second, "the precision is part of a run's id"
