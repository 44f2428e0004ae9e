"""The worker pool: capacity, turns of the queues, warm workers before new ones, shared fits."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest

from w2s_ray.execute import warm_workers as warm_module
from w2s_ray.execute import worker_pool as pool_module
from w2s_ray.execute.cluster import Cluster
from w2s_ray.execute.worker_pool import PoolClosed, RequestCancelled, WorkerPool
from w2s_ray.plan import Nodes
from w2s_ray.scheduling.requests import FitRequest, RequestId, WorkerSpec

SINGLE = WorkerSpec(engine="torch", workers=1, cpus=1.0, gpus=0.0)
PAIR = WorkerSpec(engine="deepspeed", workers=2, cpus=1.0, gpus=0.0)
THIRD = WorkerSpec(engine="torch", workers=1, cpus=1.0, gpus=1 / 3)


class PooledWorker:
    """A stub for a worker's actor handle."""

    def __init__(self, spec: WorkerSpec) -> None:
        self.spec = spec
        self.ended = asyncio.get_running_loop().create_future()
        self.serve = self.wait_until_idle = self

    def remote(self) -> asyncio.Future[None]:
        """A worker group's `serve`."""
        return self.ended


class ProgressTracker:
    """A stub for the progress tracker's actor handle: it keeps the calls for each fit."""

    def __init__(self) -> None:
        self.calls_of: list[tuple[str, str]] = []
        self.replies: list[asyncio.Future[None]] = []
        self.busy = False
        """It replies to no call."""

    def __getattr__(self, name: str) -> Any:
        def remote(run_id: str) -> asyncio.Future[None]:
            self.calls_of.append((name, run_id))
            reply = asyncio.get_running_loop().create_future()
            if not self.busy:
                reply.set_result(None)
            self.replies.append(reply)
            return reply

        return SimpleNamespace(remote=remote)


class FakeWorkers:
    """The workers that a pool has started and killed."""

    def __init__(self) -> None:
        self.opened: list[PooledWorker] = []
        self.killed: list[PooledWorker] = []

    def open(self, spec: WorkerSpec) -> PooledWorker:
        self.opened.append(PooledWorker(spec))
        return self.opened[-1]


@pytest.fixture
def workers(monkeypatch) -> FakeWorkers:
    made = FakeWorkers()
    monkeypatch.setattr(warm_module, "start_worker", made.open)
    monkeypatch.setattr(warm_module.ray, "kill", made.killed.append)
    monkeypatch.setattr(warm_module, "process_of", lambda actor: None)
    return made


HERE = Cluster(Nodes(()))
ELASTIC = Cluster(Nodes((), autoscaled=True))


def run(
    scenario: Callable[[WorkerPool], Any],
    *,
    cpus: float = 2,
    gpus: float = 0,
    cluster: Cluster = HERE,
) -> None:
    async def main() -> None:
        await scenario(WorkerPool({"CPU": cpus, "GPU": gpus}, cluster))

    asyncio.run(main())


def acquire(
    worker_pool: WorkerPool,
    run_id: str,
    queue: str = "sweep",
    *,
    spec: WorkerSpec = SINGLE,
    priority: int = 0,
):
    progress_tracker = worker_pool._progress_tracker or ProgressTracker()
    return asyncio.ensure_future(
        worker_pool.acquire(FitRequest(run_id, queue, spec, priority), progress_tracker)
    )


def calls_of(worker_pool: WorkerPool) -> list[tuple[str, str]]:
    """The calls to the progress tracker, in order."""
    return worker_pool._progress_tracker.calls_of


def request(run_id: str, queue: str = "sweep", priority: int = 0) -> RequestId:
    return RequestId(run_id, queue, priority)


async def settle() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


def test_no_more_fits_start_than_the_capacity_allows_and_workers_are_reused(workers):
    async def scenario(worker_pool: WorkerPool) -> None:
        requests = [acquire(worker_pool, f"f{i}") for i in range(5)]
        await settle()
        assert [a.done() for a in requests] == [True, True, False, False, False]
        first = requests[0].result()
        await worker_pool.release(request("f0"))
        await settle()
        assert requests[2].result() is first
        assert len(workers.opened) == 2

    run(scenario)


def test_a_repeated_request_keeps_its_worker(workers):
    async def scenario(worker_pool: WorkerPool) -> None:
        assert await acquire(worker_pool, "f0") is await acquire(worker_pool, "f0")
        assert len(workers.opened) == 1

    run(scenario)


