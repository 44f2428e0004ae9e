"""Warm workers: started where resources are free, kept between fits, closed when idle.

Owns the workers and the cluster's capacity. An idle worker stays warm for fits with its spec. It is
closed when a worker with another spec needs its resources, or after a while. Requests and fits are
in `worker_pool`.
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

from w2s_ray.execute.cluster import Cluster, on_node
from w2s_ray.execute.ray_internals import process_of
from w2s_ray.execute.workers import start_worker
from w2s_ray.scheduling.requests import NOTHING, WorkerSpec, has_capacity

_log = logging.getLogger(__name__)

IDLE_S = 60.0
"""How long an idle worker stays warm."""
SPARE_S = 10.0
"""How long, on a cluster that autoscales, where no fit with its spec is expected."""
KILL_S = 20.0
"""Seconds after which a killed worker's process is ended by a signal if it still exists. Ray itself
asks the process to exit and ends it after 5 s; once that failed for a frozen process, which
kept its device until Ray ended."""
REFRESH_S = 3.0
"""Seconds between two reads of the cluster's capacity."""


@dataclass(eq=False)
class PooledWorker:
    """A worker and its spec."""

    actor: Any
    spec: WorkerSpec
    idle_since: float = 0.0
    gone: bool = False

    async def wait_until_idle(self) -> bool:
        """Wait until it runs no fit; False where it is lost, and its fit with it."""
        with contextlib.suppress(ray.exceptions.RayError):
            await self.actor.wait_until_idle.remote()
            return True
        return False

    def kill(self) -> None:
        """End it; Ray frees its resources, those of a group's placement group included."""
        self.gone = True
        ray.kill(self.actor)


