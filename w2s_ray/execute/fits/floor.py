"""The floor: which fit may start now, and on which warm host.

Owns admission to the cluster: nothing starts that the cluster has no room for, and parties (the
sweep's own fits, each study) take turns, so that none starves another. Hosts stay warm between
fits of the same layout and are closed when somebody needs their room, or after a while. A fit that
waits holds nothing, so watchers and worker groups can't wait for each other. It trains nothing.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import ray
import ray.exceptions

from w2s_ray.execute.cluster import Cluster, here
from w2s_ray.execute.fits.hosts import Layout, open_host

IDLE_S = 60.0
"""How long a host without a fit stays warm."""
LOOK_S = 3.0
"""Seconds between two looks at what the cluster has."""
NOTHING = Layout(engine="torch", workers=0, cpus=0.0, gpus=0.0)


@dataclass(frozen=True)
class Ask:
    """A fit that wants to start."""

    run_id: str
    party: str
    """Whose turn it takes: a study's id, or the sweep's own fits."""
    layout: Layout
    rank: int = 0
    """Smaller goes first within its party."""


@dataclass
class _Host:
    """A host and the layout that it serves."""

    actor: Any
    layout: Layout
    idle_since: float = 0.0
    gone: bool = False


@dataclass
class _Waiting:
    ask: Ask
    admitted: asyncio.Future[Any] = field(repr=False)


def start_floor(cluster: Cluster) -> Any:
    """The floor of `cluster`, as an actor; its hosts die with it, and it starts afresh."""
    place = here()
    actor = ray.remote(num_cpus=0, max_restarts=-1, max_task_retries=-1, **place)(Floor)
    return actor.remote(cpus=cluster.cpus, gpus=cluster.gpus)


class Floor:
    """Admits fits to a cluster with `cpus` and `gpus`."""

    def __init__(self, *, cpus: float, gpus: float) -> None:
        self._room = {"CPU": cpus, "GPU": gpus}
        self._waiting: list[_Waiting] = []
        self._busy: dict[str, tuple[Ask, _Host]] = {}
        self._idle: list[_Host] = []
        self._tasks: set[asyncio.Task[None]] = set()
        self._looks = False

    async def admit(self, ask: Ask) -> Any:
        """The host that the fit runs on, once there is room and it is its party's turn.

        A fit that asks again (its watcher was restarted) keeps its host, or its place.
        """
        if ask.run_id in self._busy:
            return self._busy[ask.run_id][1].actor
        if not self._looks:
            self._looks = True
            self._later(self._follow_cluster())
        self._waiting = [w for w in self._waiting if w.ask.run_id != ask.run_id]
        waiting = _Waiting(ask, asyncio.get_running_loop().create_future())
        self._waiting.append(waiting)
        self._admit_next()
        return await waiting.admitted

    async def leave(self, run_id: str, *, host_lives: bool = True) -> None:
        """The fit has ended, or no longer wants to start."""
        self._waiting = [w for w in self._waiting if w.ask.run_id != run_id]
        _, host = self._busy.pop(run_id, (None, None))
        if host is not None and host_lives and not host.gone:
            host.idle_since = time.monotonic()
            self._idle.append(host)
            self._later(self._close_if_still_idle(host, host.idle_since))
            self._shrink()
        elif host is not None:
            _kill(host)
        self._admit_next()

    async def leave_party(self, party: str) -> None:
        """None of a party's fits is watched over any more."""
        left = [w.ask.run_id for w in self._waiting if w.ask.party == party]
        left += [run_id for run_id, (ask, _) in self._busy.items() if ask.party == party]
        for run_id in left:
            await self.leave(run_id, host_lives=False)

    async def close(self) -> None:
        """Close every host, whatever it does: the sweep is over."""
        for host in [*self._idle, *(host for _, host in self._busy.values())]:
            _kill(host)
        self._idle, self._busy, self._waiting = [], {}, []

    def _admit_next(self) -> None:
        """Admit whoever's turn it is, as long as there is room; nobody overtakes the first."""
        while self._waiting:
            first = min(self._waiting, key=self._turn)
            host = self._host_for(first.ask.layout)
            if host is None:
                return
            self._waiting.remove(first)
            self._busy[first.ask.run_id] = (first.ask, host)
            if not first.admitted.cancelled():
                first.admitted.set_result(host.actor)

    def _turn(self, waiting: _Waiting) -> tuple[float, int, int]:
        """The party with the smallest share of the cluster goes first, then rank, then time."""
        held = sum(
            self._share(ask.layout)
            for ask, _ in self._busy.values()
            if ask.party == waiting.ask.party
        )
        return held, waiting.ask.rank, self._waiting.index(waiting)

    def _share(self, layout: Layout) -> float:
        """The part of the cluster's scarcest resource that a layout takes."""
        return max(
            (layout.total(kind) / self._room[kind] for kind in self._room if self._room[kind]),
            default=0.0,
        )

    def _host_for(self, layout: Layout) -> _Host | None:
        """A warm host of this layout, a new one where there is room, else None."""
        for host in self._idle:
            if host.layout == layout:
                self._idle.remove(host)
                return host
        while not self._has_room(layout) and self._idle:
            self._close(min(self._idle, key=lambda host: host.idle_since))
        if not self._has_room(layout):
            return None
        host = _Host(open_host(layout), layout)
        if layout.workers > 1 or layout.engine == "deepspeed":
            self._later(self._notice_end(host))
        return host

    def _has_room(self, layout: Layout) -> bool:
        hosts = [*self._idle, *(host for _, host in self._busy.values())]
        return (not self._busy and not self._idle) or all(
            sum(host.layout.total(kind) for host in hosts) + layout.total(kind) <= room + 1e-9
            for kind, room in self._room.items()
        )

    async def _follow_cluster(self) -> None:
        """Keep up with nodes that come and go."""
        while True:
            await asyncio.sleep(LOOK_S)
            self.resize(await asyncio.to_thread(ray.cluster_resources))

    def resize(self, resources: Mapping[str, float]) -> None:
        """The cluster has these resources now; hosts without a fit go if they are too many."""
        self._room = {kind: resources.get(kind, 0.0) for kind in self._room}
        self._shrink()
        self._admit_next()

    def _shrink(self) -> None:
        """Close hosts without a fit as long as all together take more than there is."""
        while self._idle and not self._has_room(NOTHING):
            self._close(min(self._idle, key=lambda host: host.idle_since))

    async def _notice_end(self, host: _Host) -> None:
        """A worker group that has ended is handed to nobody."""
        try:
            await host.actor.serve.remote()
        except ray.exceptions.RayError:
            pass
        finally:
            host.gone = True
            if host in self._idle:
                self._idle.remove(host)
            self._admit_next()

    async def _close_if_still_idle(self, host: _Host, since: float) -> None:
        await asyncio.sleep(IDLE_S)
        if host in self._idle and host.idle_since == since:
            self._close(host)

    def _close(self, host: _Host) -> None:
        self._idle.remove(host)
        _kill(host)

    def _later(self, work: Any) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


def _kill(host: _Host) -> None:
    """End a host; Ray frees what it holds, a worker group's placement group included."""
    host.gone = True
    ray.kill(host.actor)
