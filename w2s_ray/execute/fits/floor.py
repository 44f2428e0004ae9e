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

from w2s_ray.execute.admission import Ask, Layout, Request, first_of
from w2s_ray.execute.cluster import Cluster, here
from w2s_ray.execute.fits.pool import Host, Pool

MOST_CALLS = 100_000
"""Calls at once. Each fit that waits is one; beyond Ray's limit of 1,000 the calls that make room
would wait behind those that need it, for ever."""
STOP_S = 60.0
"""How long a fit that nobody wants any more may take to stop; then its host is ended."""


class TurnedAway(Exception):
    """The sweep is being stopped: nobody is let in any more."""


class Withdrawn(Exception):
    """The request was withdrawn while it waited."""


@dataclass
class _Waiting:
    ask: Ask
    admitted: asyncio.Future[Any] = field(repr=False)


@dataclass
class _Busy:
    """A host with a fit."""

    ask: Ask
    """Of the requester that watches over the fit; the others wait."""
    host: Host
    stopping: bool = False
    """Nobody wants the fit any more, but it has not ended yet."""


def start_floor(cluster: Cluster) -> Any:
    """The floor of `cluster`, as an actor; its hosts die with it, and it starts afresh."""
    options = {"max_restarts": -1, "max_task_retries": -1, "max_concurrency": MOST_CALLS}
    actor = ray.remote(num_cpus=0, **options, **here())(Floor)
    return actor.remote(cluster.room(), cluster)


