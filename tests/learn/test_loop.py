"""The loop on the torch engine: learning, resuming, stopping, failing."""

from __future__ import annotations

import json
import math
import pickle
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from tests.learn.tiny import CommandAt, Recorder, data_of, recipe_of, source_of
from w2s_ray.config import (
    ConfidenceLoss,
    ConfidenceReferenceLoss,
    EarlyStopping,
    Execution,
    FitRecipe,
    LoraTuning,
    ModelSource,
    XentLoss,
)
from w2s_ray.learn import loop
from w2s_ray.learn.checkpoints import FolderCheckpoints
from w2s_ray.learn.contract import FitResult, LeaveRequested, NonFiniteLoss, StopRequested
from w2s_ray.learn.evaluate import agreement, cross_entropy, predict_margins, probabilities
from w2s_ray.learn.forms.classes import ClassData
from w2s_ray.learn.loop import fit
from w2s_ray.learn.torch_engine import TorchEngine
from w2s_ray.store import Store
from w2s_ray.store.checkpoints import StoredCheckpoints

ONE = Execution(gpus_per_worker=0, checkpoint_every_s=0, evaluation_batch=8)


def run(recipe: FitRecipe, source: ModelSource, **more: Any) -> tuple[Any, Recorder]:
    observer = more.pop("observer", None) or Recorder()
    given = {"data": data_of(), "execution": ONE, **more}
    return fit(recipe, source=source, observer=observer, **given), observer


def assert_same(one: FitResult, other: FitResult) -> None:
    """Two results that are equal to the bit, whatever time they took."""
    ours, theirs = ({k: v for k, v in vars(r).items() if k != "seconds"} for r in (one, other))
    parts = [
        {part: predictions.probabilities for part, predictions in both.pop("predicted").items()}
        for both in (ours, theirs)
    ]
    assert ours == theirs
    assert parts[0].keys() == parts[1].keys()
    for part, values in parts[0].items():
        assert np.array_equal(values, parts[1][part])


@pytest.mark.parametrize("kind", ["gpt2", "bert"])
def test_a_fit_learns_and_reports(kind: str, request: pytest.FixtureRequest) -> None:
    result, seen = run(recipe_of({"epochs": 6}), request.getfixturevalue(kind))
    assert seen.losses[0] == pytest.approx(math.log(2), abs=1e-6)
    assert result.steps == result.total_steps == result.best_step == len(seen.losses) == 36
    assert not result.stopped_early
    assert seen.evaluations[-1]["agreement"] > 0.8
    assert [e["step"] for e in seen.evaluations][:2] == [3, 6]
    assert result.tokens == result.planned_tokens == 6 * len(data_of().train.values)
    validation, test = (len(data_of().part(name).values) for name in ("validation", "test"))
    assert result.evaluated_tokens == 12 * validation + test
    assert result.train_loss == seen.losses[-1]
    assert result.parameters == result.trained_parameters
    found = {part: predictions.probabilities for part, predictions in result.predicted.items()}
    assert {part: (len(p), p.dtype) for part, p in found.items()} == {
        "validation": (21, np.float32),
        "test": (17, np.float32),
    }
    assert np.array_equal(found["validation"], seen.evaluations[-1]["probabilities"])


@pytest.mark.parametrize(
    "loss",
    [XentLoss(), ConfidenceLoss(), ConfidenceLoss(window=20), ConfidenceReferenceLoss()],
    ids=repr,
)
@pytest.mark.parametrize("micro_batch", [3, 1])
def test_micro_batches_change_no_numbers(loss: Any, micro_batch: int, gpt2: ModelSource) -> None:
    recipe = recipe_of(loss=loss)
    whole, whole_seen = run(recipe, gpt2)
    split, split_seen = run(
        recipe,
        gpt2,
        execution=Execution(micro_batch=micro_batch, evaluation_batch=5, gpus_per_worker=0),
    )
    np.testing.assert_allclose(split_seen.losses, whole_seen.losses, atol=1e-4)
    np.testing.assert_allclose(
        split.predicted["test"].probabilities, whole.predicted["test"].probabilities, atol=1e-3
    )


