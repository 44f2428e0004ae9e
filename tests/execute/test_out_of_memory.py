"""Memory that runs out: half the rows of a forward pass, the same numbers, a note in the record.

The GPU is a stub: an engine that has no room for more rows than some.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from tests.execute.test_run_fit import MACHINE
from tests.support import NoCheckpoints, make_model, make_task
from w2s_ray.config import Execution, parse_sweep
from w2s_ray.data.inputs import resolve
from w2s_ray.execute import run_fit
from w2s_ray.execute.run_context import RunContext
from w2s_ray.fits.outcome import outcome_record
from w2s_ray.fits.retry import settled
from w2s_ray.fits.train_fit import FitTraining
from w2s_ray.learn.gpu import limit_to_share
from w2s_ray.learn.torch_engine import TorchEngine
from w2s_ray.plan import Plan, make_plan
from w2s_ray.prepare import materialize
from w2s_ray.store import Record, Store

SWEEP = """
name: small
task: {{name: words, path: {folder}/task.csv, columns: {{text: text, label: label}}, train: 96,
  validation: 32, test: 32}}
models: [{{name: {folder}/s, label: s}}, {{name: {folder}/m, label: m}}]
training: {{batch_size: 16, epochs: 1, lr: 3.0e-3, evaluations_per_epoch: 1, max_tokens: 32}}
methods: {{naive: {{}}}}
seeds: [0]
"""


@pytest.fixture(scope="module")
def plan(tmp_path_factory) -> Plan:
    folder: Path = tmp_path_factory.mktemp("sweep")
    make_task(folder / "task.csv")
    make_model(folder / "s")
    make_model(folder / "m", width=24)
    sweep = parse_sweep(SWEEP.format(folder=folder))
    return make_plan(sweep, resolve(sweep, online=False))


def run(
    plan: Plan, folder: Path, execution: Execution, *, retries: int = 0
) -> tuple[Store, Record]:
    """The plan's first fit, which may train in this process as often as the monitor says."""
    store = Store.open(folder)
    materialize(plan, store)
    fit = replace(next(iter(plan.fits.values())), execution=execution)
    context = RunContext(store=store.uri, cluster=MACHINE)
    monitor = run_fit._FitMonitor(context, fit, "sweep", 0, None)

    def attempt() -> Record:
        return FitTraining(monitor.fit).run(store, checkpoints=NoCheckpoints())

    record = settled(fit, store=store, retries=0, attempt=attempt, changed=monitor._halved)
    return store, record


@pytest.fixture
def room(monkeypatch):
    """What a forward pass has room for: rows in training, padded tokens in evaluation.

    `most` is the largest number of tokens that one has had.
    """
    limits = SimpleNamespace(trained=10**9, evaluated=10**9, most=0)
    forward = TorchEngine.forward

    def limited(self: TorchEngine, input_ids_BL: Any, *more: Any) -> Any:
        tokens = input_ids_BL.numel()
        if torch.is_grad_enabled():
            is_too_large = len(input_ids_BL) > limits.trained
        else:
            limits.most = max(limits.most, tokens)
            is_too_large = tokens > limits.evaluated
        if is_too_large:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")
        return forward(self, input_ids_BL, *more)

    monkeypatch.setattr(TorchEngine, "forward", limited)
    return limits


CPU = Execution(gpus_per_worker=0)


def test_half_the_rows_are_tried_once_and_give_the_same_numbers(plan, tmp_path, room):
    whole_store, whole = run(plan, tmp_path / "whole", CPU)
    room.trained = 8
    store, record = run(plan, tmp_path / "half", CPU)
    assert (record.status, record.attempts, record.retries) == ("done", 2, {"out_of_memory": 1})
    assert record.execution["micro_batch"] == 8
    assert record.environment["note"] == (
        "memory ran out with 16 rows in a forward pass of training and 64 in one of evaluation; it "
        "was trained with 8 and 32"
    )
    assert "note" not in whole.environment
    assert record.id == whole.id
    found, expected = (s.predictions(whole.id) for s in (store, whole_store))
    np.testing.assert_allclose(
        found.column("probability").to_numpy(), expected.column("probability").to_numpy(), atol=1e-5
    )
    assert record.summary["steps"] == whole.summary["steps"]


