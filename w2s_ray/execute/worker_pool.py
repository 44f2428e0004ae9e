"""The worker pool: an actor that queues requests for fits and assigns each a worker.

Owns the requests. A fit with several requests runs once, and stops when the last of them is
cancelled. Every request gets a reply in the end. A queued fit holds no resources, so monitoring
processes and worker groups can't deadlock. The order of requests is in `scheduling.requests`.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Mapping
from dataclasses import dataclass, field
from typing import Any

import ray
from ray.exceptions import RayError

from w2s_ray.execute.cluster import Cluster, on_this_node
from w2s_ray.execute.warm_workers import PooledWorker, WarmWorkers
from w2s_ray.scheduling.requests import FitRequest, RequestId, WorkerSpec, next_request

CONCURRENT_CALLS = 100_000
"""Each queued fit is a call in progress. At Ray's default of 1,000, the calls that free resources
would wait for ever behind those that need them."""
STOP_S = 60.0
"""How long a fit without requests may take to stop; then its worker is killed."""


class PoolClosed(Exception):
    """The sweep is being stopped: the pool accepts no requests."""


class RequestCancelled(Exception):
    """The request was cancelled while it was queued."""


@dataclass
class _Queued:
    request: FitRequest
    assigned: asyncio.Future[_Assigned] = field(repr=False)


@dataclass
class _Assigned:
    """A worker that has a fit."""

    request: FitRequest
    """The request whose process monitors the fit; others for the same fit are queued."""
    worker: PooledWorker
    starting: Awaitable[None]
    """Done once the progress tracker knows of the attempt."""
    stopping: bool = False
    """The fit has no requests, but it has not ended yet."""

    async def started_worker(self) -> Any:
        """The worker's actor, once a stop of the fit's last attempt can't reach this one."""
        with contextlib.suppress(RayError):
            await self.starting
        return self.worker.actor


def start_worker_pool(cluster: Cluster) -> Any:
    """The worker pool of `cluster`, as an actor; its workers die with it, and it restarts empty."""
    options = {"max_restarts": -1, "max_task_retries": -1, "max_concurrency": CONCURRENT_CALLS}
    actor = ray.remote(num_cpus=0, **options, **on_this_node())(WorkerPool)
    return actor.remote(cluster.capacity(), cluster)