def test_a_window_of_predictions_reaches_back_over_batches(gpt2: ModelSource) -> None:
    """Batches of 8: a threshold over 8 predictions is the batch's own, one over 20 is not."""
    _, alone = run(recipe_of(loss=ConfidenceLoss()), gpt2)
    _, same = run(recipe_of(loss=ConfidenceLoss(window=8)), gpt2)
    _, wider = run(recipe_of(loss=ConfidenceLoss(window=20)), gpt2)
    assert alone.losses[:5] == same.losses[:5]
    assert alone.losses[0] == wider.losses[0]
    assert alone.losses[:5] != wider.losses[:5]


@pytest.mark.parametrize("stop_after", [4, 7, 11])
@pytest.mark.parametrize("tuning", [{}, {"tuning": LoraTuning(rank=2)}], ids=["full", "lora"])
def test_kill_and_resume_gives_the_same_bits(
    stop_after: int, tuning: dict[str, Any], gpt2: ModelSource, tmp_path: Path
) -> None:
    recipe = recipe_of(
        tuning,
        loss=ConfidenceLoss(window=20),
        early_stopping=EarlyStopping(patience=4, metric="loss"),
    )
    straight, straight_seen = run(recipe, gpt2)
    kept = FolderCheckpoints(tmp_path, every_s=0)
    with pytest.raises(KeyboardInterrupt):
        run(recipe, gpt2, checkpoints=kept, observer=Recorder(stop_after))
    assert kept.latest() is not None
    resumed, resumed_seen = run(recipe, gpt2, checkpoints=FolderCheckpoints(tmp_path, every_s=0))
    assert resumed_seen.losses == straight_seen.losses[-len(resumed_seen.losses) :]
    assert len(resumed_seen.losses) < len(straight_seen.losses)
    assert_same(resumed, straight)


@pytest.mark.parametrize("at", [1, 5, 6, 12])
def test_a_fit_that_left_goes_on_to_the_same_bits(
    at: int, gpt2: ModelSource, tmp_path: Path
) -> None:
    recipe = recipe_of(early_stopping=EarlyStopping(patience=4, metric="loss"))
    straight, straight_seen = run(recipe, gpt2)
    kept = FolderCheckpoints(tmp_path, every_s=10_000)
    seen = Recorder()
    with pytest.raises(LeaveRequested) as caught:
        run(recipe, gpt2, checkpoints=kept, control=CommandAt("leave", at=at), observer=seen)
    assert (caught.value.step, caught.value.total_steps) == (at, 12) == (len(seen.losses), 12)
    assert kept.latest() == tmp_path / f"step-{at}"
    resumed, resumed_seen = run(recipe, gpt2, checkpoints=kept)
    assert seen.losses + resumed_seen.losses == straight_seen.losses
    assert_same(resumed, straight)


def test_a_fit_that_leaves_without_checkpoints_just_ends(gpt2: ModelSource) -> None:
    with pytest.raises(LeaveRequested, match="left its machine after step 3 of 12"):
        run(recipe_of(), gpt2, control=CommandAt("leave", at=3))


def test_a_stopped_fit_leaves_no_checkpoint_even_if_one_is_due(
    gpt2: ModelSource, tmp_path: Path
) -> None:
    kept, seen = FolderCheckpoints(tmp_path, every_s=0), Recorder()
    with pytest.raises(StopRequested) as caught:
        run(recipe_of(), gpt2, checkpoints=kept, control=CommandAt("stop", at=3), observer=seen)
    assert caught.value.step == 3 == seen.evaluations[-1]["step"]
    assert kept.latest() is None


def test_a_control_that_returns_go_changes_nothing(gpt2: ModelSource) -> None:
    control = CommandAt("stop", at=13)
    stopped, seen = run(recipe_of(), gpt2, control=control)
    straight, straight_seen = run(recipe_of(), gpt2)
    assert (control.calls, seen.losses) == (12, straight_seen.losses)
    assert_same(stopped, straight)