def test_several_requests_for_one_fit_get_its_worker_one_after_the_other(workers):
    async def scenario(worker_pool: WorkerPool) -> None:
        await acquire(worker_pool, "other")
        trials = [acquire(worker_pool, "same", "study", priority=n) for n in range(3)]
        elsewhere = acquire(worker_pool, "same", "second-study")
        await settle()
        await worker_pool.release(request("other"))
        for priority, trial in enumerate(trials):
            await settle()
            assert [t.done() for t in trials] == [n <= priority for n in range(3)]
            worker = trial.result()
            await worker_pool.release(request("same", "study", priority))
        await settle()
        assert elsewhere.result() is worker
        await worker_pool.release(request("same", "second-study"))
        assert len(workers.opened) == 1
        assert await acquire(worker_pool, "next") is worker

    run(scenario, cpus=1)


def test_two_calls_for_one_request_get_the_same_worker(workers):
    async def scenario(worker_pool: WorkerPool) -> None:
        await acquire(worker_pool, "other")
        calls = [acquire(worker_pool, "same", "study") for _ in range(2)]
        await settle()
        await worker_pool.release(request("other"))
        await settle()
        assert len({id(call.result()) for call in calls}) == 1
        assert await worker_pool.has_request(request("same", "study"))
        await worker_pool.release(request("same", "study"))
        assert not await worker_pool.has_request(request("same", "study"))

    run(scenario, cpus=1)


def test_a_request_for_a_running_fit_uses_no_turn_and_no_capacity(workers):
    async def scenario(worker_pool: WorkerPool) -> None:
        await acquire(worker_pool, "same", "a")
        equal, next_in_line = (
            acquire(worker_pool, "same", "b"),
            acquire(worker_pool, "next", "c", priority=9),
        )
        await settle()
        assert (equal.done(), next_in_line.done()) == (False, True)

    run(scenario)


def test_a_cancelled_request_stops_no_fit_that_has_other_requests(workers):
    async def scenario(worker_pool: WorkerPool) -> None:
        first = await acquire(worker_pool, "same", "a")
        second, third = acquire(worker_pool, "same", "b"), acquire(worker_pool, "same", "c")
        await settle()
        assert await worker_pool.cancel_request(request("same", "c")), (
            "it was queued, and the fit continues"
        )
        await settle()
        assert isinstance(third.exception(), RequestCancelled)
        assert await worker_pool.cancel_request(request("same", "a")), (
            "it monitored, and the fit continues"
        )
        assert await second is first
        assert await worker_pool.cancel_request(request("same", "a")), "a second call has no effect"
        await worker_pool.release(request("same", "a"))
        assert await worker_pool.has_request(request("same", "b"))
        assert calls_of(worker_pool) == [("attempt_starting", "same")]
        assert not await worker_pool.cancel_request(request("same", "b")), (
            "the last request: the fit stops"
        )
        assert calls_of(worker_pool) == [("attempt_starting", "same"), ("stop", "same")]
        assert workers.killed == []

    run(scenario)


def test_a_stopping_fit_keeps_its_worker_until_it_has_ended_and_may_then_restart(workers):
    async def scenario(worker_pool: WorkerPool) -> None:
        worker = await acquire(worker_pool, "same", "a")
        assert not await worker_pool.cancel_request(request("same", "a"))
        anew, other = acquire(worker_pool, "same", "b"), acquire(worker_pool, "other")
        await settle()
        assert not anew.done()
        assert not other.done()
        worker.ended.set_result(None)
        await settle()
        assert anew.result() is worker
        assert calls_of(worker_pool)[-2:] == [
            ("attempt_ended", "same"),
            ("attempt_starting", "same"),
        ]
        assert not other.done()

    run(scenario, cpus=1)


def test_a_worker_is_assigned_once_the_last_attempts_stop_is_void(workers):
    """Else a busy progress tracker could give the new attempt the stop of the one before."""

    async def scenario(worker_pool: WorkerPool) -> None:
        worker = await acquire(worker_pool, "same", "a")
        await worker_pool.cancel_request(request("same", "a"))
        progress_tracker = worker_pool._progress_tracker
        progress_tracker.busy = True
        anew, again = acquire(worker_pool, "same", "b"), acquire(worker_pool, "same", "b")
        worker.ended.set_result(None)
        await settle()
        assert calls_of(worker_pool)[-1] == ("attempt_starting", "same")
        assert not anew.done()
        progress_tracker.replies[-1].set_result(None)
        assert await anew is await again is worker

    run(scenario, cpus=1)


