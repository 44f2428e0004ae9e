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
from w2s_ray.execute import pending_nodes, run_fit
from w2s_ray.execute.autoscaler import AutoscalerStatus
from w2s_ray.execute.cluster import Cluster
from w2s_ray.execute.run_context import RunContext, checkpoint_layout
from w2s_ray.execute.worker_pool import RequestCancelled
from w2s_ray.fits.failures import HostLost, Stalled, cause_of
from w2s_ray.fits.outcome import reason_of
from w2s_ray.plan import NodeKind, Nodes, ResourceError, make_plan
from w2s_ray.status.run_state import ProgressSnapshot, RunState

MACHINE = Cluster(Nodes((NodeKind("node", {"CPU": 4, "GPU": 2}, 1),)))


def fit_monitor(tmp_path: Path, worker_pool: Any, **more: Any) -> run_fit._FitMonitor:
    fit = next(iter(make_plan(parse_sweep(SWEEP), inputs()).fits.values()))
    context = RunContext(store=str(tmp_path), cluster=MACHINE, worker_pool=worker_pool, **more)
    return run_fit._FitMonitor(context, fit, "study", 3, None)


class WorkerPool:
    """A worker pool that replies to the n-th request with `answers[n]`: None is no reply."""

    def __init__(self, *answers: Any, has_request: Any = False) -> None:
        self.calls: list[Any] = []
        self.acquire = SimpleNamespace(remote=self._acquire)
        self.has_request = SimpleNamespace(remote=lambda request: has_request)
        self._answers = iter(answers)

    def _acquire(self, request: Any, progress_tracker: Any) -> list[Any]:
        self.calls.append(request.id)
        return [next(self._answers)]

    def wait(self, calls: list[Any], *, timeout: float) -> tuple[list[Any], list[Any]]:
        return ([], calls) if calls[0] == [None] else (calls, [])

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


def test_a_request_that_the_worker_pool_has_lost_is_sent_again(tmp_path, no_ray):
    worker_pool = no_ray(WorkerPool(None, None, "host"))
    monitor = fit_monitor(tmp_path, worker_pool)
    assert monitor._acquire_worker() == "host"
    assert worker_pool.calls == [monitor.request.id] * 3


def test_a_worker_pool_that_does_not_reply_is_a_failure_with_its_reason(tmp_path, no_ray):
    worker_pool = no_ray(WorkerPool(None, has_request=GetTimeoutError("120 s")))
    with pytest.raises(HostLost, match="has not replied for 120 s") as failure:
        fit_monitor(tmp_path, worker_pool)._acquire_worker()
    assert cause_of(failure.value) == "worker_died", "it is tried again, as often as it may be"


def test_a_cancelled_request_ends_without_a_record(tmp_path, no_ray):
    with pytest.raises(SystemExit):
        fit_monitor(tmp_path, no_ray(WorkerPool(RequestCancelled())))._acquire_worker()


@pytest.mark.parametrize(
    ("error", "continues", "expected"),
    [
        (SystemExit(), False, ["pruned"]),
        (SystemExit(), True, []),  # it continues, and the other requester sends its end
        (ValueError("refused"), False, []),  # a failure, which is expected by its record
    ],
)
def test_a_requester_that_raises_cancels_its_request_and_trackers_get_one_end(
    tmp_path, monkeypatch, error, continues, expected
):
    monitor, failure, sent = fit_monitor(tmp_path, None), [], []

    def refuse(evaluation: Any) -> None:
        raise error

    def cancel_request(self: RunContext, requests: Any) -> set[str]:
        failure.extend(requests)
        return {request.run_id for request in requests if continues}

    monkeypatch.setattr(RunContext, "cancel_requests", cancel_request)
    monitor.on_evaluation = refuse
    monitor.log = SimpleNamespace(
        evaluated=lambda evaluation: None, pruned=lambda: sent.append("pruned")
    )
    with pytest.raises(type(error)):
        monitor._report([{"evaluations": 1}])
    assert failure == [monitor.request.id]
    assert sent == expected


def test_a_lease_has_one_holder_at_a_time(tmp_path: Path):
    context = RunContext(store=str(tmp_path), cluster=MACHINE)
    with context.lease("fit") as first:
        assert first
        with context.lease("other") as other:
            assert other
    with context.lease("fit") as again:
        assert again


