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

from w2s_ray.execute.admission import NOTHING, Layout, has_room
from w2s_ray.execute.cluster import Cluster
from w2s_ray.execute.fits.hosts import open_host

_log = logging.getLogger(__name__)

IDLE_S = 60.0
"""How long a host without a fit stays warm."""
SPARE_S = 10.0
"""How long, on a cluster that autoscales, where no fit of its layout is to be expected."""
LOOK_S = 3.0
"""Seconds between two looks at what the cluster has."""


@dataclass(eq=False)
class Host:
    """A host and the layout that it serves."""

    actor: Any
    layout: Layout
    idle_since: float = 0.0
    gone: bool = False

    async def rests(self) -> bool:
        """Wait until it has no fit under way; False where it is gone, and its fit with it."""
        with contextlib.suppress(ray.exceptions.RayError):
            await self.actor.rest.remote()
            return True
        return False

    def kill(self) -> None:
        """End it; Ray frees what it holds, a worker group's placement group included."""
        self.gone = True
        ray.kill(self.actor)


class Pool:
    """The hosts of a cluster that has `room` for them."""

    def __init__(
        self, room: Mapping[str, float], cluster: Cluster, *, changed: Callable[[], None]
    ) -> None:
        """`changed` is called when there may be room that there was not."""
        self.room = dict(room)
        self._cluster = cluster
        self._changed = changed
        self._expected: dict[Layout, int] = {}
        self._idle: list[Host] = []
        self._busy: list[Host] = []
        self._tasks: set[asyncio.Task[None]] = set()
        self._follows = False

    @property
    def hosts(self) -> list[Host]:
        """All hosts."""
        return [*self._idle, *self._busy]

    def take(self, layout: Layout) -> Host | None:
        """A warm host of this layout, a new one where there is room, else None."""
        host = next((host for host in self._idle if host.layout == layout), None)
        if host is not None:
            self._idle.remove(host)
        else:
            while not self._has_room(layout) and self._idle:
                self._close(min(self._idle, key=lambda host: host.idle_since))
            if not self._has_room(layout):
                return None
            host = self._open(layout)
        self._busy.append(host)
        return host

    def give_back(self, host: Host) -> None:
        """Keep a host whose fit has ended warm for a while, if there is still room for it."""
        self._busy.remove(host)
        if host.gone:
            host.kill()
            return
        self._rest(host)
        self._shrink()

    def end(self, host: Host) -> None:
        """End a host that has a fit."""
        self._busy.remove(host)
        host.kill()

    def expect(self, hosts: Mapping[Layout, int], *, ahead: bool) -> None:
        """So many hosts of each layout will be taken soon.

        With `ahead` they are opened now, where nodes must be started for them.
        """
        self._expected = dict(hosts)
        for layout, count in hosts.items() if ahead and self._cluster.autoscales else ():
            there = sum(host.layout == layout for host in self.hosts)
            for _ in range(count - there):
                if not self._has_room(layout):
                    break
                self._rest(self._open(layout))

    def close_idle(self) -> None:
        """Close all hosts without a fit."""
        while self._idle:
            self._close(self._idle[0])

    def close(self) -> None:
        """Close all hosts, whatever they do."""
        for host in self.hosts:
            host.kill()
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

    def _open(self, layout: Layout) -> Host:
        host = Host(open_host(layout), layout)
        if layout.workers > 1 or layout.engine == "deepspeed":
            self.later(self._notice_end(host))
        return host

    def _has_room(self, layout: Layout) -> bool:
        return has_room(layout, held=[host.layout for host in self.hosts], room=self.room)

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
            self._close(min(self._idle, key=lambda host: host.idle_since))

    async def _notice_end(self, host: Host) -> None:
        """A worker group that has ended is handed to nobody."""
        try:
            await host.actor.serve.remote()
        except ray.exceptions.RayError:
            pass
        finally:
            host.gone = True
            if host in self._idle:
                self._idle.remove(host)
            self._changed()

    def _rest(self, host: Host) -> None:
        """Keep a host without a fit, for a while."""
        host.idle_since = time.monotonic()
        self._idle.append(host)
        self.later(self._close_if_still_idle(host, host.idle_since))

    async def _close_if_still_idle(self, host: Host, since: float) -> None:
        """Close a host that nobody wants: its node may have nothing else to stay for."""
        spare_s = min(SPARE_S, IDLE_S)
        await asyncio.sleep(spare_s)
        if self._cluster.autoscales:
            while host in self._idle and host.idle_since == since and self._is_expected(host):
                await asyncio.sleep(spare_s)
        else:
            await asyncio.sleep(IDLE_S - spare_s)
        if host in self._idle and host.idle_since == since:
            self._close(host)

    def _is_expected(self, host: Host) -> bool:
        """Whether fits are about to ask for more hosts of this layout than there would be."""
        others = sum(other.layout == host.layout for other in self.hosts) - 1
        return self._expected.get(host.layout, 0) > others

    def _close(self, host: Host) -> None:
        self._idle.remove(host)
        host.kill()
