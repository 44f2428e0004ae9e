"""One fit is trained by one process; a failure's reason is the cause, in one line."""

from __future__ import annotations

import contextlib
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from ray.exceptions import ActorUnavailableError, GetTimeoutError

from tests.plan.test_plan import SWEEP, inputs
from w2s_ray.config import Execution, parse_sweep
from w2s_ray.execute import run_fit
from w2s_ray.execute.cluster import Cluster
from w2s_ray.execute.run_context import RunContext, checkpoint_layout
from w2s_ray.execute.worker_pool import RequestCancelled
from w2s_ray.fits.failures import HostLost, Stalled, cause_of
from w2s_ray.fits.outcome import reason_of
from w2s_ray.plan import NodeKind, Nodes, ResourceError, make_plan

MACHINE = Cluster(Nodes((NodeKind("node", {"CPU": 4, "GPU": 2}, 1),)))


def a_watch(tmp_path: Path, worker_pool: Any, **more: Any) -> run_fit._FitMonitor:
    fit = next(iter(make_plan(parse_sweep(SWEEP), inputs()).fits.values()))
    context = RunContext(store=str(tmp_path), cluster=MACHINE, worker_pool=worker_pool, **more)
    return run_fit._FitMonitor(context, fit, "study", 3, None)


class WorkerPool:
    """A floor that answers the n-th request by `answers[n]`: None is no answer, ever."""

    def __init__(self, *answers: Any, has_request: Any = False) -> None:
        self.asked: list[Any] = []
        self.acquire = SimpleNamespace(remote=self._admit)
        self.has_request = SimpleNamespace(remote=lambda request: has_request)
        self._answers = iter(answers)

    def _admit(self, request: Any, progress_tracker: Any) -> list[Any]:
        self.asked.append(request.id)
        return [next(self._answers)]

    def wait(self, asked: list[Any], *, timeout: float) -> tuple[list[Any], list[Any]]:
        return ([], asked) if asked[0] == [None] else (asked, [])

    def get(self, answer: Any, timeout: float | None = None) -> Any:
        found = answer[0] if isinstance(answer, list) else answer
        if isinstance(found, Exception):
            raise found
        return found


@pytest.fixture
def no_ray(monkeypatch):
    def use(worker_pool: WorkerPool) -> WorkerPool:
        monkeypatch.setattr(run_fit.ray, "wait", worker_pool.wait)
        monkeypatch.setattr(run_fit.ray, "get", worker_pool.get)
        return worker_pool

    return use


def test_a_request_that_the_floor_has_lost_is_made_again(tmp_path, no_ray):
    worker_pool = no_ray(WorkerPool(None, None, "host"))
    watch = a_watch(tmp_path, worker_pool)
    assert watch._admitted() == "host"
    assert worker_pool.asked == [watch.request.id] * 3


def test_a_floor_that_does_not_answer_is_a_failure_with_its_reason(tmp_path, no_ray):
    worker_pool = no_ray(WorkerPool(None, has_request=GetTimeoutError("120 s")))
    with pytest.raises(HostLost, match="has not answered for 120 s") as failure:
        a_watch(tmp_path, worker_pool)._admitted()
    assert cause_of(failure.value) == "worker_died", "it is tried again, as often as it may be"


def test_a_watch_whose_request_was_withdrawn_ends_without_a_record(tmp_path, no_ray):
    with pytest.raises(SystemExit):
        a_watch(tmp_path, no_ray(WorkerPool(RequestCancelled())))._admitted()


@pytest.mark.parametrize(
    ("error", "wanted", "told"),
    [
        (SystemExit(), False, ["pruned"]),
        (SystemExit(), True, []),  # it goes on, and whoever wants it tells its end
        (ValueError("refused"), False, []),  # a failure, which is told by its record
    ],
)
def test_a_requester_that_raises_gives_the_fit_up_and_trackers_hear_of_its_end_once(
    tmp_path, monkeypatch, error, wanted, told
):
    watch, failure, heard = a_watch(tmp_path, None), [], []

    def refuse(evaluation: Any) -> None:
        raise error

    def cancel_request(self: RunContext, requests: Any) -> set[str]:
        failure.extend(requests)
        return {request.run_id for request in requests if wanted}

    monkeypatch.setattr(RunContext, "cancel_requests", cancel_request)
    watch.tell = refuse
    watch.log = SimpleNamespace(
        evaluated=lambda evaluation: None, pruned=lambda: heard.append("pruned")
    )
    with pytest.raises(type(error)):
        watch._tell([{"evaluations": 1}])
    assert failure == [watch.request.id]
    assert heard == told


