"""The DeepSpeed engine gives the numbers of the torch engine: stages, workers, accumulation.

One group of one worker and one of two run all fits, since starting a group takes seconds.
"""

from __future__ import annotations

import pickle
import socket
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors import safe_open

from tests.learn.parity_worker import prompted, settled, worker
from tests.learn.tiny import (
    Recorder,
    data_of,
    make_gpt2,
    recipe_of,
    round_to_bf16,
    source_of,
)
from tests.support import make_model
from w2s_ray.config import (
    ConfidenceLoss,
    EarlyStopping,
    Execution,
    LoraTuning,
    ProbeTuning,
)
from w2s_ray.learn.loop import fit

pytestmark = [pytest.mark.deepspeed, pytest.mark.timeout(500)]

STOPPING = {"early_stopping": EarlyStopping(patience=3, metric="loss")}
OVERFIT = {"epochs": 8, "lr": 0.03, "schedule": "constant"}
BY_ACCURACY = {"early_stopping": EarlyStopping(patience=2)}
SHORT = {"epochs": 1}
RESUMED = {
    **{str(stage): {"zero_stage": stage} for stage in range(4)},
    **{f"{s}-offload": {"zero_stage": s, "offload": "cpu", "micro_batch": 3} for s in (2, 3)},
}
"""Layouts of which a fit is killed and goes on."""


def jobs() -> dict[str, dict[str, Any]]:
    """Every fit, by name."""
    made: dict[str, dict[str, Any]] = {}
    for stage in (0, 2, 3):
        made[f"xent-{stage}"] = {"execution": {"zero_stage": stage}}
        made[f"confidence-{stage}"] = {
            "recipe": {"loss": ConfidenceLoss()},
            "execution": {"zero_stage": stage, "micro_batch": 3},
        }
    made["uneven-1"] = {"training": SHORT, "execution": {"zero_stage": 1, "micro_batch": 1}}
    made["offload-3"] = {
        "training": SHORT,
        "execution": {"zero_stage": 3, "offload": "cpu", "micro_batch": 3},
    }
    made["bf16-3"] = {"training": {"precision": "bf16", **SHORT}, "execution": {"zero_stage": 3}}
    made["lora-3"] = {
        "training": {"tuning": LoraTuning(rank=2)},
        "recipe": STOPPING,
        "execution": {"zero_stage": 3, "activation_checkpointing": True},
    }
    for stage, held in product((1, 3), (True, False)):
        made[f"lora-bf16-{'held' if held else 'plain'}-{stage}"] = {
            "model": "gpt2-bf16",
            "training": {"precision": "bf16", "tuning": LoraTuning(rank=2), **SHORT},
            "execution": {"zero_stage": stage},
            "held": held,
        }
    for stage, precision in product((0, 3), ("fp32", "bf16")):
        made[f"prompt-{precision}-{stage}"] = {
            "prompt": precision,
            "execution": {"zero_stage": stage, "evaluation_batch": 3},
        }
    made["lora-embedding-3"] = {
        "training": {"tuning": LoraTuning(rank=2, targets=("wte", "c_attn")), **SHORT},
        "weights": "weights-lora",
        "execution": {"zero_stage": 3, "keep": "last"},
    }
    for model in ("half", "fewer", "nan", "both-sides"):
        for stage in (1, 3):
            made[f"refused-{model}-{stage}"] = {
                "model": model,
                "execution": {"zero_stage": stage},
            }
    for resumed, execution in RESUMED.items():
        job = {"recipe": STOPPING, "execution": execution}
        made[f"whole-{resumed}"] = job
        made[f"kill-{resumed}"] = {**job, "kill_at": 7}
    for stage in (2, 3):
        job = {"recipe": STOPPING, "execution": {"zero_stage": stage}}
        made[f"flip-{stage}"] = {**job, "damage": "flip"}
        made[f"diverge-{stage}"] = {**job, "damage": "diverge"}
    for stage in (0, 3):
        made[f"best-{stage}"] = {
            "training": OVERFIT,
            "recipe": BY_ACCURACY,
            "weights": f"weights-{stage}",
            "execution": {"zero_stage": stage, "keep": "best"},
        }
    forms = ("pairs", "categories", "policies", "choices")
    for form, epochs in (*((form, 2) for form in forms), ("answers", 4)):
        made[f"{form}-3"] = {
            "form": form,
            "training": {"lr": 3e-2, "epochs": epochs, "evaluations_per_epoch": 1},
            "execution": {"zero_stage": 3, "micro_batch": 3, "evaluation_batch": 8},
        }
    for stage, form in ((0, "classes"), (3, "classes"), (3, "pairs"), (3, "categories")):
        for stored in (False, True):
            made[f"probe-{form}-{stage}{'-stored' * stored}"] = {
                "form": form,
                "training": {"tuning": ProbeTuning(), "lr": 0.05, "evaluations_per_epoch": 2},
                "recipe": {"loss": ConfidenceLoss(), **STOPPING},
                "execution": {"zero_stage": stage, "micro_batch": 3, "evaluation_batch": 5},
                "stored": stored,
            }
    made["whole-probe"] = made["probe-classes-3-stored"]
    made["kill-probe"] = {**made["probe-classes-3-stored"], "kill_at": 7}
    many = {"form": "answers", "chunk": 90, "execution": {"zero_stage": 3, "micro_batch": 3}}
    lora = {"tuning": LoraTuning(rank=8, targets=("lm_head", "c_attn")), "lr": 5e-2, "epochs": 6}
    made["answers-chunks-3"] = {**many, "training": {"lr": 3e-2, "epochs": 4}}
    made["answers-lora-head-3"] = {**many, "training": lora, "model": "lm-untied"}
    made["predicts-3"] = {"execution": {"zero_stage": 3}, "predicts": True}
    for what in ("leave", "stop"):
        made[f"{what}-2"] = {"recipe": STOPPING, "execution": {"zero_stage": 2}, "asks": what}
    return {name: {"name": name, **job} for name, job in made.items()}