class WorkerPool:
    """Assigns workers of a cluster with this `capacity`.

    On a cluster that autoscales it is the capacity of all nodes that may be started: a worker
    without a node is pending in Ray, and the autoscaler starts a node for it.
    """

    def __init__(self, capacity: Mapping[str, float], cluster: Cluster) -> None:
        self._workers = WarmWorkers(capacity, cluster, on_change=self._assign_next)
        self._progress_tracker: Any = None
        self._draining = False
        self._closed = False
        self._queue: dict[RequestId, _Queued] = {}
        self._assigned: dict[str, _Assigned] = {}
        """Fit -> its worker."""

    async def acquire(self, request: FitRequest, progress_tracker: Any) -> Any:
        """The worker for the fit, once resources are free and it is the request's turn.

        Of several requests for one fit the first gets the worker. The next gets it when the first
        attempt has ended, and finds the fit's record; or when the first request is cancelled, and
        monitors the same attempt. A repeated request (its process was restarted) keeps its worker
        or its place in the queue. The progress tracker is an argument of each call: Ray warns about
        a restarting actor whose constructor takes another actor's handle.

        Raises:
            PoolClosed, RequestCancelled: the fit gets no worker.
        """
        self._progress_tracker = progress_tracker
        if (assigned := self._assigned_to(request.id)) is not None:
            return await assigned.started_worker()
        if self._closed:
            raise PoolClosed
        self._workers.follow_cluster()
        queued = self._queue.get(request.id)
        if queued is None:
            queued = _Queued(request, asyncio.get_running_loop().create_future())
            self._queue[request.id] = queued
            self._assign_next()
        assigned = await asyncio.shield(queued.assigned)  # two calls may wait for one future
        return await assigned.started_worker()

    async def has_request(self, request: RequestId) -> bool:
        """Whether the request is queued or has a worker."""
        return request in self._queue or self._assigned_to(request) is not None

    async def release(self, request: RequestId, *, worker_alive: bool = True) -> None:
        """The request's attempt has ended, or the request is given up before it starts."""
        self._remove(request)
        assigned = self._assigned_to(request)
        if assigned is not None and not (
            worker_alive and self._reassign(assigned, new_attempt=True)
        ):
            self._end(assigned, worker_alive=worker_alive)
        self._assign_next()

    async def cancel_request(self, request: RequestId) -> bool:
        """Cancel a request, also one whose fit is running.

        True where the fit has other requests: then it continues for them. Else it stops.
        """
        self._remove(request)
        assigned = self._assigned_to(request)
        if assigned is not None and not self._reassign(assigned, new_attempt=False):
            assigned.stopping = True
            self._progress_tracker.stop.remote(request.run_id)
            self._workers.run_later(self._await_stop(assigned))
        self._assign_next()
        return self._is_requested(request.run_id)

    async def cancel_queue(self, queue: str) -> None:
        """Cancel all requests of a queue: no process monitors its fits any more.

        While the sweep is being stopped its fits may still write a checkpoint.
        """
        if self._draining:
            return
        for request in [r for r in self._queue if r.queue == queue]:
            self._remove(request)
        for assigned in list(self._assigned.values()):
            monitored = assigned.request.queue == queue and not assigned.stopping
            if monitored and not self._reassign(assigned, new_attempt=False):
                self._end(assigned, worker_alive=False)
        self._assign_next()

    async def stop_starting(self, run_id: str) -> None:
        """End the worker of a fit that has not started: the sweep is stopping."""
        assigned = self._assigned.get(run_id)
        if assigned is not None:
            self._end(assigned, worker_alive=False)

    async def expect_demand(self, fits: Mapping[WorkerSpec, int]) -> None:
        """Set how many fits with each spec will soon be requested.

        Where nodes must be started for them, their workers are started now.
        """
        self._workers.expect_demand(fits, ahead=not (self._draining or self._next_fits()))

    async def drain(self) -> None:
        """Assign no more workers, and close idle ones."""
        self._draining = True
        self._workers.close_idle()

    async def reject_all(self) -> None:
        """Assign no more workers, and raise `PoolClosed` for every request."""
        self._draining = self._closed = True
        for request in list(self._queue):
            self._remove(request, PoolClosed())

    async def wait_until_idle(self, timeout_s: float) -> bool:
        """Wait until no worker runs a fit; False where that takes longer than `timeout_s`.

        A worker that has no node yet runs none.
        """
        running = [
            asyncio.ensure_future(worker.wait_until_idle()) for worker in self._workers.workers
        ]
        if not running:
            return True
        _, unfinished = await asyncio.wait(running, timeout=timeout_s)
        return not unfinished

    async def close(self) -> None:
        """Close every worker, busy ones as well: the sweep has ended."""
        await self.reject_all()
        self._workers.close()
        self._assigned = {}

    def _assigned_to(self, request: RequestId) -> _Assigned | None:
        """The worker of the request's fit, if this request's process monitors the fit."""
        assigned = self._assigned.get(request.run_id)
        own = assigned is not None and assigned.request.id == request and not assigned.stopping
        return assigned if own else None

    def _is_requested(self, run_id: str) -> bool:
        assigned = self._assigned.get(run_id)
        monitored = assigned is not None and not assigned.stopping
        return monitored or any(request.run_id == run_id for request in self._queue)

    def _remove(self, request: RequestId, error: Exception | None = None) -> None:
        """Remove a request from the queue; its caller gets an exception."""
        queued = self._queue.pop(request, None)
        if queued is not None and not queued.assigned.done():
            queued.assigned.set_exception(error or RequestCancelled())

    def _next_fits(self) -> list[_Queued]:
        """Queued requests for fits that don't run; the others wait for the same fit's end."""
        return [q for q in self._queue.values() if q.request.run_id not in self._assigned]

    def _reassign(self, assigned: _Assigned, *, new_attempt: bool) -> bool:
        """Give a fit's worker to the next request for the same fit; False where there is none.

        With `new_attempt` the attempt has ended, and the next request starts one of its own unless
        the store has the fit's record by then. While the pool drains, none is started.
        """
        run_id = assigned.request.run_id
        others = (q for q in self._queue.values() if q.request.run_id == run_id)
        successor = next(others, None)
        if successor is None or assigned.worker.gone or (new_attempt and self._draining):
            return False
        if new_attempt:
            self._progress_tracker.attempt_ended.remote(run_id)
            self._start_attempt(successor, assigned.worker)
        else:
            self._assign(successor, assigned.worker, assigned.starting)
        return True

    def _start_attempt(self, queued: _Queued, worker: PooledWorker) -> None:
        """Assign `worker` to a queued request, for a new attempt."""
        starting = self._progress_tracker.attempt_starting.remote(queued.request.run_id)
        self._assign(queued, worker, starting)

    def _assign(self, queued: _Queued, worker: PooledWorker, starting: Awaitable[None]) -> None:
        """Assign `worker` to a queued request."""
        del self._queue[queued.request.id]
        assigned = _Assigned(queued.request, worker, starting)
        self._assigned[queued.request.run_id] = assigned
        if not queued.assigned.done():
            queued.assigned.set_result(assigned)

    def _end(self, assigned: _Assigned, *, worker_alive: bool) -> None:
        """Free a worker whose attempt has ended."""
        del self._assigned[assigned.request.run_id]
        self._progress_tracker.attempt_ended.remote(assigned.request.run_id)
        if worker_alive:
            self._workers.give_back(assigned.worker)
        else:
            self._workers.end(assigned.worker)

    async def _await_stop(self, assigned: _Assigned) -> None:
        """Free the worker of a fit without requests, once the fit has ended."""
        try:
            stopped = await asyncio.wait_for(assigned.worker.wait_until_idle(), STOP_S)
        except TimeoutError:
            stopped = False
        if self._assigned.get(assigned.request.run_id) is assigned:
            self._end(assigned, worker_alive=stopped)
            self._assign_next()

    def _assign_next(self) -> None:
        """Assign workers in the order of the queue, as long as resources are free."""
        while not self._draining and (queued := self._next_fits()):
            requests = [each.request for each in queued]
            busy = (each.request for each in self._assigned.values())
            first = queued[next_request(requests, busy=busy, capacity=self._workers.capacity)]
            try:
                worker = self._workers.take(first.request.spec)
            except Exception as error:  # noqa: BLE001 - raised in the process of the request
                self._remove(first.request.id, error)
                continue
            if worker is None:
                return
            self._start_attempt(first, worker)
