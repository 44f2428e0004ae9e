"""The progress tracker: an actor to which fits report progress, and from which they get commands.

Owns steps, evaluations and stop commands between fits and the processes that monitor them. It holds
no results: if it is lost, the progress display starts anew and a stop comes later. It decides
nothing.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from typing import Any, Literal

import ray

from w2s_ray.execute.cluster import here
from w2s_ray.status.run_state import STATES, ProgressSnapshot, RunState, State

Command = Literal["go", "stop", "leave"]
"""What a fit is asked to do: go on; stop, since nobody wants it any more; leave its machine."""
LOOK_FOR_DRAINING_S = 2.0
MOST_CALLS = 100_000
"""Calls at once: each watch over a running fit is one, which waits for news."""


def start_progress_tracker() -> Any:
    """A board, as an actor that comes back empty if its process dies."""
    options = {"max_restarts": -1, "max_task_retries": 3, "max_concurrency": MOST_CALLS}
    return ray.remote(num_cpus=0, **options, **here())(ProgressTracker).remote()


class ProgressTracker:
    """Where fits say how far they are."""

    def __init__(self) -> None:
        self._steps: dict[str, tuple[int, int]] = {}
        self._trials: dict[str, dict[str, int]] = {}
        self._seconds: dict[str, list[float]] = {}
        self._counted: set[str] = set()
        """Fits in `_seconds`."""
        self._evaluations: dict[str, dict[int, Mapping[str, Any]]] = {}
        self._unwanted: set[str] = set()
        self._signs: dict[str, float] = {}
        self._nodes: dict[str, set[str]] = {}
        self._run_states: dict[str, dict[str, RunState]] = {}
        """Run -> requester -> how the run stands for it."""
        self._running: dict[str, tuple[float, str]] = {}
        """Running fit -> since when, and its place."""
        self._draining: set[str] = set()
        self._dismissed = False
        self._looked = 0.0
        self._news = asyncio.Condition()

    async def fit_admitted(self, run_id: str) -> None:
        """An attempt at a fit is about to begin; it is wanted, whatever was said of an earlier."""
        self._unwanted.discard(run_id)
        self._signs.pop(run_id, None)
        self._nodes.pop(run_id, None)

    async def set_state(
        self, run_id: str, state: State, about: Mapping[str, Any], requester: str = ""
    ) -> None:
        """How a run stands for one of those that want it."""
        run_states = self._run_states.setdefault(run_id, {})
        before = run_states.get(requester)
        since = before.since if before is not None and before.state == state else time.time()
        run_states[requester] = RunState(about, state, since)

    async def clear_state(self, run_id: str, requester: str = "") -> None:
        """A requester no longer watches over a run."""
        run_states = self._run_states.get(run_id, {})
        run_states.pop(requester, None)
        if not run_states:
            self._run_states.pop(run_id, None)

    async def fit_started(self, run_id: str, node: str, place: str) -> None:
        """An attempt at a fit begins on a host of `node`: the first sign of life."""
        self._signs[run_id] = time.monotonic()
        await self.add_node(run_id, node)
        self._running[run_id] = time.time(), place

    async def add_node(self, run_id: str, node: str) -> None:
        """A worker of a fit is on `node`."""
        self._nodes.setdefault(run_id, set()).add(node)

    async def nodes_of(self, run_id: str) -> set[str]:
        """The nodes that the newest attempt at a fit which has not ended is, or was, on."""
        return self._nodes.get(run_id, set())

    async def step(self, run_id: str, step: int, total: int, node: str) -> Command:
        """A fit whose first worker is on `node` is at `step` of `total`."""
        self._steps[run_id] = (step, total)
        self._signs[run_id] = time.monotonic()
        if run_id in self._unwanted:
            return "stop"
        self._look_for_draining()
        on = {node, *self._nodes.get(run_id, ())}
        return "leave" if self._dismissed or self._draining & on else "go"

    async def evaluated(self, run_id: str, evaluation: Mapping[str, Any]) -> None:
        """A fit has evaluated; `evaluations` counts from 1."""
        self._signs[run_id] = time.monotonic()
        async with self._news:
            self._evaluations.setdefault(run_id, {})[evaluation["evaluations"]] = evaluation
            self._news.notify_all()

    async def evaluations(self, run_id: str, after: int, wait_s: float) -> list[Mapping[str, Any]]:
        """A fit's evaluations past number `after`, in order; waits for one, but not for ever."""
        deadline = time.monotonic() + wait_s
        async with self._news:
            while True:
                known = self._evaluations.get(run_id, {})
                found = [known[number] for number in sorted(known) if number > after]
                left = deadline - time.monotonic()
                if found or left <= 0:
                    return found
                try:
                    await asyncio.wait_for(self._news.wait(), left)
                except TimeoutError:
                    return []

    async def stop(self, run_id: str) -> None:
        """Nobody wants this fit any more."""
        self._unwanted.add(run_id)

    async def stop_all(self) -> None:
        """Every fit is asked to leave: the sweep is being stopped."""
        self._dismissed = True

    async def is_stopping(self) -> bool:
        """Whether the sweep is being stopped, so that what ends now has not failed."""
        return self._dismissed

    async def silent_s(self, run_id: str) -> float | None:
        """Seconds since a fit's last sign of life; None before its first."""
        sign = self._signs.get(run_id)
        return None if sign is None else time.monotonic() - sign

    async def fit_ended(self, run_id: str) -> None:
        """An attempt at a fit has ended, however."""
        self._running.pop(run_id, None)
        self._steps.pop(run_id, None)
        self._signs.pop(run_id, None)
        self._evaluations.pop(run_id, None)

    async def fit_done(self, run_id: str, kind: str, seconds: float) -> None:
        """A fit is done and took `seconds`, which count once however many wanted it."""
        self._nodes.pop(run_id, None)
        if run_id not in self._counted:
            self._counted.add(run_id)
            self._seconds.setdefault(kind, []).append(seconds)

    async def trial_ended(self, study_id: str, states: dict[str, int]) -> None:
        """A study has so many trials in each state."""
        self._trials[study_id] = states

    async def snapshot(self) -> ProgressSnapshot:
        """All of it."""
        return ProgressSnapshot(
            run_states={run_id: self._state_of(run_id) for run_id in self._run_states},
            steps=self._steps,
            trials=self._trials,
            seconds=self._seconds,
        )

    def _state_of(self, run_id: str) -> RunState:
        """How a run stands, for whichever of its requesters has got furthest."""
        first = min(self._run_states[run_id].values(), key=lambda each: STATES.index(each.state))
        if run_id not in self._running:
            return first
        since, place = self._running[run_id]
        return RunState(first.about, "running", since, place)

    def _look_for_draining(self) -> None:
        now = time.monotonic()
        if now - self._looked > LOOK_FOR_DRAINING_S:
            self._looked = now
            self._draining = draining_nodes()


def draining_nodes() -> set[str]:
    """Ids of the nodes that Ray has announced the end of: preempted, or scaled down.

    The way Ray Serve asks; Ray has no public one.
    """
    from ray._private.worker import global_worker

    worker: Any = global_worker
    nodes = worker.gcs_client.get_draining_nodes(timeout=5)
    return {node.hex() if isinstance(node, bytes) else str(node) for node in nodes}
