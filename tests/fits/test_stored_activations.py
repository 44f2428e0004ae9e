"""Frozen backbones are read once: by all trials, seeds and methods, and by processes side by side.

Fits run one by one in this process, without Ray; rows that a backbone reads are counted.
"""

from __future__ import annotations

import logging
import multiprocessing
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.support import NoCheckpoints, make_model, make_task
from w2s_ray.config import Execution, FullTuning, parse_sweep
from w2s_ray.data.cache import cache_folder
from w2s_ray.fits import stored_activations as module
from w2s_ray.fits.forms import form_of
from w2s_ray.fits.labels import SplitRows
from w2s_ray.fits.stored_activations import stored_activations
from w2s_ray.fits.train_fit import FitTraining
from w2s_ray.learn.activations import Activations
from w2s_ray.learn.contract import Command, LeaveRequested, StopRequested
from w2s_ray.learn.inference import Inference
from w2s_ray.learn.rows import ActivationRows
from w2s_ray.plan import Plan, PlannedFit
from w2s_ray.prepare import materialize, plan_sweep
from w2s_ray.store import Record, Store
from w2s_ray.store.leases import Claim, Holder, Leases

SPAWN = multiprocessing.get_context("spawn")
CPU = Execution(gpus_per_worker=0)
HALF, VALIDATION, TEST = 48, 32, 40
SWEEP = """
name: probes
task: {{name: words, path: {folder}/task.csv, columns: {{text: text, label: label}}, train: 96,
  validation: 32, test: 40}}
models: [{folder}/a, {folder}/b]
seeds: [0, 1]
training: {{batch_size: 16, epochs: 3, lr: 5.0e-2, max_tokens: 32, tuning: {{kind: probe}}}}
execution: {{gpus_per_worker: 0}}
methods:
  naive: {{}}
  before: {{stages: [{{kind: linear_probe, of: pretrained}}]}}
  after: {{training: {{tuning: {{kind: full}}}}, stages: [{{kind: linear_probe, of: student}}]}}
  filter: {{stages: [{{kind: filter, by: {{kind: topofilter, k: 5}}}}]}}
  full: {{training: {{tuning: {{kind: full}}}}, stages: [{{kind: relabel}}]}}
  adversarial: {{stages: [{{kind: simulated, errors: {{kind: adversarial}}}}]}}
  searched:
    search: {{training.lr: {{loguniform: [1.0e-3, 1.0e-1]}},
             loss: {{one_of: [{{kind: xent}}, {{kind: confidence}}]}}}}
search: {{trials: 3}}
"""


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("W2S_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(module, "POLL_S", 0.01)


@pytest.fixture
def planned(tmp_path: Path) -> tuple[Plan, Store]:
    return planned_in(tmp_path, SWEEP, models="ab")


def planned_in(folder: Path, sweep: str, *, models: str) -> tuple[Plan, Store]:
    """A sweep on a small task and models of these names, all of them in `folder`."""
    make_task(folder / "task.csv")
    for seed, name in enumerate(models):
        make_model(folder / name, seed=seed)
    store = Store.open(folder / "results")
    plan = plan_sweep(parse_sweep(sweep.format(folder=folder)), store=store)
    materialize(plan, store)
    return plan, store


@pytest.fixture
def read(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, int]]:
    """Model's folder name, and rows, of each pass of a backbone without a head."""
    seen: list[tuple[str, int]] = []
    activations = Inference.activations

    def counted(engine: Inference, *inputs: Any) -> Any:
        seen.append((str(engine.model.backbone.config._name_or_path), len(inputs[1])))
        return activations(engine, *inputs)

    monkeypatch.setattr(Inference, "activations", counted)
    return seen


def run(fit: PlannedFit, store: Store) -> Record:
    record = FitTraining(fit).run(store, checkpoints=NoCheckpoints())
    assert record.status == "done", f"{fit.description}: {record.traceback}"
    return record


def rows_of(read: list[tuple[str, int]], model: str) -> int:
    return sum(rows for name, rows in read if Path(name).name == model)


def supervisor_of(plan: Plan) -> PlannedFit:
    return next(f for f in plan.fits.values() if "supervisor" in f.roles and f.recipe.seed == 0)


def fits_of(plan: Plan, *methods: str) -> list[PlannedFit]:
    return [fit for fit in plan.fits.values() if set(fit.methods) & set(methods)]