def test_a_fit_that_does_not_stop_in_time_is_killed_with_its_worker(workers, monkeypatch):
    monkeypatch.setattr(pool_module, "STOP_S", 0.01)

    async def scenario(worker_pool: WorkerPool) -> None:
        worker = await acquire(worker_pool, "same", "a")
        await worker_pool.cancel_request(request("same", "a"))
        assert await asyncio.wait_for(acquire(worker_pool, "next"), 10) is not worker
        assert workers.killed == [worker]

    run(scenario, cpus=1)


def test_a_lost_worker_is_replaced_for_all_requests_for_its_fit(workers):
    async def scenario(worker_pool: WorkerPool) -> None:
        first = await acquire(worker_pool, "same", "a")
        second = acquire(worker_pool, "same", "b")
        await settle()
        await worker_pool.release(request("same", "a"), worker_alive=False)
        assert workers.killed == [first]
        assert await second is not first
        again = acquire(worker_pool, "same", "a")
        await settle()
        assert not again.done()
        await worker_pool.release(request("same", "b"))
        assert await again is second.result()

    run(scenario)


def test_a_shared_step_of_a_chain_continues_for_the_other_trials(workers):
    """An ended trial cancels all its requests: a step that another trial trains, its student."""

    async def scenario(worker_pool: WorkerPool) -> None:
        step = await acquire(worker_pool, "step", "study", priority=0)
        waits = [acquire(worker_pool, "step", "study", priority=n) for n in (1, 2)]
        student = acquire(worker_pool, "student-1", "study", priority=1)
        await settle()
        for fit in ("step", "student-1"):
            await worker_pool.cancel_request(request(fit, "study", 1))
        await settle()
        assert isinstance(waits[0].exception(), RequestCancelled)
        assert student.done()
        assert not waits[1].done()
        assert ("stop", "step") not in calls_of(worker_pool)
        await worker_pool.release(request("step", "study", 0))
        assert await waits[1] is step

    run(scenario)


def test_the_end_of_a_study_ends_no_fit_that_has_other_requests(workers):
    async def scenario(worker_pool: WorkerPool) -> None:
        shared = await acquire(worker_pool, "shared", "study", priority=3)
        own = await acquire(worker_pool, "own", "study", priority=4)
        other = acquire(worker_pool, "shared", "sweep")
        await settle()
        await worker_pool.cancel_queue("study")
        assert workers.killed == [own]
        assert await other is shared

    run(scenario)


def test_a_draining_pool_continues_running_fits_and_starts_none(workers):
    async def scenario(worker_pool: WorkerPool) -> None:
        pruned, ended = (
            await acquire(worker_pool, "pruned", "a"),
            await acquire(worker_pool, "ended", "a"),
        )
        continues, waits = (
            acquire(worker_pool, "pruned", "b"),
            acquire(worker_pool, "ended", "b"),
        )
        await settle()
        await worker_pool.drain()
        await worker_pool.cancel_request(request("pruned", "a"))
        await worker_pool.release(request("ended", "a"))
        await settle()
        assert continues.result() is pruned
        assert not waits.done()
        await worker_pool.close()
        await settle()
        assert isinstance(waits.exception(), PoolClosed)
        assert sorted(map(id, workers.killed)) == sorted(map(id, [pruned, ended]))

    run(scenario)


def test_a_worker_that_cannot_be_started_is_the_failure_of_its_request(workers, monkeypatch):
    def refuse(spec: WorkerSpec) -> PooledWorker:
        if spec == PAIR:
            raise ValueError("no such resource")
        return workers.open(spec)

    monkeypatch.setattr(warm_module, "start_worker", refuse)

    async def scenario(worker_pool: WorkerPool) -> None:
        await acquire(worker_pool, "now")
        broken, fine = (
            acquire(worker_pool, "broken", spec=PAIR),
            acquire(worker_pool, "fine", priority=1),
        )
        await settle()
        await worker_pool.release(request("now"))
        await settle()
        assert isinstance(broken.exception(), ValueError)
        assert fine.done()

    run(scenario)


def test_a_failed_read_of_the_capacity_is_repeated(workers, monkeypatch):
    monkeypatch.setattr(warm_module, "REFRESH_S", 0.001)
    replies = iter([ConnectionError("try again"), {"CPU": 2.0}])

    def capacity(cluster: Cluster) -> dict[str, float]:
        reply = next(replies, {"CPU": 2.0})
        if isinstance(reply, Exception):
            raise reply
        return reply

    monkeypatch.setattr(Cluster, "capacity", capacity)

    async def scenario(worker_pool: WorkerPool) -> None:
        await acquire(worker_pool, "first")
        await asyncio.wait_for(acquire(worker_pool, "second"), 10)

    run(scenario, cpus=1)