def test_checkpoints_are_kept_while_another_process_works_on_the_fit(tmp_path: Path):
    context = RunContext(store=str(tmp_path), cluster=MACHINE)
    store = context.open_store()
    state = tmp_path / "work" / "fit" / "layout" / "step-1" / "state"
    state.parent.mkdir(parents=True)
    state.write_text("")
    hold = [sys.executable, "-c", HOLD, str(tmp_path)]
    with subprocess.Popen(hold, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as other_process:
        assert other_process.stdout is not None
        other_process.stdout.readline()
        context.clear_work("fit")
        assert store.work.fit_ids() == {"fit"}
        other_process.communicate(b"")
    context.clear_work("fit")
    assert store.work.fit_ids() == set()


HOLD = """
import sys
from w2s_ray.execute.run_context import RunContext, checkpoint_layout
from w2s_ray.execute.cluster import Cluster
from w2s_ray.plan import Nodes
context = RunContext(store=sys.argv[1], cluster=Cluster(Nodes(())))
with context.lease("fit") as leased:
    print(leased, flush=True)
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
    """A progress tracker without a report of a fit, or with an old one."""

    def __init__(self, idle_s: float | None) -> None:
        self.idle_s = self.nodes_of = self
        self._idle_s = idle_s

    def remote(self, run_id: str) -> float | None:
        return self._idle_s


@pytest.mark.parametrize("error", [GetTimeoutError("30 s"), ActorUnavailableError("gone", None)])
def test_a_progress_tracker_that_is_lost_or_hangs_fails_no_run(tmp_path, monkeypatch, error):
    def fail(*calls: Any, timeout: float) -> Any:
        raise error

    monitor = fit_monitor(tmp_path, None, progress_tracker=ProgressTracker(None))
    monkeypatch.setattr(run_fit.ray, "get", fail)
    monitor._check_stall()
    assert not monitor._node_is_lost()


@pytest.mark.parametrize(
    ("idle_s", "alive", "seconds", "stalls"),
    [
        (24.0, True, 0.0, False),
        (26.0, True, 0.0, True),
        (None, False, 10_000.0, False),  # its node has not started
        (None, True, run_fit.WORKER_START_S + 24.0, False),
        (None, True, run_fit.WORKER_START_S + 26.0, True),  # it hung before it started the fit
    ],
)
def test_a_stall_counts_from_the_last_report_or_from_the_start_of_the_worker(
    tmp_path, monkeypatch, idle_s, alive, seconds, stalls
):
    plan = make_plan(parse_sweep(SWEEP), inputs())
    fit = next(iter(plan.fits.values()))
    fit = replace(fit, execution=Execution(stall_s=25.0))
    context = RunContext(
        store=str(tmp_path), cluster=MACHINE, progress_tracker=ProgressTracker(idle_s)
    )
    monitor, now = run_fit._FitMonitor(context, fit, "sweep", 0, None), [0.0]
    monkeypatch.setattr(run_fit.ray, "get", lambda value, timeout: value)
    monkeypatch.setattr(run_fit, "is_actor_alive", lambda worker: alive)
    monkeypatch.setattr(run_fit.time, "monotonic", lambda: now[0])
    with pytest.raises(Stalled) if stalls else contextlib.nullcontext():
        monitor._check_stall()
        now[0] += seconds
        monitor._check_stall()


def test_a_fit_whose_worker_has_no_node_yet_reports_its_resources(tmp_path, monkeypatch):
    """The wait for nodes that is printed takes the fit's resources from its reported state."""
    snapshot = ProgressSnapshot()

    def set_state(run_id: str, state: Any, about: Any, requester: str) -> None:
        snapshot.run_states[run_id] = RunState(about, state, 0.0)

    tracker = SimpleNamespace(set_state=SimpleNamespace(remote=set_state))
    monitor = fit_monitor(tmp_path, None, progress_tracker=tracker)
    monitor._set_starting()
    status = AutoscalerStatus({"l4": 1}, unplaced=1)
    monkeypatch.setattr(pending_nodes, "autoscaler_status", lambda: status)
    pending = pending_nodes.pending_capacity(snapshot, 75.0)
    assert pending is not None
    assert pending.text == "nodes for 1 fit (1 of 1 CPU, 1 GPU); being started: 1 l4"
