"""The floor: admits fits by the rule of `admission`, and hands each a host of the pool.

Owns who wants which fit: one that several requesters want runs once, and stops when the last of
them gives it up. Every request is answered in the end. A fit that waits holds nothing, so watchers
and worker groups can't wait for each other. It trains nothing.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import ray

from w2s_ray.execute.cluster import Cluster, here
from w2s_ray.execute.warm_workers import PooledWorker, WarmWorkers
from w2s_ray.scheduling.requests import FitRequest, RequestId, WorkerSpec, next_request

MOST_CALLS = 100_000
"""Calls at once. Each fit that waits is one; beyond Ray's limit of 1,000 the calls that make room
would wait behind those that need it, for ever."""
STOP_S = 60.0
"""How long a fit that nobody wants any more may take to stop; then its host is ended."""


class PoolClosed(Exception):
    """The sweep is being stopped: nobody is let in any more."""


class RequestCancelled(Exception):
    """The request was withdrawn while it waited."""


@dataclass
class _Waiting:
    request: FitRequest
    worker: asyncio.Future[Any] = field(repr=False)


@dataclass
class _Busy:
    """A host with a fit."""

    request: FitRequest
    """Of the requester that watches over the fit; the others wait."""
    worker: PooledWorker
    stopping: bool = False
    """Nobody wants the fit any more, but it has not ended yet."""


def start_worker_pool(cluster: Cluster) -> Any:
    """The floor of `cluster`, as an actor; its hosts die with it, and it starts afresh."""
    options = {"max_restarts": -1, "max_task_retries": -1, "max_concurrency": MOST_CALLS}
    actor = ray.remote(num_cpus=0, **options, **here())(WorkerPool)
    return actor.remote(cluster.room(), cluster)


class WorkerPool:
    """Admits fits to a cluster that has `room` for hosts.

    On one that autoscales that is the room of all nodes that may be started: a host that has no
    node yet waits in Ray, whose autoscaler starts one for it.
    """

    def __init__(self, room: Mapping[str, float], cluster: Cluster) -> None:
        self._workers = WarmWorkers(room, cluster, changed=self._admit_next)
        self._progress_tracker: Any = None
        self._draining = False
        self._over = False
        self._waiting: dict[RequestId, _Waiting] = {}
        self._busy: dict[str, _Busy] = {}
        """Fit -> its host."""

    async def acquire(self, request: FitRequest, progress_tracker: Any) -> Any:
        """The host that the fit runs on, once there is room and it is its party's turn.

        Of several requesters of one fit the first gets the host. The next gets it when that one
        has ended, and finds the fit's record; or when that one gave the fit up, and goes on with
        the same attempt. A requester that asks again (its watcher was restarted) keeps its host,
        or its place. The board comes with each call: Ray warns of an actor that restarts and has
        another's handle among its constructor's arguments.

        Raises:
            PoolClosed, RequestCancelled: the fit is not admitted.
        """
        self._progress_tracker = progress_tracker
        if (busy := self._watched_by(request.id)) is not None:
            return busy.worker.actor
        if self._over:
            raise PoolClosed
        self._workers.follow_cluster()
        waiting = self._waiting.get(request.id)
        if waiting is None:
            waiting = _Waiting(request, asyncio.get_running_loop().create_future())
            self._waiting[request.id] = waiting
            self._admit_next()
        return await asyncio.shield(waiting.worker)  # two calls may wait for one answer

    async def has_request(self, request: RequestId) -> bool:
        """Whether the request waits, or has a host."""
        return request in self._waiting or self._watched_by(request) is not None

    async def release(self, request: RequestId, *, worker_alive: bool = True) -> None:
        """The requester's attempt has ended, or it no longer wants to start."""
        self._forget(request)
        busy = self._watched_by(request)
        if busy is not None and not (worker_alive and self._pass_on(busy, begins=True)):
            self._end(busy, worker_alive=worker_alive)
        self._admit_next()

    async def cancel_request(self, request: RequestId) -> bool:
        """The requester doesn't want the fit any more, which may be under way.

        True where others want it: then it goes on for them. Else it stops.
        """
        self._forget(request)
        busy = self._watched_by(request)
        if busy is not None and not self._pass_on(busy, begins=False):
            busy.stopping = True
            self._progress_tracker.stop.remote(request.run_id)
            self._workers.later(self._await_stop(busy))
        self._admit_next()
        return self._is_wanted(request.run_id)

    async def cancel_queue(self, queue: str) -> None:
        """None of a party's fits is watched over any more.

        Where the sweep is being stopped they may still write a checkpoint.
        """
        if self._draining:
            return
        for request in [r for r in self._waiting if r.queue == queue]:
            self._forget(request)
        for busy in list(self._busy.values()):
            watched = busy.request.queue == queue and not busy.stopping
            if watched and not self._pass_on(busy, begins=False):
                self._end(busy, worker_alive=False)
        self._admit_next()

    async def stop_starting(self, run_id: str) -> None:
        """End the host of a fit that has not begun, whoever wants it: the sweep is stopping."""
        busy = self._busy.get(run_id)
        if busy is not None:
            self._end(busy, worker_alive=False)

    async def expect_demand(self, fits: Mapping[WorkerSpec, int]) -> None:
        """So many fits of each layout are about to ask.

        Where nodes must be started first, their hosts are opened now.
        """
        self._workers.expect_demand(fits, ahead=not (self._draining or self._in_line()))

    async def drain(self) -> None:
        """Let nobody in any more, and close hosts without a fit."""
        self._draining = True
        self._workers.close_idle()

    async def reject_all(self) -> None:
        """Let nobody in any more, nor wait: who asks gets `PoolClosed`."""
        self._draining = self._over = True
        for request in list(self._waiting):
            self._forget(request, PoolClosed())

    async def wait_until_idle(self, timeout_s: float) -> bool:
        """Wait until no host has a fit under way; False where that takes longer than `timeout_s`.

        A host that has no node yet has none under way.
        """
        resting = [
            asyncio.ensure_future(worker.wait_until_idle()) for worker in self._workers.workers
        ]
        if not resting:
            return True
        _, restless = await asyncio.wait(resting, timeout=timeout_s)
        return not restless

    async def close(self) -> None:
        """Close every host, whatever it does: the sweep is over."""
        await self.reject_all()
        self._workers.close()
        self._busy = {}

    def _watched_by(self, request: RequestId) -> _Busy | None:
        """The host of the request's fit, if it is this requester that watches over it."""
        busy = self._busy.get(request.run_id)
        mine = busy is not None and busy.request.id == request and not busy.stopping
        return busy if mine else None

    def _is_wanted(self, run_id: str) -> bool:
        busy = self._busy.get(run_id)
        watched = busy is not None and not busy.stopping
        return watched or any(request.run_id == run_id for request in self._waiting)

    def _forget(self, request: RequestId, why: Exception | None = None) -> None:
        """Take a request out of the line; whoever waits for its answer gets one."""
        waiting = self._waiting.pop(request, None)
        if waiting is not None and not waiting.worker.done():
            waiting.worker.set_exception(why or RequestCancelled())

    def _in_line(self) -> list[_Waiting]:
        """Those that wait for room; the others wait for the same fit of another requester."""
        return [w for w in self._waiting.values() if w.request.run_id not in self._busy]

    def _pass_on(self, busy: _Busy, *, begins: bool) -> bool:
        """Give a fit's host to the next that wants the same fit; False where nobody does.

        `begins` says that the attempt has ended: the next begins one of its own, unless the store
        has the fit's record by now. No such attempt begins where nothing new may start.
        """
        run_id = busy.request.run_id
        others = (w for w in self._waiting.values() if w.request.run_id == run_id)
        successor = next(others, None)
        if successor is None or busy.worker.gone or (begins and self._draining):
            return False
        if begins:
            self._progress_tracker.fit_ended.remote(run_id)
            self._progress_tracker.fit_admitted.remote(run_id)
        self._answer(successor, busy.worker)
        return True

    def _answer(self, waiting: _Waiting, worker: PooledWorker) -> None:
        """Let a requester watch over its fit on `worker`."""
        del self._waiting[waiting.request.id]
        self._busy[waiting.request.run_id] = _Busy(waiting.request, worker)
        if not waiting.worker.done():
            waiting.worker.set_result(worker.actor)

    def _end(self, busy: _Busy, *, worker_alive: bool) -> None:
        """No attempt at the fit is under way any more."""
        del self._busy[busy.request.run_id]
        self._progress_tracker.fit_ended.remote(busy.request.run_id)
        if worker_alive:
            self._workers.give_back(busy.worker)
        else:
            self._workers.end(busy.worker)

    async def _await_stop(self, busy: _Busy) -> None:
        """Free the host of a fit that nobody wants any more, once the fit has ended."""
        try:
            stopped = await asyncio.wait_for(busy.worker.wait_until_idle(), STOP_S)
        except TimeoutError:
            stopped = False
        if self._busy.get(busy.request.run_id) is busy:
            self._end(busy, worker_alive=stopped)
            self._admit_next()

    def _admit_next(self) -> None:
        """Admit whoever's turn it is, as long as there is room."""
        while not self._draining and (in_line := self._in_line()):
            requests = [waiting.request for waiting in in_line]
            busy = (each.request for each in self._busy.values())
            first = in_line[next_request(requests, busy=busy, room=self._workers.room)]
            try:
                worker = self._workers.take(first.request.spec)
            except Exception as error:  # noqa: BLE001 - handed to whoever waits for the host
                self._forget(first.request.id, error)
                continue
            if worker is None:
                return
            self._progress_tracker.fit_admitted.remote(first.request.run_id)
            self._answer(first, worker)