def test_it_fails_where_half_is_too_much_and_says_why(plan, tmp_path, room):
    room.trained = 4
    store, record = run(plan, tmp_path, CPU)
    assert (record.status, record.cause, record.attempts) == ("failed", "out_of_memory", 2)
    assert [a.execution["micro_batch"] for a in store.attempts(record.id)] == [None, 8]
    assert record.reason is not None
    assert record.reason.startswith("OutOfMemoryError: CUDA out of memory")


def test_auto_halves_until_the_rows_fit(plan, tmp_path, room):
    room.trained = 2
    _, record = run(plan, tmp_path, CPU.model_copy(update={"micro_batch": "auto"}))
    assert (record.status, record.attempts) == ("done", 4)
    assert record.execution["micro_batch"] == 2


def test_evaluation_is_halved_too_and_one_row_is_the_end(plan, tmp_path, room):
    one = CPU.model_copy(update={"micro_batch": 1, "evaluation_batch": 2})
    run(plan, tmp_path / "longest", one.model_copy(update={"evaluation_batch": 1}))
    room.evaluated = room.most
    _, record = run(plan, tmp_path / "two", one)
    assert (record.status, record.execution["evaluation_batch"]) == ("done", 1)
    room.evaluated = 0
    _, record = run(plan, tmp_path / "none", one)
    assert (record.status, record.attempts) == ("failed", 2)


def test_another_failure_halves_nothing(plan, tmp_path, monkeypatch):
    def broken(*_: Any) -> None:
        raise MemoryBroken

    class MemoryBroken(RuntimeError):
        pass

    monkeypatch.setattr(TorchEngine, "forward", broken)
    _, record = run(plan, tmp_path, CPU)
    assert (record.cause, record.attempts) == ("error", 1)


@pytest.mark.parametrize(
    ("share", "limit"),
    [(0.25, 0.25 - 2**29 / 80e9), (1.0, 1.0), (2, 1.0), (1e-3, 5e-4), (None, None), (0, None)],
)
def test_a_process_may_allocate_its_share_and_no_more(share, limit, monkeypatch):
    limits: list[float] = []
    cuda = {
        "is_available": lambda: True,
        "current_device": lambda: 0,
        "get_device_properties": lambda _: SimpleNamespace(total_memory=80e9),
        "set_per_process_memory_fraction": limits.append,
    }
    for name, stub in cuda.items():
        monkeypatch.setattr(torch.cuda, name, stub)
    limit_to_share(Execution(gpus_per_worker=share))
    assert limits == ([] if limit is None else [pytest.approx(limit)])


def test_without_a_gpu_nothing_is_limited(monkeypatch):
    monkeypatch.setattr(torch.cuda, "set_per_process_memory_fraction", pytest.fail)
    limit_to_share(Execution(gpus_per_worker=0.25))


@pytest.mark.parametrize(
    ("reason", "halved"),
    [
        ("OutOfMemoryError: CUDA out of memory. Tried to allocate 2.00 GiB", True),
        ("RuntimeError: DefaultCPUAllocator: can't allocate memory", False),
        ("OutOfMemoryError: Task was killed due to the node running low on memory", False),
        ("MemoryError", False),
    ],
)
def test_only_memory_of_a_gpu_changes_the_rows(plan, tmp_path, reason, halved):
    fit = replace(next(iter(plan.fits.values())), execution=CPU)
    context = RunContext(store=str(tmp_path), cluster=MACHINE)
    monitor = run_fit._FitMonitor(context, fit, "sweep", 0, None)
    failure = outcome_record(fit, status="failed", cause="out_of_memory", reason=reason)
    assert monitor._halved(failure) is halved
