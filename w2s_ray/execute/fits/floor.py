"""The floor: lets fits in by the rule of `admission`, and hands each a warm host.

Owns the hosts: they stay warm between fits of the same layout and are closed when somebody needs
their room, or after a while. A fit that waits holds nothing, so watchers and worker groups can't
wait for each other. It trains nothing.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import ray
import ray.exceptions

from w2s_ray.execute.admission import NOTHING, Ask, Layout, first_of, has_room
from w2s_ray.execute.cluster import Cluster, here
from w2s_ray.execute.fits.hosts import open_host

IDLE_S = 60.0
"""How long a host without a fit stays warm."""
SPARE_S = 10.0
"""How long, on a cluster that autoscales, where no fit of its layout is to be expected."""
LOOK_S = 3.0
"""Seconds between two looks at what the cluster has."""


class TurnedAway(Exception):
    """The sweep is being stopped: nobody is let in any more."""


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
    return actor.remote(cluster.room(), cluster)


class Floor:
    """Admits fits to a cluster that has `room` for hosts.

    On one that autoscales that is the room of all nodes that may be started: a host that has no
    node yet waits in Ray, whose autoscaler starts one for it.
    """

    def __init__(self, room: Mapping[str, float], cluster: Cluster) -> None:
        self._room = dict(room)
        self._cluster = cluster
        self._expected: dict[Layout, int] = {}
        self._halted = False
        self._over = False
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
        if self._over:
            raise TurnedAway
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
            self._rest(host)
            self._shrink()
        elif host is not None:
            _kill(host)
        self._admit_next()

    async def leave_party(self, party: str) -> None:
        """None of a party's fits is watched over any more.

        Where the sweep is being stopped they may still write a checkpoint.
        """
        if self._halted:
            return
        left = [w.ask.run_id for w in self._waiting if w.ask.party == party]
        left += [run_id for run_id, (ask, _) in self._busy.items() if ask.party == party]
        for run_id in left:
            await self.leave(run_id, host_lives=False)

    async def expect(self, fits: Mapping[Layout, int]) -> None:
        """So many fits of each layout are about to ask.

        Where nodes must be started first, their hosts are opened now.
        """
        self._expected = dict(fits)
        if not self._cluster.autoscales or self._halted:
            return
        for layout, count in fits.items():
            hosts = [host for host in self._hosts() if host.layout == layout]
            for _ in range(count - len(hosts)):
                if not self._has_room(layout) or self._waiting:
                    break
                self._rest(self._open(layout))

    async def halt(self) -> None:
        """Let nobody in any more, and close hosts without a fit."""
        self._halted = True
        while self._idle:
            self._close(self._idle[0])

    async def turn_away(self) -> None:
        """Let nobody in any more, nor wait: who asks gets `TurnedAway`."""
        self._halted = self._over = True
        for waiting in self._waiting:
            if not waiting.admitted.done():
                waiting.admitted.set_exception(TurnedAway())
        self._waiting = []

    async def at_rest(self, timeout_s: float) -> bool:
        """Wait until no host has a fit under way; False where that takes longer than `timeout_s`.

        A host that has no node yet has none under way.
        """
        resting = [asyncio.ensure_future(_rests(host)) for host in self._hosts()]
        if not resting:
            return True
        _, restless = await asyncio.wait(resting, timeout=timeout_s)
        return not restless

    async def close(self) -> None:
        """Close every host, whatever it does: the sweep is over."""
        for host in self._hosts():
            _kill(host)
        self._idle, self._busy, self._waiting = [], {}, []

    def _admit_next(self) -> None:
        """Admit whoever's turn it is, as long as there is room."""
        while self._waiting and not self._halted:
            asks = [waiting.ask for waiting in self._waiting]
            busy = (ask for ask, _ in self._busy.values())
            first = self._waiting[first_of(asks, busy=busy, room=self._room)]
            host = self._host_for(first.ask.layout)
            if host is None:
                return
            self._waiting.remove(first)
            self._busy[first.ask.run_id] = (first.ask, host)
            if not first.admitted.cancelled():
                first.admitted.set_result(host.actor)

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
        return self._open(layout)

    def _open(self, layout: Layout) -> _Host:
        host = _Host(open_host(layout), layout)
        if layout.workers > 1 or layout.engine == "deepspeed":
            self._later(self._notice_end(host))
        return host

    def _hosts(self) -> list[_Host]:
        return [*self._idle, *(host for _, host in self._busy.values())]

    def _has_room(self, layout: Layout) -> bool:
        return has_room(layout, held=[host.layout for host in self._hosts()], room=self._room)

    async def _follow_cluster(self) -> None:
        """Keep up with nodes that come and go."""
        while True:
            await asyncio.sleep(LOOK_S)
            self.resize(await asyncio.to_thread(self._cluster.room))

    def resize(self, resources: Mapping[str, float]) -> None:
        """The cluster has these resources now; hosts without a fit go if they are too many."""
        self._room = {**dict.fromkeys(self._room, 0.0), **resources}
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

    def _rest(self, host: _Host) -> None:
        """Keep a host without a fit, for a while."""
        host.idle_since = time.monotonic()
        self._idle.append(host)
        self._later(self._close_if_still_idle(host, host.idle_since))

    async def _close_if_still_idle(self, host: _Host, since: float) -> None:
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

    def _is_expected(self, host: _Host) -> bool:
        """Whether fits are about to ask for more hosts of this layout than there would be."""
        others = sum(other.layout == host.layout for other in self._hosts()) - 1
        return self._expected.get(host.layout, 0) > others

    def _close(self, host: _Host) -> None:
        self._idle.remove(host)
        _kill(host)

    def _later(self, work: Any) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


async def _rests(host: _Host) -> None:
    with contextlib.suppress(ray.exceptions.RayError):  # it is gone, and its fit with it
        await host.actor.rest.remote()


def _kill(host: _Host) -> None:
    """End a host; Ray frees what it holds, a worker group's placement group included."""
    host.gone = True
    ray.kill(host.actor)