class Floor:
    """Admits fits to a cluster that has `room` for hosts.

    On one that autoscales that is the room of all nodes that may be started: a host that has no
    node yet waits in Ray, whose autoscaler starts one for it.
    """

    def __init__(self, room: Mapping[str, float], cluster: Cluster) -> None:
        self._pool = Pool(room, cluster, changed=self._admit_next)
        self._board: Any = None
        self._halted = False
        self._over = False
        self._waiting: dict[Request, _Waiting] = {}
        self._busy: dict[str, _Busy] = {}
        """Fit -> its host."""

    async def admit(self, ask: Ask, board: Any) -> Any:
        """The host that the fit runs on, once there is room and it is its party's turn.

        Of several requesters of one fit the first gets the host. The next gets it when that one
        has ended, and finds the fit's record; or when that one gave the fit up, and goes on with
        the same attempt. A requester that asks again (its watcher was restarted) keeps its host,
        or its place. The board comes with each call: Ray warns of an actor that restarts and has
        another's handle among its constructor's arguments.

        Raises:
            TurnedAway, Withdrawn: the fit is not admitted.
        """
        self._board = board
        if (busy := self._watched_by(ask.request)) is not None:
            return busy.host.actor
        if self._over:
            raise TurnedAway
        self._pool.follow_cluster()
        waiting = self._waiting.get(ask.request)
        if waiting is None:
            waiting = _Waiting(ask, asyncio.get_running_loop().create_future())
            self._waiting[ask.request] = waiting
            self._admit_next()
        return await asyncio.shield(waiting.admitted)  # two calls may wait for one answer

    async def has(self, request: Request) -> bool:
        """Whether the request waits, or has a host."""
        return request in self._waiting or self._watched_by(request) is not None

    async def leave(self, request: Request, *, host_lives: bool = True) -> None:
        """The requester's attempt has ended, or it no longer wants to start."""
        self._forget(request)
        busy = self._watched_by(request)
        if busy is not None and not (host_lives and self._pass_on(busy, begins=True)):
            self._end(busy, host_lives=host_lives)
        self._admit_next()

    async def give_up(self, request: Request) -> bool:
        """The requester doesn't want the fit any more, which may be under way.

        True where others want it: then it goes on for them. Else it stops.
        """
        self._forget(request)
        busy = self._watched_by(request)
        if busy is not None and not self._pass_on(busy, begins=False):
            busy.stopping = True
            self._board.stop.remote(request.run_id)
            self._pool.later(self._await_stop(busy))
        self._admit_next()
        return self._is_wanted(request.run_id)

    async def leave_party(self, party: str) -> None:
        """None of a party's fits is watched over any more.

        Where the sweep is being stopped they may still write a checkpoint.
        """
        if self._halted:
            return
        for request in [r for r in self._waiting if r.party == party]:
            self._forget(request)
        for busy in list(self._busy.values()):
            watched = busy.ask.party == party and not busy.stopping
            if watched and not self._pass_on(busy, begins=False):
                self._end(busy, host_lives=False)
        self._admit_next()

    async def end_start(self, run_id: str) -> None:
        """End the host of a fit that has not begun, whoever wants it: the sweep is stopping."""
        busy = self._busy.get(run_id)
        if busy is not None:
            self._end(busy, host_lives=False)

    async def expect(self, fits: Mapping[Layout, int]) -> None:
        """So many fits of each layout are about to ask.

        Where nodes must be started first, their hosts are opened now.
        """
        self._pool.expect(fits, ahead=not (self._halted or self._in_line()))

    async def halt(self) -> None:
        """Let nobody in any more, and close hosts without a fit."""
        self._halted = True
        self._pool.close_idle()

    async def turn_away(self) -> None:
        """Let nobody in any more, nor wait: who asks gets `TurnedAway`."""
        self._halted = self._over = True
        for request in list(self._waiting):
            self._forget(request, TurnedAway())

    async def at_rest(self, timeout_s: float) -> bool:
        """Wait until no host has a fit under way; False where that takes longer than `timeout_s`.

        A host that has no node yet has none under way.
        """
        resting = [asyncio.ensure_future(host.rests()) for host in self._pool.hosts]
        if not resting:
            return True
        _, restless = await asyncio.wait(resting, timeout=timeout_s)
        return not restless

    async def close(self) -> None:
        """Close every host, whatever it does: the sweep is over."""
        await self.turn_away()
        self._pool.close()
        self._busy = {}

    def _watched_by(self, request: Request) -> _Busy | None:
        """The host of the request's fit, if it is this requester that watches over it."""
        busy = self._busy.get(request.run_id)
        mine = busy is not None and busy.ask.request == request and not busy.stopping
        return busy if mine else None

    def _is_wanted(self, run_id: str) -> bool:
        busy = self._busy.get(run_id)
        watched = busy is not None and not busy.stopping
        return watched or any(request.run_id == run_id for request in self._waiting)

    def _forget(self, request: Request, why: Exception | None = None) -> None:
        """Take a request out of the line; whoever waits for its answer gets one."""
        waiting = self._waiting.pop(request, None)
        if waiting is not None and not waiting.admitted.done():
            waiting.admitted.set_exception(why or Withdrawn())

    def _in_line(self) -> list[_Waiting]:
        """Those that wait for room; the others wait for the same fit of another requester."""
        return [w for w in self._waiting.values() if w.ask.run_id not in self._busy]

    def _pass_on(self, busy: _Busy, *, begins: bool) -> bool:
        """Give a fit's host to the next that wants the same fit; False where nobody does.

        `begins` says that the attempt has ended: the next begins one of its own, unless the store
        has the fit's record by now. No such attempt begins where nothing new may start.
        """
        run_id = busy.ask.run_id
        others = (w for w in self._waiting.values() if w.ask.run_id == run_id)
        successor = next(others, None)
        if successor is None or busy.host.gone or (begins and self._halted):
            return False
        if begins:
            self._board.fit_ended.remote(run_id)
            self._board.begun.remote(run_id)
        self._answer(successor, busy.host)
        return True

    def _answer(self, waiting: _Waiting, host: Host) -> None:
        """Let a requester watch over its fit on `host`."""
        del self._waiting[waiting.ask.request]
        self._busy[waiting.ask.run_id] = _Busy(waiting.ask, host)
        if not waiting.admitted.done():
            waiting.admitted.set_result(host.actor)

    def _end(self, busy: _Busy, *, host_lives: bool) -> None:
        """No attempt at the fit is under way any more."""
        del self._busy[busy.ask.run_id]
        self._board.fit_ended.remote(busy.ask.run_id)
        if host_lives:
            self._pool.give_back(busy.host)
        else:
            self._pool.end(busy.host)

    async def _await_stop(self, busy: _Busy) -> None:
        """Free the host of a fit that nobody wants any more, once the fit has ended."""
        try:
            stopped = await asyncio.wait_for(busy.host.rests(), STOP_S)
        except TimeoutError:
            stopped = False
        if self._busy.get(busy.ask.run_id) is busy:
            self._end(busy, host_lives=stopped)
            self._admit_next()

    def _admit_next(self) -> None:
        """Admit whoever's turn it is, as long as there is room."""
        while not self._halted and (in_line := self._in_line()):
            asks = [waiting.ask for waiting in in_line]
            busy = (each.ask for each in self._busy.values())
            first = in_line[first_of(asks, busy=busy, room=self._pool.room)]
            try:
                host = self._pool.take(first.ask.layout)
            except Exception as error:  # noqa: BLE001 - handed to whoever waits for the host
                self._forget(first.ask.request, error)
                continue
            if host is None:
                return
            self._board.begun.remote(first.ask.run_id)
            self._answer(first, host)