@pytest.mark.parametrize("ended", [StopRequested(3, 12), LeaveRequested(3, 12)])
def test_an_asked_for_end_travels(ended: Exception) -> None:
    back = pickle.loads(pickle.dumps(ended))  # noqa: S301
    assert (type(back), vars(back), str(back)) == (type(ended), vars(ended), str(ended))


class Counting(TorchEngine):
    """Counts the rows of passes without gradients."""

    rows = 0

    def forward(self, input_ids_BL: Any, lengths_B: Any) -> Any:
        if not torch.is_grad_enabled():
            Counting.rows += len(lengths_B)
        return super().forward(input_ids_BL, lengths_B)


@pytest.mark.parametrize(
    "stopping",
    [
        None,
        EarlyStopping(patience=8, metric="loss"),
        EarlyStopping(patience=2, metric="loss", min_delta=0.5),
    ],
    ids=["none", "patient", "restored"],
)
def test_validation_is_predicted_once_for_each_evaluation(
    stopping: EarlyStopping | None, gpt2: ModelSource
) -> None:
    Counting.rows = 0
    result, seen = run(recipe_of({"epochs": 4}, early_stopping=stopping), gpt2, engine=Counting)
    assert Counting.rows == 21 * len(seen.evaluations) + 17
    restored = next(e for e in seen.evaluations if e["step"] == result.best_step)
    assert np.array_equal(result.predicted["validation"].probabilities, restored["probabilities"])
    assert (result.validation_agreement, result.validation_loss) == (
        restored["agreement"],
        restored["loss"],
    )


def test_a_resumed_fit_predicts_nothing_twice(gpt2: ModelSource, tmp_path: Path) -> None:
    recipe = recipe_of(
        {"epochs": 4}, early_stopping=EarlyStopping(patience=3, metric="loss", min_delta=0.5)
    )
    kept = FolderCheckpoints(tmp_path, every_s=0)
    straight, _ = run(recipe, gpt2)
    assert straight.best_step == 3
    with pytest.raises(LeaveRequested):
        run(recipe, gpt2, checkpoints=kept, control=CommandAt("leave", at=11))
    Counting.rows = 0
    resumed, seen = run(recipe, gpt2, checkpoints=kept, engine=Counting)
    assert Counting.rows == 21 * len(seen.evaluations) + 17
    assert_same(resumed, straight)


def test_reused_predictions_are_those_of_the_kept_weights(
    gpt2: ModelSource, tmp_path: Path
) -> None:
    from safetensors.torch import load_file

    recipe = recipe_of(
        {"epochs": 4}, early_stopping=EarlyStopping(patience=2, metric="loss", min_delta=0.5)
    )
    execution = ONE.model_copy(update={"keep": "best"})
    result, _ = run(recipe, gpt2, execution=execution, weights=tmp_path)
    engine = TorchEngine(recipe.training, source=source_of(tmp_path, "kept"), execution=ONE, seed=0)
    engine.model.head.load_state_dict(load_file(tmp_path / "head.safetensors"))
    for part, rows in data_of().predict.items():
        again = probabilities(predict_margins(engine, rows, batch=8))
        assert np.array_equal(again, result.predicted[part].probabilities)


def test_the_seconds_of_a_resumed_fit_include_those_before(
    gpt2: ModelSource, tmp_path: Path
) -> None:
    kept = FolderCheckpoints(tmp_path, every_s=1000)
    with pytest.raises(LeaveRequested):
        run(recipe_of(), gpt2, checkpoints=kept, control=CommandAt("leave", at=5))
    (state,) = tmp_path.glob("step-*/loop.json")
    content = json.loads(state.read_text())
    assert 0 < content["seconds"] < 1000
    state.write_text(json.dumps(content | {"seconds": 1000.0}))
    resumed, _ = run(recipe_of(), gpt2, checkpoints=kept)
    assert resumed.seconds > 1000