def test_queues_take_turns_however_long_one_of_them_is(workers):
    async def scenario(worker_pool: WorkerPool) -> None:
        many = [acquire(worker_pool, f"a{i}", "study-a") for i in range(20)]
        await settle()
        few = [acquire(worker_pool, f"b{i}", "study-b") for i in range(2)]
        await settle()
        await worker_pool.release(request("a0", "study-a"))
        await settle()
        assert few[0].done()
        await worker_pool.release(request("b0", "study-b"))
        await settle()
        assert few[1].done()
        assert sum(a.done() for a in many) == 2

    run(scenario)


def test_priority_decides_within_a_queue(workers):
    async def scenario(worker_pool: WorkerPool) -> None:
        acquire(worker_pool, "now", spec=PAIR)
        late = acquire(worker_pool, "late", priority=5)
        early = acquire(worker_pool, "early", priority=1)
        last = acquire(worker_pool, "last", priority=9)
        await settle()
        await worker_pool.release(request("now"))
        await settle()
        assert (early.done(), late.done(), last.done()) == (True, True, False)

    run(scenario)


def test_a_large_fit_is_not_starved_by_small_ones(workers):
    async def scenario(worker_pool: WorkerPool) -> None:
        acquire(worker_pool, "s0")
        acquire(worker_pool, "s1")
        large = acquire(worker_pool, "large", "study", spec=PAIR)
        acquire(worker_pool, "s2")
        await settle()
        await worker_pool.release(request("s0"))
        await settle()
        assert not large.done()
        await worker_pool.release(request("s1"))
        await settle()
        assert large.done()

    run(scenario)


def test_an_idle_worker_with_another_spec_is_closed_where_capacity_is_needed(workers):
    async def scenario(worker_pool: WorkerPool) -> None:
        group = await acquire(worker_pool, "sharded", spec=PAIR)
        await worker_pool.release(request("sharded"))
        seat = await acquire(worker_pool, "single")
        assert workers.killed == [group]
        assert seat.spec == SINGLE

    run(scenario)


def test_an_ended_group_is_not_reused(workers):
    async def scenario(worker_pool: WorkerPool) -> None:
        group = await acquire(worker_pool, "one", spec=PAIR)
        await settle()
        await worker_pool.release(request("one"))
        group.ended.set_result(None)
        await settle()
        assert await acquire(worker_pool, "two", spec=PAIR) is not group

    run(scenario)


def test_a_dead_worker_is_replaced_and_its_capacity_is_free(workers):
    async def scenario(worker_pool: WorkerPool) -> None:
        first = await acquire(worker_pool, "one", spec=PAIR)
        await worker_pool.release(request("one"), worker_alive=False)
        assert workers.killed == [first]
        assert await acquire(worker_pool, "two", spec=PAIR) is not first

    run(scenario)


def test_fractions_of_a_gpu_hold_several_fits(workers):
    async def scenario(worker_pool: WorkerPool) -> None:
        requests = [acquire(worker_pool, f"f{i}", spec=THIRD) for i in range(4)]
        await settle()
        assert sum(a.done() for a in requests) == 3

    run(scenario, cpus=8, gpus=1)


def test_a_cancelled_queue_loses_all_its_requests(workers):
    async def scenario(worker_pool: WorkerPool) -> None:
        gone = [acquire(worker_pool, f"a{i}", "study-a") for i in range(3)]
        stays = acquire(worker_pool, "b", "study-b", priority=9)
        await settle()
        await worker_pool.cancel_queue("study-a")
        await settle()
        assert stays.done()
        assert isinstance(gone[2].exception(), RequestCancelled)

    run(scenario)


def test_idle_workers_are_closed_after_a_while(workers, monkeypatch):
    monkeypatch.setattr(warm_module, "IDLE_S", 0.01)

    async def scenario(worker_pool: WorkerPool) -> None:
        worker = await acquire(worker_pool, "f0")
        await worker_pool.release(request("f0"))
        await asyncio.sleep(0.05)
        assert workers.killed == [worker]

    run(scenario)


