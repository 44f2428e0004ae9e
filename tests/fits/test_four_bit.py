"""A base in 4 bits in a sweep: its probes, their activations in the store, and its id."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

pytest.importorskip("bitsandbytes", reason="the extra quantized is not installed")

from tests.support import NoCheckpoints, make_model, make_task
from w2s_ray.config import FitRecipe, LoraTuning, ProbeTuning, parse_sweep
from w2s_ray.config import tuning as tuning_module
from w2s_ray.errors import InputError
from w2s_ray.fits.train_fit import FitTraining
from w2s_ray.learn.inference import Inference
from w2s_ray.plan import Plan
from w2s_ray.plan.tuned import check_packages
from w2s_ray.prepare import materialize, plan_sweep
from w2s_ray.store import Store

HALF, VALIDATION, TEST = 48, 32, 40
SWEEP = """
name: probes
task: {{name: words, path: {folder}/task.csv, columns: {{text: text, label: label}}, train: 96,
  validation: 32, test: 40}}
models: [{folder}/a, {folder}/b]
training: {{batch_size: 16, epochs: 2, lr: 5.0e-2, max_tokens: 32, tuning: {tuning}}}
execution: {{gpus_per_worker: 0}}
methods: {methods}
search: {{trials: 2}}
"""


def planned(folder: Path, tuning: object, methods: str = "{naive: {}}") -> Plan:
    text = SWEEP.format(folder=folder, tuning=json.dumps(tuning), methods=methods)
    return plan_sweep(parse_sweep(text))


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("W2S_CACHE", str(tmp_path / "cache"))
    make_task(tmp_path / "task.csv")
    for seed, name in enumerate("ab"):
        make_model(tmp_path / name, seed=seed)
    return tmp_path


def recipes(plan: Plan) -> list[FitRecipe]:
    return [fit.recipe for fit in plan.fits.values()]


def test_activations_of_a_base_in_4_bits_are_kept_apart(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[int] = []
    activations = Inference.activations

    def counted(engine: Inference, *inputs: object) -> object:
        read.append(len(inputs[1]))  # pyright: ignore
        return activations(engine, *inputs)

    monkeypatch.setattr(Inference, "activations", counted)
    store = Store.open(folder / "results")
    every = 2 * HALF + VALIDATION + TEST
    predicted = {}
    for base, passes in ((None, 1), ("nf4", 2), ("nf4", 2)):
        plan = planned(folder, {"kind": "probe", **({"base": base} if base else {})})
        materialize(plan, store)
        fit = next(f for f in plan.fits.values() if "supervisor" in f.roles)
        record = FitTraining(fit).run(store, checkpoints=NoCheckpoints())
        assert record.status == "done", record.traceback
        assert sum(read) == passes * every
        predicted[base] = store.predictions(fit.id).column("probability").to_pylist()
    assert predicted["nf4"] != predicted[None]


def test_only_a_base_that_is_set_is_part_of_an_id(folder: Path) -> None:
    for kind in (LoraTuning, ProbeTuning):
        assert "base" not in kind().model_dump()
        assert kind(base="nf4").model_dump()["base"] == "nf4"
    plain, four = (planned(folder, {"kind": "lora", **more}) for more in ({}, {"base": "nf4"}))
    assert plain.fits.keys() == planned(folder, {"kind": "lora", "base": None}).fits.keys()
    assert plain.fits.keys().isdisjoint(four.fits)


@pytest.mark.parametrize("of", ["student", "pretrained"])
def test_a_linear_probe_reads_the_base_of_its_student(of: str, folder: Path) -> None:
    stage = f"{{one: {{stages: [{{kind: linear_probe, of: {of}}}]}}}}"
    plan = planned(folder, {"kind": "lora", "base": "nf4"}, stage)
    probes = [r.training.tuning for r in recipes(plan) if r.training.tuning.kind == "probe"]
    assert probes == [ProbeTuning(base="nf4")]


@pytest.mark.parametrize(
    ("tuning", "methods"),
    [
        ({"kind": "probe", "base": "nf4"}, "{naive: {}}"),
        (
            {"kind": "lora"},
            "{one: {search: {training.tuning: {one_of: [{kind: full}, {kind: lora, base: nf4}]}}}}",
        ),
        ({"kind": "lora"}, "{one: {search: {training.tuning.base: {choice: [null, nf4]}}}}"),
    ],
    ids=["set", "of a kind", "searched"],
)
def test_a_missing_package_is_an_error_before_anything_starts(
    tuning: object, methods: str, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = planned(folder, tuning, methods)
    check_packages(plan)
    monkeypatch.setattr(tuning_module, "find_spec", lambda name: None)
    with pytest.raises(InputError, match="nf4 needs the package bitsandbytes, which is missing"):
        check_packages(plan)
    check_packages(planned(folder, {"kind": "lora"}))