def test_a_claim_is_held_by_one_at_a_time(tmp_path: Path):
    context = RunContext(store=str(tmp_path), cluster=MACHINE)
    with context.claimed("fit") as first:
        assert first
        with context.claimed("other") as other:
            assert other
    with context.claimed("fit") as again:
        assert again


def test_what_a_resumed_fit_needs_is_kept_while_somebody_is_at_work_on_it(tmp_path: Path):
    context = RunContext(store=str(tmp_path), cluster=MACHINE)
    store = context.open_store()
    state = tmp_path / "work" / "fit" / "layout" / "step-1" / "state"
    state.parent.mkdir(parents=True)
    state.write_text("")
    hold = [sys.executable, "-c", HOLD, str(tmp_path)]
    with subprocess.Popen(hold, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as somebody:
        assert somebody.stdout is not None
        somebody.stdout.readline()
        context.forget("fit")
        assert store.work_left() == {"fit"}
        somebody.communicate(b"")
    context.forget("fit")
    assert store.work_left() == set()


HOLD = """
import sys
from w2s_ray.execute.run_context import RunContext, checkpoint_layout
from w2s_ray.execute.cluster import Cluster
from w2s_ray.plan import Nodes
carrier = RunContext(store=sys.argv[1], cluster=Cluster(Nodes(())))
with carrier.claimed("fit") as claimed:
    print(claimed, flush=True)
    sys.stdin.read()
"""


def test_each_layout_of_workers_has_checkpoints_of_its_own():
    specs = (
        Execution(),
        Execution(engine="deepspeed", workers=2),
        Execution(engine="deepspeed", workers=2, zero_stage=1),
        Execution(engine="deepspeed", workers=2, micro_batch=4),
    )
    assert len({checkpoint_layout(spec) for spec in specs}) == 3


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
        match=r"needs 4 workers with 1 CPU, 1 GPU each, but the cluster "
        r"has room for 2; lower workers",
    ):
        MACHINE.check(plan)


class ProgressTracker:
    """A board that has heard nothing of a fit, or heard of it a while ago."""

    def __init__(self, silent_s: float | None) -> None:
        self.silent_s = self.nodes_of = self
        self._quiet_s = silent_s

    def remote(self, run_id: str) -> float | None:
        return self._quiet_s


@pytest.mark.parametrize("error", [GetTimeoutError("30 s"), ActorUnavailableError("gone", None)])
def test_a_board_that_is_lost_or_hangs_costs_no_run(tmp_path, monkeypatch, error):
    def fail(*asked: Any, timeout: float) -> Any:
        raise error

    watch = a_watch(tmp_path, None, progress_tracker=ProgressTracker(None))
    monkeypatch.setattr(run_fit.ray, "get", fail)
    watch._refuse_silence()
    assert not watch._node_is_gone()


@pytest.mark.parametrize(
    ("silent_s", "up", "seconds", "stalls"),
    [
        (24.0, True, 0.0, False),
        (26.0, True, 0.0, True),
        (None, False, 10_000.0, False),  # its machine has yet to come
        (None, True, run_fit.SEAT_BEGINS_S + 24.0, False),
        (None, True, run_fit.SEAT_BEGINS_S + 26.0, True),  # it hung before it began
    ],
)
def test_silence_counts_from_a_fits_last_sign_or_from_when_its_host_is_up(
    tmp_path, monkeypatch, silent_s, up, seconds, stalls
):
    plan = make_plan(parse_sweep(SWEEP), inputs())
    fit = next(iter(plan.fits.values()))
    fit = replace(fit, execution=Execution(stall_s=25.0))
    context = RunContext(
        store=str(tmp_path), cluster=MACHINE, progress_tracker=ProgressTracker(silent_s)
    )
    watch, now = run_fit._FitMonitor(context, fit, "sweep", 0, None), [0.0]
    monkeypatch.setattr(run_fit.ray, "get", lambda value, timeout: value)
    monkeypatch.setattr(run_fit, "is_up", lambda worker: up)
    monkeypatch.setattr(run_fit.time, "monotonic", lambda: now[0])
    with pytest.raises(Stalled) if stalls else contextlib.nullcontext():
        watch._refuse_silence()
        now[0] += seconds
        watch._refuse_silence()