def test_capacity_follows_the_cluster_and_idle_workers_close_where_it_shrinks(workers):
    async def scenario(worker_pool: WorkerPool) -> None:
        requests = [acquire(worker_pool, f"f{i}") for i in range(4)]
        await settle()
        worker_pool._workers.resize({"CPU": 3.0})
        await settle()
        assert [a.done() for a in requests] == [True, True, True, False]
        worker_pool._workers.resize({"CPU": 1.0})
        await worker_pool.release(request("f0"))
        await settle()
        assert len(workers.killed) == 1
        assert not requests[3].done()
        await worker_pool.release(request("f1"), worker_alive=False)
        await worker_pool.release(request("f2"), worker_alive=False)
        await settle()
        assert requests[3].done()

    run(scenario)


def test_a_cluster_without_capacity_still_runs_one_fit(workers):
    async def scenario(worker_pool: WorkerPool) -> None:
        worker_pool._workers.resize({})
        assert (await acquire(worker_pool, "f0")).spec == SINGLE

    run(scenario)


def test_at_the_end_of_a_sweep_every_worker_is_closed(workers):
    async def scenario(worker_pool: WorkerPool) -> None:
        acquired = [await acquire(worker_pool, "idle"), await acquire(worker_pool, "busy")]
        await worker_pool.release(request("idle"))
        await worker_pool.close()
        assert sorted(map(id, workers.killed)) == sorted(map(id, acquired))

    run(scenario)


def test_shares_of_gpus_are_packed_into_whole_ones(workers):
    large = WorkerSpec(engine="torch", workers=1, cpus=1.0, gpus=0.6)

    async def scenario(worker_pool: WorkerPool) -> None:
        requests = [acquire(worker_pool, f"f{i}", spec=large) for i in range(3)]
        await settle()
        assert sum(a.done() for a in requests) == 2, "1.8 GPUs in all, but no two on one of them"
        small = acquire(worker_pool, "small", spec=THIRD, priority=-1)
        await settle()
        assert small.done()

    run(scenario, cpus=8, gpus=2)


def test_one_accelerator_type_may_be_full_while_another_is_not(workers):
    l4 = WorkerSpec(engine="torch", workers=1, cpus=1.0, gpus=1.0, accelerator="L4")

    async def scenario(worker_pool: WorkerPool) -> None:
        worker_pool._workers.resize(
            {"CPU": 8, "GPU": 4, "accelerator_type:L4": 1, "accelerator_type:A100": 3}
        )
        requests = [acquire(worker_pool, f"f{i}", spec=l4) for i in range(2)]
        await settle()
        assert [a.done() for a in requests] == [True, False]

    run(scenario)


def test_on_a_cluster_that_autoscales_workers_are_started_before_the_requests(workers, monkeypatch):
    monkeypatch.setattr(warm_module, "SPARE_S", 0.01)

    async def scenario(worker_pool: WorkerPool) -> None:
        await worker_pool.expect_demand({SINGLE: 5})
        assert len(workers.opened) == 2, "as many as there will be capacity for"
        first = await acquire(worker_pool, "f0")
        assert len(workers.opened) == 2
        await asyncio.sleep(0.05)
        assert workers.killed == [], "more requests are expected"
        await worker_pool.expect_demand({SINGLE: 1})
        await asyncio.sleep(0.05)
        assert len(workers.killed) == 1
        assert first not in workers.killed

    run(scenario, cluster=ELASTIC)


def test_on_a_cluster_of_fixed_size_no_worker_is_started_ahead(workers):
    async def scenario(worker_pool: WorkerPool) -> None:
        await worker_pool.expect_demand({SINGLE: 5})
        assert workers.opened == []

    run(scenario)


def test_a_draining_pool_assigns_no_workers_and_waits_for_running_fits(workers):
    async def scenario(worker_pool: WorkerPool) -> None:
        busy = await acquire(worker_pool, "f0")
        idle = await acquire(worker_pool, "f1")
        await worker_pool.release(request("f1"))
        await worker_pool.drain()
        assert workers.killed == [idle]
        late = acquire(worker_pool, "f2")
        await settle()
        assert not late.done()
        assert not await worker_pool.wait_until_idle(0.01)
        busy.ended.set_result(None)
        assert await worker_pool.wait_until_idle(1.0)

    run(scenario)


def test_a_closed_pool_rejects_queued_and_later_requests(workers):
    async def scenario(worker_pool: WorkerPool) -> None:
        running, waiting = acquire(worker_pool, "f0"), acquire(worker_pool, "f1")
        await settle()
        await worker_pool.reject_all()
        late = acquire(worker_pool, "f2")
        await settle()
        assert running.done()
        assert isinstance(waiting.exception(), PoolClosed)
        assert isinstance(late.exception(), PoolClosed)
        await worker_pool.release(request("f0"))
        assert len(workers.opened) == 1

    run(scenario, cpus=1)