COMPARED = [
    name for name in jobs() if not name.startswith(("best", "refused", "diverge", "prompt"))
]
"""The fits with tame settings; overfitting ones amplify rounding, whatever the engine."""


def make_unusable(folder: Path) -> None:
    """Models that no engine may train, by what is wrong with them."""
    from safetensors.torch import load_file, save_file
    from transformers import Gemma3TextConfig, Gemma3TextModel

    for name in ("half", "fewer", "nan"):
        weights = make_gpt2(folder / name) / "model.safetensors"
        tensors = dict(sorted(load_file(weights).items()))
        if name == "half":
            tensors = dict(list(tensors.items())[::2])
        if name == "nan":
            tensors["h.1.mlp.c_fc.weight"].fill_(float("nan"))
        save_file(tensors, weights, {"format": "pt"})
    config = folder / "fewer" / "config.json"
    config.write_text(config.read_text().replace('"n_layer": 2', '"n_layer": 1'))
    shape = {"vocab_size": 40, "hidden_size": 16, "num_hidden_layers": 2, "head_dim": 8}
    shape |= {"num_attention_heads": 2, "num_key_value_heads": 2, "intermediate_size": 32}
    both = Gemma3TextConfig(**shape, use_bidirectional_attention=True)
    Gemma3TextModel(both).save_pretrained(folder / "both-sides")


def torch_fit(folder: Path, job: dict[str, Any]) -> tuple[Any, Recorder]:
    seen = Recorder()
    recipe, given = settled(folder, job)
    result = fit(recipe, observer=seen, execution=Execution(gpus_per_worker=0), **given)
    return result, seen


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[int, dict[str, Any]]]:
    import torch.multiprocessing as multiprocessing

    folder = tmp_path_factory.mktemp("deepspeed")
    make_gpt2(folder / "gpt2")
    round_to_bf16(make_gpt2(folder / "gpt2-bf16"))
    round_to_bf16(make_model(folder / "lm-bf16", seed=3))
    make_model(folder / "lm", eos=True)
    make_model(folder / "lm-untied", eos=True, tied=False)
    make_unusable(folder)
    for workers in (1, 2):
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        multiprocessing.spawn(worker, args=(workers, port, folder, jobs()), nprocs=workers)
    return folder, {
        workers: pickle.loads((folder / f"result-{workers}.pickle").read_bytes())  # noqa: S301
        for workers in (1, 2)
    }