def test_resuming_a_finished_fit_trains_nothing(gpt2: ModelSource, tmp_path: Path) -> None:
    kept = FolderCheckpoints(tmp_path, every_s=0)
    first, _ = run(recipe_of(), gpt2, checkpoints=kept)
    second, seen = run(recipe_of(), gpt2, checkpoints=kept)
    assert seen.losses == []
    assert np.array_equal(
        first.predicted["test"].probabilities, second.predicted["test"].probabilities
    )
    assert [path.name for path in tmp_path.iterdir()] == ["step-12"]
    assert not [p for p in tmp_path.rglob("*") if p.suffix in (".pt", ".bin", ".pkl")]


def test_a_checkpoint_of_another_fit_is_refused(gpt2: ModelSource, tmp_path: Path) -> None:
    kept = FolderCheckpoints(tmp_path, every_s=0)
    run(recipe_of(), gpt2, checkpoints=kept)
    with pytest.raises(ValueError, match="belongs to fit"):
        run(recipe_of(seed=1), gpt2, checkpoints=kept)


def test_an_unfinished_checkpoint_is_not_seen(tmp_path: Path) -> None:
    kept = FolderCheckpoints(tmp_path, every_s=100)

    def fail(folder: Path) -> None:
        (folder / "half").write_text("x")
        raise OSError("disk full")

    kept.save(3, lambda folder: (folder / "whole").touch())
    with pytest.raises(OSError, match="disk full"):
        kept.save(10, fail)
    assert kept.latest() == tmp_path / "step-3"
    assert not kept.due()


def test_early_stopping_restores_the_best_state(gpt2: ModelSource) -> None:
    recipe = recipe_of(
        {"epochs": 12, "lr": 0.05, "schedule": "constant"},
        early_stopping=EarlyStopping(patience=3, metric="loss"),
    )
    result, seen = run(recipe, gpt2)
    losses = [e["loss"] for e in seen.evaluations]
    best = int(np.argmin(losses))
    assert result.stopped_early
    assert result.steps < result.total_steps
    assert len(losses) == best + 1 + 3
    assert result.tokens < result.planned_tokens == 12 * len(data_of().train.values)
    assert result.best_step == seen.evaluations[best]["step"] < result.steps
    assert np.array_equal(
        result.predicted["validation"].probabilities, seen.evaluations[best]["probabilities"]
    )


@pytest.mark.parametrize("keep", ["best", "last"])
def test_kept_weights_are_the_best_or_the_last(
    keep: Any, gpt2: ModelSource, tmp_path: Path
) -> None:
    from safetensors.torch import load_file

    recipe = recipe_of(
        {"epochs": 12, "lr": 0.05, "schedule": "constant"},
        early_stopping=EarlyStopping(patience=3, metric="loss"),
    )
    execution = ONE.model_copy(update={"keep": keep})
    _, seen = run(recipe, gpt2, execution=execution, weights=tmp_path)
    engine = TorchEngine(recipe.training, source=source_of(tmp_path, "kept"), execution=ONE, seed=0)
    engine.model.head.load_state_dict(load_file(tmp_path / "head.safetensors"))
    found = probabilities(predict_margins(engine, data_of().validation, batch=8))
    by_loss = sorted(seen.evaluations, key=lambda e: e["loss"])
    expected = by_loss[0] if keep == "best" else seen.evaluations[-1]
    np.testing.assert_allclose(found, expected["probabilities"], atol=1e-6)


def test_keeping_weights_needs_a_folder(gpt2: ModelSource) -> None:
    with pytest.raises(ValueError, match="name the folder"):
        run(recipe_of(), gpt2, execution=Execution(keep="best"))


class Poisoned(TorchEngine):
    """Gives a NaN in forward pass number 5."""

    passes = 0

    def forward(self, input_ids_BL: Any, lengths_B: Any) -> Any:
        logits = super().forward(input_ids_BL, lengths_B)
        self.passes += 1
        return logits * math.nan if self.passes == 5 else logits


def test_a_nan_names_its_step(gpt2: ModelSource) -> None:
    recipe = recipe_of({"evaluations_per_epoch": 1})
    with pytest.raises(NonFiniteLoss, match="loss is nan at step 5;") as caught:
        run(recipe, gpt2, engine=Poisoned)
    assert caught.value.step == 5


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_precision(precision: str, gpt2: ModelSource) -> None:
    result, seen = run(recipe_of({"epochs": 6, "precision": precision}), gpt2)
    assert seen.evaluations[-1]["agreement"] > 0.8
    assert result.predicted["test"].probabilities.dtype == np.float32


