"""One fit is trained by one process; a failure's reason is the cause, in one line."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from tests.plan.test_plan import SWEEP, inputs
from w2s_ray.execute.carrier import Carrier
from w2s_ray.execute.cluster import Cluster, ResourceError
from w2s_ray.execute.outcome import reason_of
from w2s_ray.plan import make_plan
from w2s_ray.spec import Execution, parse_sweep

MACHINE = Cluster(cpus=4, gpus=2, node_cpus=4, node_gpus=2)


def test_a_claim_is_held_by_one_at_a_time(tmp_path: Path):
    carrier = Carrier(store=str(tmp_path), cluster=MACHINE)
    order: list[str] = []
    inside = threading.Event()

    def second():
        inside.wait()
        with carrier.claimed("fit", wait=True):
            order.append("second")

    thread = threading.Thread(target=second)
    thread.start()
    with carrier.claimed("fit", wait=True) as first:
        assert first
        inside.set()
        with carrier.claimed("fit", wait=False) as other:
            assert not other
        order.append("first")
    thread.join()
    assert order == ["first", "second"]


def test_scratch_is_kept_while_a_fit_is_claimed_and_goes_afterwards(tmp_path: Path):
    carrier = Carrier(store=str(tmp_path), cluster=MACHINE)
    plan = make_plan(parse_sweep(SWEEP), inputs())
    fit = next(iter(plan.fits.values()))
    carrier.scratch(fit).mkdir(parents=True)
    with carrier.claimed(fit.id, wait=True):
        carrier.forget(fit.id)
        assert carrier.scratch(fit).exists()
    carrier.forget(fit.id)
    assert not carrier.scratch(fit).exists()


def test_each_layout_of_workers_has_a_scratch_of_its_own(tmp_path: Path):
    carrier = Carrier(store=str(tmp_path), cluster=MACHINE)
    folders = set()
    for execution in (
        "{}",
        "{engine: deepspeed, workers: 2}",
        "{engine: deepspeed, workers: 2, zero_stage: 1}",
    ):
        plan = make_plan(parse_sweep(SWEEP + f"execution: {execution}\n"), inputs())
        folders.add(carrier.scratch(next(iter(plan.fits.values()))))
    assert len(folders) == 3


class Wrapped(Exception):
    def __init__(self, message: str, cause: Exception | None = None, **more: object) -> None:
        super().__init__(message)
        self.cause = cause
        self.__dict__.update(more)


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (ValueError("no such thing"), "ValueError: no such thing"),
        (KeyError(), "KeyError"),
        (Wrapped("ray::task()", ValueError("inside")), "ValueError: inside"),
        (
            Wrapped("workers failed", worker_failures={1: MemoryError("rank 1")}),
            "MemoryError: rank 1",
        ),
        (
            RuntimeError("ray::f() (pid=1)\n  File x\n\x1b[36mValueError: deep\x1b[0m"),
            "ValueError: deep",
        ),
        (RuntimeError("first line\nsecond"), "RuntimeError: first line"),
    ],
)
def test_a_reason_is_one_line_with_the_cause(error, reason):
    assert reason_of(error) == reason


def test_slots_and_resources_follow_the_scarcest():
    assert MACHINE.resources(Execution()) == {"CPU": 1.0, "GPU": 1.0}
    assert MACHINE.slots(Execution()) == 2
    assert MACHINE.slots(Execution(gpus_per_worker=0.25)) == 4
    assert MACHINE.slots(Execution(gpus_per_worker=0, cpus_per_worker=2)) == 2
    assert MACHINE.slots(Execution(engine="deepspeed", workers=2)) == 1


def test_a_plan_that_no_node_can_hold_is_refused_with_the_remedy():
    plan = make_plan(
        parse_sweep(SWEEP + "execution: {engine: deepspeed, workers: 4, gpus_per_worker: 1}\n"),
        inputs(),
    )
    with pytest.raises(
        ResourceError,
        match=r"asks for 4 workers with 1 GPU each, but the cluster "
        r"has 2 GPU; lower workers",
    ):
        MACHINE.check(plan)