class WarmWorkers:
    """The workers of a cluster with this `capacity`."""

    def __init__(
        self, capacity: Mapping[str, float], cluster: Cluster, *, on_change: Callable[[], None]
    ) -> None:
        """`on_change` is called when resources may have become free."""
        self.capacity = dict(capacity)
        self._cluster = cluster
        self._on_change = on_change
        self._expected: dict[WorkerSpec, int] = {}
        self._idle: list[PooledWorker] = []
        self._busy: list[PooledWorker] = []
        self._tasks: set[asyncio.Task[None]] = set()
        self._follows_cluster = False

    @property
    def workers(self) -> list[PooledWorker]:
        """All workers."""
        return [*self._idle, *self._busy]

    def take(self, spec: WorkerSpec) -> PooledWorker | None:
        """A warm worker with this spec, else a new one where resources are free, else None."""
        worker = next((worker for worker in self._idle if worker.spec == spec), None)
        if worker is not None:
            self._idle.remove(worker)
        else:
            while not self._has_capacity(spec) and self._idle:
                self._close(min(self._idle, key=lambda worker: worker.idle_since))
            if not self._has_capacity(spec):
                return None
            worker = self._start(spec)
        self._busy.append(worker)
        return worker

    def give_back(self, worker: PooledWorker) -> None:
        """Keep a worker whose fit has ended warm for a while, if its resources still exist."""
        self._busy.remove(worker)
        if worker.gone:
            worker.kill()
            return
        self._keep_warm(worker)
        self._shrink()

    def end(self, worker: PooledWorker) -> None:
        """End a worker that has a fit, also one whose process is frozen."""
        self._busy.remove(worker)
        process = None
        with contextlib.suppress(ray.exceptions.RayError):
            process = process_of(worker.actor)
        worker.kill()
        if process is not None:
            self.run_later(_ensure_ended(*process))

    def expect_demand(self, workers: Mapping[WorkerSpec, int], *, ahead: bool) -> None:
        """Set how many workers with each spec will be taken soon.

        With `ahead` they are started now, where nodes must be started for them.
        """
        self._expected = dict(workers)
        for spec, count in workers.items() if ahead and self._cluster.autoscales else ():
            existing = sum(worker.spec == spec for worker in self.workers)
            for _ in range(count - existing):
                if not self._has_capacity(spec):
                    break
                self._keep_warm(self._start(spec))

    def close_idle(self) -> None:
        """Close all idle workers."""
        while self._idle:
            self._close(self._idle[0])

    def close(self) -> None:
        """Close all workers, busy ones as well."""
        for worker in self.workers:
            worker.kill()
        self._idle, self._busy = [], []

    def follow_cluster(self) -> None:
        """Update the capacity regularly from now on, as nodes join and leave."""
        if not self._follows_cluster:
            self._follows_cluster = True
            self.run_later(self._refresh_capacity())

    def resize(self, resources: Mapping[str, float]) -> None:
        """Set the cluster's resources; idle workers are closed if there are too many."""
        self.capacity = {**dict.fromkeys(self.capacity, 0.0), **resources}
        self._shrink()
        self._on_change()

    def run_later(self, work: Any) -> None:
        """Run a coroutine in the background."""
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _start(self, spec: WorkerSpec) -> PooledWorker:
        worker = PooledWorker(start_worker(spec), spec)
        if spec.workers > 1 or spec.engine == "deepspeed":
            self.run_later(self._serve_group(worker))
        return worker

    def _has_capacity(self, spec: WorkerSpec) -> bool:
        held = [worker.spec for worker in self.workers]
        return has_capacity(spec, held=held, capacity=self.capacity)

    async def _refresh_capacity(self) -> None:
        while True:
            await asyncio.sleep(REFRESH_S)
            try:
                capacity = await asyncio.to_thread(self._cluster.capacity)
            except (ray.exceptions.RayError, ConnectionError, RuntimeError) as error:
                _log.warning("the cluster's nodes can't be read at present: %s", error)
                continue
            self.resize(capacity)

    def _shrink(self) -> None:
        """Close idle workers while all together hold more than the capacity."""
        while self._idle and not self._has_capacity(NOTHING):
            self._close(min(self._idle, key=lambda worker: worker.idle_since))

    async def _serve_group(self, worker: PooledWorker) -> None:
        """Run a worker group, and remove it once it has ended."""
        try:
            await worker.actor.serve.remote()
        except ray.exceptions.RayError:
            pass
        finally:
            worker.gone = True
            if worker in self._idle:
                self._idle.remove(worker)
            self._on_change()

    def _keep_warm(self, worker: PooledWorker) -> None:
        """Keep an idle worker for a while."""
        worker.idle_since = time.monotonic()
        self._idle.append(worker)
        self.run_later(self._close_if_still_idle(worker, worker.idle_since))

    async def _close_if_still_idle(self, worker: PooledWorker, since: float) -> None:
        """Close a worker that no fit uses, so that its node may be removed."""
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
        """Whether fits will soon request more workers with this spec than would be left."""
        others = sum(other.spec == worker.spec for other in self.workers) - 1
        return self._expected.get(worker.spec, 0) > others

    def _close(self, worker: PooledWorker) -> None:
        self._idle.remove(worker)
        worker.kill()


async def _ensure_ended(node: str, pid: int) -> None:
    """End a killed worker's process if it exists after `KILL_S`."""
    await asyncio.sleep(KILL_S)
    task = ray.remote(num_cpus=0, max_retries=0, **on_node(node))(_end_process)
    with contextlib.suppress(ray.exceptions.RayError):  # the node is gone, and its processes
        await task.remote(pid, KILL_S)


def _end_process(pid: int, age_s: float) -> None:
    """Kill a process of Ray on this node that is older than `age_s`; a newer one has its number."""
    import psutil  # a dependency of Ray

    with contextlib.suppress(psutil.NoSuchProcess):
        process = psutil.Process(pid)
        is_ray = "".join(process.cmdline()[:1]).startswith("ray::")
        if is_ray and time.time() - process.create_time() >= age_s:
            process.kill()