def test_a_learning_rate_of_our_schedule_is_used(gpt2: ModelSource) -> None:
    _, seen = run(recipe_of({"schedule": "linear", "lr": 1e-3}), gpt2)
    np.testing.assert_allclose(seen.rates, [1e-3 * (1 - i / 12) for i in range(12)])


def test_a_seed_changes_the_order_only(gpt2: ModelSource) -> None:
    _, one = run(recipe_of(), gpt2)
    _, same = run(recipe_of(), gpt2)
    _, other = run(recipe_of(seed=1), gpt2)
    assert one.losses == same.losses != other.losses


def test_without_validation_nothing_is_evaluated(gpt2: ModelSource) -> None:
    whole = data_of()
    data = ClassData(
        train=whole.train,
        train_targets_NC=whole.train_targets_NC,
        validation=whole.validation.take([]),
        validation_targets_MC=np.zeros((0, 2), np.float32),
    )
    result, seen = run(recipe_of(), gpt2, data=data)
    assert seen.evaluations == []
    assert (result.steps, result.predicted) == (12, {})
    assert (result.validation_agreement, result.validation_loss) == (None, None)
    with pytest.raises(ValueError, match="needs validation rows"):
        run(recipe_of(early_stopping=EarlyStopping()), gpt2, data=data)


def test_targets_must_be_distributions() -> None:
    whole = data_of()
    wrong = whole.train_targets_NC.copy()
    wrong[7] = [0.5, 0.9]
    with pytest.raises(ValueError, match="train target 7"):
        ClassData(
            train=whole.train,
            train_targets_NC=wrong,
            validation=whole.validation,
            validation_targets_MC=whole.validation_targets_MC,
        )


def test_metrics_of_margins() -> None:
    margins = np.array([-50.0, 0.0, 2.0, 800.0], dtype=np.float32)
    labels = np.array([[1, 0], [0.4, 0.6], [0.2, 0.8], [0, 1]], dtype=np.float32)
    p = np.array([0.0, 0.5, 1 / (1 + math.exp(-2)), 1.0])
    np.testing.assert_allclose(probabilities(margins), p, atol=1e-7)
    assert agreement(margins, labels) == 0.75
    third = -0.8 * math.log(p[2]) - 0.2 * math.log(1 - p[2])
    assert cross_entropy(margins, labels) == pytest.approx((math.log(2) + third) / 4)


def test_importing_the_package_loads_nothing_heavy_and_the_loop_no_ray() -> None:
    code = (
        "import sys, json, w2s_ray.learn; light = sorted(sys.modules); import w2s_ray.learn.loop,"
        " w2s_ray.learn.torch_engine, w2s_ray.learn.deepspeed_engine;"
        "print(json.dumps([[m for m in ('torch', 'transformers', 'numpy') if m in light],"
        "[m for m in ('ray', 'deepspeed', 'w2s_ray.store', 'w2s_ray.plan') if m in sys.modules]]))"
    )
    root = Path(__file__).parents[2]
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=root
    )
    assert json.loads(done.stdout) == [[], []]


@pytest.mark.parametrize("file", ["state.safetensors", "loop.json", "predicted.safetensors", ""])
@pytest.mark.parametrize("damage", ["flipped", "cut"])
def test_a_damaged_checkpoint_costs_time_and_no_result(
    file: str, damage: str, gpt2: ModelSource, tmp_path: Path
) -> None:
    """Whatever file it is; without a name, the marker."""
    recipe, store = recipe_of(), Store.open(tmp_path / "store")

    def kept() -> StoredCheckpoints:
        return StoredCheckpoints(store, "fit", "torch", every_s=0, spool=tmp_path / "spool")

    straight, _ = run(recipe, gpt2)
    first = kept()
    with pytest.raises(LeaveRequested):
        run(recipe, gpt2, checkpoints=first, control=CommandAt("leave", at=5))
    first.close()
    (path,) = (p for p in store.files.find("work/fit") if p.endswith(file or ".done"))
    data = store.files.read(path)
    middle = len(data) // 2
    flipped = data[:middle] + bytes([data[middle] ^ 1]) + data[middle + 1 :]
    store.files.write(path, flipped if damage == "flipped" else data[:middle])
    again, seen = run(recipe, gpt2, checkpoints=kept())
    assert len(seen.losses) == again.steps, "it was trained from the start"
    assert_same(again, straight)