def test_each_backbone_reads_each_row_once_for_all_fits_and_trials(
    planned: tuple[Plan, Store], read: list[tuple[str, int]]
) -> None:
    plan, store = planned
    for fit in plan.fits.values():
        run(fit, store)
    assert rows_of(read, "a") == HALF + HALF + VALIDATION + TEST  # labels the student's half too
    own = [fit.id for fit in plan.fits.values() if fit.recipe.keeps_weights]
    assert len(own) == 2  # the students that `after` probes, of two seeds
    assert rows_of(read, "b") == HALF + VALIDATION + TEST
    probed = sum(rows for name, rows in read if Path(name).name == "weights")
    assert probed == len(own) * (HALF + VALIDATION + TEST)
    before = len(read)
    (study,) = plan.studies.values()
    for lr in (0.003, 0.03):
        for loss in ({"kind": "xent"}, {"kind": "confidence"}):
            for fit in study.trial_fits({"training.lr": lr, "loss": loss}):
                run(fit, store)
    assert len(read) == before


def test_a_probe_has_the_numbers_that_it_has_without_the_store(
    planned: tuple[Plan, Store], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same fit with its backbone read at every step, through the loop alone."""
    from w2s_ray.learn import loop

    plan, store = planned
    supervisor = supervisor_of(plan)
    stored = run(supervisor, store)
    rows = SplitRows.of(store.splits.rows(supervisor.recipe.split))
    training = supervisor.recipe.training.model_copy(update={"tuning": FullTuning()})
    full = supervisor.recipe.model_copy(update={"training": training})
    fit = replace(supervisor, recipe=full)
    data = form_of(full).training_data(fit, rows, store).data
    assert not isinstance(data.train, ActivationRows)
    found = loop.fit(
        supervisor.recipe,
        data=data,
        source=supervisor.source,
        execution=supervisor.execution,
        observer=Silent(),
    )
    kept = store.predictions(supervisor.id, "test").column("probability").to_numpy()
    np.testing.assert_allclose(kept, found.predicted["test"].probabilities, atol=2e-6)
    for name in ("steps", "parameters", "trained_parameters", "tokens", "train_loss"):
        assert stored.summary[name] == pytest.approx(getattr(found, name), rel=1e-5), name


class Silent:
    def trained(self, **_: Any) -> None: ...

    def evaluated(self, **_: Any) -> None: ...


def test_damaged_activations_are_computed_anew(
    planned: tuple[Plan, Store],
    read: list[tuple[str, int]],
    caplog: pytest.LogCaptureFixture,
) -> None:
    plan, store = planned
    supervisor = supervisor_of(plan)
    run(supervisor, store)
    before = store.predictions(supervisor.id, "test").column("probability").to_pylist()
    rows = rows_of(read, "a")
    paths = [p for p in store.files.find("catalog/activations") if p.endswith(".safetensors")]
    sizes = [len(store.files.read(path)) for path in paths]
    damaged = paths[sizes.index(min(sizes))]  # validation, the smallest part
    data = bytearray(store.files.read(damaged))
    data[-1] ^= 1
    store.files.write(damaged, bytes(data))
    store.files.remove_folder(f"runs/{supervisor.id}")
    with caplog.at_level(logging.WARNING):
        run(supervisor, store)
    assert caplog.text.count("is damaged and is computed anew") >= 1
    assert rows_of(read, "a") == rows + VALIDATION
    after = store.predictions(supervisor.id, "test").column("probability").to_pylist()
    assert after == before
    assert store.files.read(damaged) != bytes(data)


@pytest.mark.parametrize(
    "other", [{"max_tokens": 5}, {"precision": "bf16"}], ids=["max_tokens", "precision"]
)
def test_other_tokens_or_another_precision_are_other_activations(
    other: dict[str, Any], planned: tuple[Plan, Store], read: list[tuple[str, int]]
) -> None:
    plan, store = planned
    supervisor = supervisor_of(plan)
    run(supervisor, store)
    rows = rows_of(read, "a")
    training = supervisor.recipe.training.model_copy(update=other)
    recipe = supervisor.recipe.model_copy(update={"training": training})
    run(replace(supervisor, id=recipe.run_id, recipe=recipe), store)
    assert rows_of(read, "a") == 2 * rows


# --- fits that need the same activations at once


def made_in(folder: Path, wait_s: float = 0.0) -> Callable[..., Iterator[tuple[str, Activations]]]:
    """A `make` that leaves a file for each part that it makes."""

    def make(parts: list[str], on_pass: Callable[[], None]) -> Iterator[tuple[str, Activations]]:
        for number, part in enumerate(parts):
            time.sleep(wait_s)
            on_pass()
            (folder / f"{part}-{time.monotonic_ns()}").touch()
            yield part, Activations(np.full((3, 2), number, dtype=np.float32), parameters=7)

    return make


def compete(uri: str, folder: Path, barrier: Any, told: Any) -> None:
    barrier.wait(60)
    parts = ["train", "test"]
    make = made_in(folder, wait_s=0.3)
    found = stored_activations(Store.open(uri), {"model": "m"}, parts, make, execution=CPU)
    told.put({part: each.values_ND.tolist() for part, each in found.items()})


def test_of_two_processes_one_computes_and_both_read(tmp_path: Path) -> None:
    made = tmp_path / "made"
    made.mkdir()
    told, barrier = SPAWN.Queue(), SPAWN.Barrier(2)
    arguments = (str(tmp_path / "results"), made, barrier, told)
    processes = [SPAWN.Process(target=compete, args=arguments) for _ in range(2)]
    for process in processes:
        process.start()
    found = [told.get(timeout=120) for _ in processes]
    for process in processes:
        process.join(60)
    assert found[0] == found[1] == {"train": [[0.0, 0.0]] * 3, "test": [[1.0, 1.0]] * 3}
    assert sorted(path.name.partition("-")[0] for path in made.iterdir()) == ["test", "train"]


def lease_name(store: Store, folder: Path) -> str:
    """The name of the lease under which `{"model": "m"}` is made."""
    names: list[str] = []

    def make(parts: list[str], on_pass: Callable[[], None]) -> Iterator[tuple[str, Activations]]:
        names.extend(path for path in store.files.find("work/claims") if path.endswith(".json"))
        yield from made_in(folder)(parts, on_pass)

    stored_activations(store, {"model": "m"}, ["other part"], make, execution=CPU)
    return Path(names[0]).stem


def test_a_dead_holders_lease_ends(tmp_path: Path) -> None:
    store = Store.open(tmp_path / "results")
    name = lease_name(store, tmp_path)
    elsewhere = Holder(host="elsewhere/boot/pid:[1]", pid=1, started="1", token="t")
    claim = Claim(holder=elsewhere, beat=0, ttl_s=0.2)
    store.files.write(f"work/claims/{name}.json", claim.to_json())
    found = stored_activations(store, {"model": "m"}, ["p"], made_in(tmp_path), execution=CPU)
    assert found["p"].parameters == 7
    assert store.files.find("work/claims") == []


def test_a_holder_that_takes_too_long_is_not_waited_for(tmp_path: Path) -> None:
    store = Store.open(tmp_path / "results")
    with Leases(store.files).acquire(lease_name(store, tmp_path)) as lease:
        execution = Execution(gpus_per_worker=0, stall_s=0.1)
        make = made_in(tmp_path)
        found = stored_activations(store, {"model": "m"}, ["p"], make, execution=execution)
        assert not lease.lost
    assert found["p"].values_ND.shape == (3, 2)


def test_a_part_without_rows_is_stored_too(tmp_path: Path) -> None:
    store = Store.open(tmp_path / "results")
    empty = Activations(np.zeros((0, 4), dtype=np.float32), parameters=7)

    def make(parts: list[str], _: Callable[[], None]) -> list[tuple[str, Activations]]:
        return [(part, empty) for part in parts]

    for _ in range(2):
        found = stored_activations(store, {"model": "m"}, ["p"], make, execution=CPU)
        assert found["p"].values_ND.shape == (0, 4)


class Reporting:
    """A `Reporter` that replies with a command."""

    def __init__(self, command: Command) -> None:
        self.command = command
        self.steps: list[tuple[int, int]] = []

    def step(self, number: int, total: int) -> None:
        self.steps.append((number, total))

    def evaluated(self, evaluation: Any) -> None: ...

    def next_command(self) -> Command:
        return self.command


@pytest.mark.parametrize(("command", "error"), [("stop", StopRequested), ("leave", LeaveRequested)])
def test_a_command_ends_a_fit_that_waits_and_one_that_computes(
    command: Command, error: type[Exception], tmp_path: Path
) -> None:
    store = Store.open(tmp_path / "results")
    name = lease_name(store, tmp_path)

    def stored(control: Reporting) -> None:
        what, make = {"model": "m"}, made_in(tmp_path)
        given = {"execution": CPU, "total_steps": 9, "control": control}
        stored_activations(store, what, ["p"], make, **given)

    control = Reporting(command)
    with pytest.raises(error, match="after step 0 of 9"):
        stored(control)
    assert control.steps == [(0, 9)]
    assert store.files.find("work/claims") == []
    with Leases(store.files).acquire(name), pytest.raises(error, match="after step 0 of 9"):
        stored(Reporting(command))
    stored(Reporting("go"))


def test_copies_of_a_remote_store_are_kept_on_the_machine(tmp_path: Path) -> None:
    store = Store.open(f"memory://{tmp_path.name}/results")
    for _ in range(2):
        found = stored_activations(store, {"model": "m"}, ["p"], made_in(tmp_path), execution=CPU)
        assert found["p"].values_ND.tolist() == [[0.0, 0.0]] * 3
    assert len(list((cache_folder() / "activations").iterdir())) == 1
