"""The pool of hosts: warm processes between fits, opened where there is room and closed when idle.

Owns the hosts and what the cluster has room for. A host without a fit stays warm for fits of its
layout, and is closed when another layout needs its room, or after a while. It knows nothing of
fits and of who waits for a host.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import ray
import ray.exceptions

from w2s_ray.execute.cluster import Cluster
from w2s_ray.execute.workers import start_worker
from w2s_ray.scheduling.requests import NOTHING, WorkerSpec, has_room

_log = logging.getLogger(__name__)

IDLE_S = 60.0
"""How long a host without a fit stays warm."""
SPARE_S = 10.0
"""How long, on a cluster that autoscales, where no fit of its layout is to be expected."""
LOOK_S = 3.0
"""Seconds between two looks at what the cluster has."""


@dataclass(eq=False)
class PooledWorker:
    """A host and the layout that it serves."""

    actor: Any
    spec: WorkerSpec
    idle_since: float = 0.0
    gone: bool = False

    async def wait_until_idle(self) -> bool:
        """Wait until it has no fit under way; False where it is gone, and its fit with it."""
        with contextlib.suppress(ray.exceptions.RayError):
            await self.actor.wait_until_idle.remote()
            return True
        return False

    def kill(self) -> None:
        """End it; Ray frees what it holds, a worker group's placement group included."""
        self.gone = True
        ray.kill(self.actor)


class WarmWorkers:
    """The hosts of a cluster that has `room` for them."""

    def __init__(
        self, room: Mapping[str, float], cluster: Cluster, *, changed: Callable[[], None]
    ) -> None:
        """`changed` is called when there may be room that there was not."""
        self.room = dict(room)
        self._cluster = cluster
        self._changed = changed
        self._expected: dict[WorkerSpec, int] = {}
        self._idle: list[PooledWorker] = []
        self._busy: list[PooledWorker] = []
        self._tasks: set[asyncio.Task[None]] = set()
        self._follows = False

    @property
    def workers(self) -> list[PooledWorker]:
        """All hosts."""
        return [*self._idle, *self._busy]

    def take(self, spec: WorkerSpec) -> PooledWorker | None:
        """A warm host of this layout, a new one where there is room, else None."""
        worker = next((worker for worker in self._idle if worker.spec == spec), None)
        if worker is not None:
            self._idle.remove(worker)
        else:
            while not self._has_room(spec) and self._idle:
                self._close(min(self._idle, key=lambda worker: worker.idle_since))
            if not self._has_room(spec):
                return None
            worker = self._open(spec)
        self._busy.append(worker)
        return worker

    def give_back(self, worker: PooledWorker) -> None:
        """Keep a host whose fit has ended warm for a while, if there is still room for it."""
        self._busy.remove(worker)
        if worker.gone:
            worker.kill()
            return
        self._rest(worker)
        self._shrink()

    def end(self, worker: PooledWorker) -> None:
        """End a host that has a fit."""
        self._busy.remove(worker)
        worker.kill()

    def expect_demand(self, workers: Mapping[WorkerSpec, int], *, ahead: bool) -> None:
        """So many hosts of each layout will be taken soon.

        With `ahead` they are opened now, where nodes must be started for them.
        """
        self._expected = dict(workers)
        for spec, count in workers.items() if ahead and self._cluster.autoscales else ():
            there = sum(worker.spec == spec for worker in self.workers)
            for _ in range(count - there):
                if not self._has_room(spec):
                    break
                self._rest(self._open(spec))

    def close_idle(self) -> None:
        """Close all hosts without a fit."""
        while self._idle:
            self._close(self._idle[0])

    def close(self) -> None:
        """Close all hosts, whatever they do."""
        for worker in self.workers:
            worker.kill()
        self._idle, self._busy = [], []

    def follow_cluster(self) -> None:
        """Keep up with nodes that come and go, from now on."""
        if not self._follows:
            self._follows = True
            self.later(self._follow_cluster())

    def resize(self, resources: Mapping[str, float]) -> None:
        """The cluster has these resources now; hosts without a fit go if they are too many."""
        self.room = {**dict.fromkeys(self.room, 0.0), **resources}
        self._shrink()
        self._changed()

    def later(self, work: Any) -> None:
        """Run a coroutine beside all else."""
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _open(self, spec: WorkerSpec) -> PooledWorker:
        worker = PooledWorker(start_worker(spec), spec)
        if spec.workers > 1 or spec.engine == "deepspeed":
            self.later(self._notice_end(worker))
        return worker

    def _has_room(self, spec: WorkerSpec) -> bool:
        return has_room(spec, held=[worker.spec for worker in self.workers], room=self.room)

    async def _follow_cluster(self) -> None:
        while True:
            await asyncio.sleep(LOOK_S)
            try:
                room = await asyncio.to_thread(self._cluster.room)
            except (ray.exceptions.RayError, ConnectionError, RuntimeError) as error:
                _log.warning("the cluster's nodes are unknown for now: %s", error)
                continue
            self.resize(room)

    def _shrink(self) -> None:
        """Close hosts without a fit as long as all together take more than there is."""
        while self._idle and not self._has_room(NOTHING):
            self._close(min(self._idle, key=lambda worker: worker.idle_since))

    async def _notice_end(self, worker: PooledWorker) -> None:
        """A worker group that has ended is handed to nobody."""
        try:
            await worker.actor.serve.remote()
        except ray.exceptions.RayError:
            pass
        finally:
            worker.gone = True
            if worker in self._idle:
                self._idle.remove(worker)
            self._changed()

    def _rest(self, worker: PooledWorker) -> None:
        """Keep a host without a fit, for a while."""
        worker.idle_since = time.monotonic()
        self._idle.append(worker)
        self.later(self._close_if_still_idle(worker, worker.idle_since))

    async def _close_if_still_idle(self, worker: PooledWorker, since: float) -> None:
        """Close a host that nobody wants: its node may have nothing else to stay for."""
        spare_s = min(SPARE_S, IDLE_S)
        await asyncio.sleep(spare_s)
        if self._cluster.autoscales:
            while worker in self._idle and worker.idle_since == since and self._is_expected(worker):
                await asyncio.sleep(spare_s)
        else:
            await asyncio.sleep(IDLE_S - spare_s)
        if worker in self._idle and worker.idle_since == since:
            self._close(worker)

    def _is_expected(self, worker: PooledWorker) -> bool:
        """Whether fits are about to ask for more hosts of this layout than there would be."""
        others = sum(other.spec == worker.spec for other in self.workers) - 1
        return self._expected.get(worker.spec, 0) > others

    def _close(self, worker: PooledWorker) -> None:
        self._idle.remove(worker)
        worker.kill()