@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize("name", COMPARED)
def test_the_same_numbers_as_the_torch_engine(name: str, workers: int, found: Any) -> None:
    folder, results = found
    job, got = jobs()[name], results[workers][name]
    result, seen = torch_fit(folder, job)
    tolerance = 1e-3 if "bf16" not in name else 1e-2
    expected = seen.losses[-len(got["losses"]) :]
    np.testing.assert_allclose(got["losses"], expected, atol=tolerance)
    for part, predictions in result.predicted.items():
        values = predictions.probabilities
        np.testing.assert_allclose(
            got["result"].predicted[part].probabilities, values, atol=10 * tolerance
        )
        assert got["result"].predicted[part].answers == predictions.answers
        least = 3 if predictions.classes is not None else 6
        assert predictions.answers is None or len(set(predictions.answers)) >= least
    ours, theirs = result, got["result"]
    assert (ours.steps, ours.best_step, ours.stopped_early, ours.tokens) == (
        theirs.steps,
        theirs.best_step,
        theirs.stopped_early,
        theirs.tokens,
    )
    assert (ours.parameters, ours.trained_parameters) == (
        theirs.parameters,
        theirs.trained_parameters,
    )


@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize("stage", [1, 3])
def test_frozen_weights_in_bf16_change_no_number(stage: int, workers: int, found: Any) -> None:
    held, plain = (found[1][workers][f"lora-bf16-{how}-{stage}"] for how in ("held", "plain"))
    assert (len(held["halves"]), len(plain["halves"])) == (8, 0)
    assert held["losses"] == plain["losses"]
    for part, told in plain["result"].predicted.items():
        assert np.array_equal(held["result"].predicted[part].probabilities, told.probabilities)


@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize("stage", [0, 3])
@pytest.mark.parametrize(("precision", "tolerance"), [("fp32", 1e-6), ("bf16", 1e-2)])
def test_prompts_have_the_answers_of_one_process(
    precision: str, tolerance: float, stage: int, workers: int, found: Any
) -> None:
    folder, results = found
    name = f"prompt-{precision}-{stage}"
    alone = prompted(folder, jobs()[name], Execution(gpus_per_worker=0))["result"]
    result = results[workers][name]["result"]
    ours, theirs = (each.predicted["validation"].probabilities for each in (alone, result))
    np.testing.assert_allclose(theirs, ours, atol=tolerance)
    assert (alone.parameters, 0) == (result.parameters, result.trained_parameters)


@pytest.mark.parametrize("workers", [1, 2])
def test_no_model_of_an_ended_fit_stays_in_memory(workers: int, found: Any) -> None:
    assert found[1][workers]["models left"] == 0


@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize("name", RESUMED)
def test_kill_and_resume(name: str, workers: int, found: Any) -> None:
    folder, results = found
    whole, got = (results[workers][f"{how}-{name}"] for how in ("whole", "kill"))
    assert 0 < len(got["losses"]) < got["result"].steps
    assert got["losses"] == whole["losses"][-len(got["losses"]) :]
    for part, predictions in whole["result"].predicted.items():
        assert np.array_equal(
            got["result"].predicted[part].probabilities, predictions.probabilities
        )
    kept = [p for p in (folder / f"kept-{workers}-kill-{name}").rglob("*") if p.is_file()]
    assert {p.suffix for p in kept} == {".pt", ".json", ".safetensors"}
    for state in (p for p in kept if p.suffix != ".json"):
        with safe_open(state, "pt") as file:
            assert file.keys()


@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize("stage", [2, 3])
def test_a_damaged_checkpoint_costs_time_and_no_result(
    stage: int, workers: int, found: Any
) -> None:
    """All workers start anew, whichever worker's file is damaged."""
    whole, got = (found[1][workers][f"{how}-{stage}"] for how in ("whole", "flip"))
    # The first worker that looks finds it; another may find that one's files removed already.
    assert any("other content" in each for each in got["damages"])
    assert got["losses"] == whole["losses"]


@pytest.mark.parametrize("stage", [2, 3])
def test_workers_with_different_checkpoints_end_the_attempt_together(
    stage: int, found: Any
) -> None:
    got = found[1][2][f"diverge-{stage}"]
    assert got["refused"].endswith("(this worker's: 6)")


@pytest.mark.parametrize("workers", [1, 2])
def test_a_probe_on_stored_activations_goes_on_from_one_state_for_all_workers(
    workers: int, found: Any
) -> None:
    folder, results = found
    whole, got = (results[workers][f"{how}-probe"] for how in ("whole", "kill"))
    assert 0 < len(got["losses"]) < got["result"].steps
    assert got["losses"] == whole["losses"][-len(got["losses"]) :]
    for part, told in whole["result"].predicted.items():
        assert np.array_equal(got["result"].predicted[part].probabilities, told.probabilities)
    kept = [p.name for p in (folder / f"kept-{workers}-kill-probe").rglob("*") if p.is_file()]
    assert set(kept) == {"loop.json", "predicted.safetensors", "state.safetensors"}