FINISHED = EarlyStopping(patience=2, metric="loss", min_delta=0.5, finish_schedule=True)
STOPPED = EarlyStopping(patience=2, metric="loss", min_delta=0.5)


def test_training_goes_on_after_an_early_stop_with_the_same_result(
    gpt2: ModelSource, tmp_path: Path
) -> None:
    folders = [tmp_path / name for name in ("stopped", "finished")]
    keeping = ONE.model_copy(update={"keep": "last"})
    (stopped, seen), (finished, seen_to_the_end) = (
        run(
            recipe_of({"epochs": 4}, early_stopping=stopping),
            gpt2,
            weights=folder,
            execution=keeping,
        )
        for stopping, folder in zip((STOPPED, FINISHED), folders, strict=True)
    )
    assert stopped.stopped_early
    assert (stopped.steps, finished.steps, finished.stopped_early) == (
        stopped.stopping_step,
        24,
        False,
    )
    assert finished.stopping_step == stopped.stopping_step
    assert finished.best_step == stopped.best_step
    assert len(seen_to_the_end.evaluations) == 8 > len(seen.evaluations)
    assert seen_to_the_end.losses[: len(seen.losses)] == seen.losses
    for part, predictions in stopped.predicted.items():
        assert np.array_equal(predictions.probabilities, finished.predicted[part].probabilities)
    assert finished.validation_loss == stopped.validation_loss
    one, other = (load_file(folder / "model.safetensors") for folder in folders)
    assert all(torch.equal(one[name], other[name]) for name in one)


@pytest.mark.parametrize("stop_after", [4, 10, 20])
def test_training_after_the_stop_resumes_to_the_same_bits(
    stop_after: int, gpt2: ModelSource, tmp_path: Path
) -> None:
    recipe = recipe_of({"epochs": 4}, early_stopping=FINISHED)
    straight, _ = run(recipe, gpt2)
    kept = FolderCheckpoints(tmp_path, every_s=0)
    with pytest.raises(KeyboardInterrupt):
        run(recipe, gpt2, checkpoints=kept, observer=Recorder(stop_after))
    resumed, _ = run(recipe, gpt2, checkpoints=FolderCheckpoints(tmp_path, every_s=0))
    assert_same(resumed, straight)


def test_a_divergence_after_the_stop_does_not_touch_the_result(
    gpt2: ModelSource, monkeypatch: pytest.MonkeyPatch
) -> None:
    straight, _ = run(recipe_of({"epochs": 4}, early_stopping=STOPPED), gpt2)
    original = loop.optimizer_step

    def diverging(*args: Any, step: int, **named: Any) -> torch.Tensor:
        loss = original(*args, step=step, **named)
        return torch.full_like(loss, math.nan) if step >= straight.steps else loss

    monkeypatch.setattr(loop, "optimizer_step", diverging)
    result, _ = run(recipe_of({"epochs": 4}, early_stopping=FINISHED), gpt2)
    assert result.stopped_early  # before the schedule's end, so the oracle stop is a lower bound
    for part, predictions in straight.predicted.items():
        assert np.array_equal(predictions.probabilities, result.predicted[part].probabilities)


def test_finishing_the_schedule_is_part_of_an_id_only_where_it_is_set() -> None:
    plain = recipe_of(early_stopping=STOPPED)
    assert "finish_schedule" not in json.dumps(plain.model_dump(mode="json"))
    assert recipe_of(early_stopping=FINISHED).run_id != plain.run_id