@pytest.mark.parametrize("workers", [1, 2])
def test_an_observer_may_predict_and_changes_nothing(workers: int, found: Any) -> None:
    predicting, silent = (found[1][workers][name] for name in ("predicts-3", "xent-3"))
    assert predicting["losses"] == silent["losses"]
    for part, predictions in silent["result"].predicted.items():
        values = predictions.probabilities
        assert np.array_equal(predicting["result"].predicted[part].probabilities, values)
    assert len(predicting["test"]) == 4
    assert np.array_equal(predicting["test"][-1], silent["result"].predicted["test"].probabilities)
    assert not np.array_equal(predicting["test"][0], predicting["test"][-1])


@pytest.mark.parametrize(
    ("command", "expected"),
    [("leave", ("LeaveRequested", "step")), ("stop", ("StopRequested", None))],
)
@pytest.mark.parametrize("workers", [1, 2])
def test_workers_end_together(command: str, expected: Any, workers: int, found: Any) -> None:
    got = found[1][workers][f"{command}-2"]
    name, kept = expected
    step = 2 if workers == 1 else 6  # several workers are asked at evaluations: steps 3 and 6
    assert got["ended"] == (name, step)
    assert got["kept"] == (f"step-{step}" if kept else None)
    assert len(got["losses"]) == 12 - (step if kept else 0)


@pytest.mark.parametrize("stage", [0, 3])
def test_the_best_state_is_kept(stage: int, found: Any) -> None:
    from safetensors.torch import load_file

    from w2s_ray.learn.evaluate import predict_margins, probabilities
    from w2s_ray.learn.torch_engine import TorchEngine

    folder, results = found
    got = results[2][f"best-{stage}"]["result"]
    evaluations = results[2][f"best-{stage}"]["evaluations"]
    assert got.stopped_early
    assert got.best_step < got.steps
    best = max(evaluations, key=lambda e: e[1])
    assert got.best_step == best[0]
    kept = folder / f"weights-{stage}"
    engine = TorchEngine(
        recipe_of().training,
        source=source_of(kept, "kept"),
        execution=Execution(gpus_per_worker=0),
        seed=0,
    )
    engine.model.head.load_state_dict(load_file(kept / "head.safetensors"))
    again = probabilities(predict_margins(engine, data_of().validation, batch=64))
    np.testing.assert_allclose(again, got.predicted["validation"].probabilities, atol=1e-5)
    p1, labels = got.predicted["validation"].probabilities, data_of().validation_targets_MC
    found_loss = -(labels[:, 1] * np.log(p1) + labels[:, 0] * np.log(1 - p1)).mean()
    assert found_loss == pytest.approx(best[2], abs=1e-4)


REFUSED = {
    "half": "tensors missing (h.0.",
    "fewer": "tensors unexpected (h.1.",
    "nan": "tensor h.1.mlp.c_fc.weight has NaN or infinite values",
    "both-sides": "looks at tokens on both sides",
}


@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize("stage", [1, 3])
@pytest.mark.parametrize("model", REFUSED)
def test_models_that_cannot_be_used_are_refused(
    model: str, stage: int, workers: int, found: Any
) -> None:
    assert REFUSED[model] in found[1][workers][f"refused-{model}-{stage}"]["refused"]


@pytest.mark.parametrize("workers", [1, 2])
def test_adapters_of_an_embedding_are_merged_out_of_shards(workers: int, found: Any) -> None:
    """The folder that two engines left is the same model, and not the one they began with."""
    from safetensors.torch import load_file

    folder = found[0]
    job = jobs()["lora-embedding-3"]
    recipe, given = settled(folder, job)
    execution = Execution(gpus_per_worker=0, keep="last")
    weights = folder / f"weights-torch-{workers}"
    fit(recipe, observer=Recorder(), execution=execution, weights=weights, **given)
    theirs, ours, first = (
        load_file(folder / name / "model.safetensors")
        for name in ("weights-lora", weights.name, "gpt2")
    )
    assert theirs.keys() == ours.keys() == first.keys()
    for name, value in ours.items():
        np.testing.assert_allclose(theirs[name], value, atol=1e-3)
    for name in ("wte.weight", "h.0.attn.c_attn.weight"):
        assert not np.allclose(ours[name], first[name], atol=1e-3)
