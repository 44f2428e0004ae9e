"""The progress tracker: an actor to which fits report progress, and from which they get commands.

Owns steps, evaluations and stop commands between fits and the processes that monitor them. It holds
no results: if it is lost, the progress display starts anew and a stop command arrives later.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from typing import Any, Literal

import ray

from w2s_ray.execute.cluster import on_this_node
from w2s_ray.execute.ray_internals import draining_nodes
from w2s_ray.status.run_state import STATES, ProgressSnapshot, RunState, State

Command = Literal["go", "stop", "leave"]
"""The command for a fit: continue; stop, since it has no requests; write a checkpoint and leave."""
DRAINING_CHECK_S = 2.0
CONCURRENT_CALLS = 100_000
"""Each monitored fit is a call in progress, which waits for the next evaluation."""


def start_progress_tracker() -> Any:
    """The progress tracker, as an actor that restarts empty if its process dies."""
    options = {"max_restarts": -1, "max_task_retries": 3, "max_concurrency": CONCURRENT_CALLS}
    return ray.remote(num_cpus=0, **options, **on_this_node())(ProgressTracker).remote()


class ProgressTracker:
    """Holds the progress of fits and the commands for them."""

    def __init__(self) -> None:
        self._steps: dict[str, tuple[int, int]] = {}
        self._fetched: dict[str, tuple[int, int]] = {}
        """Fit whose model is downloaded -> bytes, of bytes."""
        self._trials: dict[str, dict[str, int]] = {}
        self._evaluations: dict[str, dict[int, Mapping[str, Any]]] = {}
        self._stopped: set[str] = set()
        self._last_report: dict[str, float] = {}
        self._nodes: dict[str, set[str]] = {}
        self._run_states: dict[str, dict[str, RunState]] = {}
        """Run -> requester -> the state of that request."""
        self._running: dict[str, tuple[float, str]] = {}
        """Running fit -> its start, and its place."""
        self._draining: set[str] = set()
        self._draining_checked = 0.0
        self._stopping = False
        self._evaluation_added = asyncio.Condition()

    async def attempt_starting(self, run_id: str) -> None:
        """An attempt at a fit is about to start; a stop of an earlier attempt is void."""
        self._stopped.discard(run_id)
        self._last_report.pop(run_id, None)
        self._nodes.pop(run_id, None)

    async def set_state(
        self, run_id: str, state: State, about: Mapping[str, Any], requester: str = ""
    ) -> None:
        """Set the state of one request for a run."""
        run_states = self._run_states.setdefault(run_id, {})
        before = run_states.get(requester)
        since = before.since if before is not None and before.state == state else time.time()
        run_states[requester] = RunState(about, state, since)

    async def clear_state(self, run_id: str, requester: str = "") -> None:
        """A requester no longer monitors a run."""
        run_states = self._run_states.get(run_id, {})
        run_states.pop(requester, None)
        if not run_states:
            self._run_states.pop(run_id, None)

    async def fit_started(self, run_id: str, node: str, place: str) -> None:
        """An attempt at a fit starts on a worker of `node`; this is its first report."""
        self._last_report[run_id] = time.monotonic()
        await self.add_node(run_id, node)
        self._running[run_id] = time.time(), place

    async def add_node(self, run_id: str, node: str) -> None:
        """A worker of a fit is on `node`."""
        self._nodes.setdefault(run_id, set()).add(node)

    async def nodes_of(self, run_id: str) -> set[str]:
        """The nodes of the newest attempt at a fit that has not ended."""
        return self._nodes.get(run_id, set())

    async def step(self, run_id: str, step: int, total: int, node: str) -> Command:
        """A fit whose first worker is on `node` is at `step` of `total`; the command for it."""
        self._steps[run_id] = (step, total)
        self._last_report[run_id] = time.monotonic()
        if run_id in self._stopped:
            return "stop"
        self._refresh_draining()
        nodes = {node, *self._nodes.get(run_id, ())}
        return "leave" if self._stopping or self._draining & nodes else "go"

    async def fetching(self, run_id: str, done: int, total: int) -> None:
        """`done` of `total` bytes of a fit's model are downloaded."""
        self._last_report[run_id] = time.monotonic()
        self._fetched[run_id] = (done, total)
        if done >= total:
            del self._fetched[run_id]

    async def evaluated(self, run_id: str, evaluation: Mapping[str, Any]) -> None:
        """Add a fit's evaluation; `evaluations` counts from 1."""
        self._last_report[run_id] = time.monotonic()
        async with self._evaluation_added:
            self._evaluations.setdefault(run_id, {})[evaluation["evaluations"]] = evaluation
            self._evaluation_added.notify_all()

    async def evaluations(self, run_id: str, after: int, wait_s: float) -> list[Mapping[str, Any]]:
        """A fit's evaluations after number `after`, in order; waits up to `wait_s` for one."""
        deadline = time.monotonic() + wait_s
        async with self._evaluation_added:
            while True:
                known = self._evaluations.get(run_id, {})
                found = [known[number] for number in sorted(known) if number > after]
                left = deadline - time.monotonic()
                if found or left <= 0:
                    return found
                try:
                    await asyncio.wait_for(self._evaluation_added.wait(), left)
                except TimeoutError:
                    return []

    async def stop(self, run_id: str) -> None:
        """Stop a fit: it has no requests."""
        self._stopped.add(run_id)

    async def stop_all(self) -> None:
        """Have every fit write a checkpoint and leave: the sweep is being stopped."""
        self._stopping = True

    async def is_stopping(self) -> bool:
        """Whether the sweep is being stopped, so that a run that ends now has not failed."""
        return self._stopping

    async def idle_s(self, run_id: str) -> float | None:
        """Seconds since a fit's last report; None before its first."""
        last = self._last_report.get(run_id)
        return None if last is None else time.monotonic() - last

    async def attempt_ended(self, run_id: str) -> None:
        """An attempt at a fit has ended."""
        self._running.pop(run_id, None)
        self._steps.pop(run_id, None)
        self._fetched.pop(run_id, None)
        self._last_report.pop(run_id, None)
        self._evaluations.pop(run_id, None)

    async def fit_done(self, run_id: str) -> None:
        """A fit is done."""
        self._nodes.pop(run_id, None)

    async def trial_ended(self, study_id: str, states: dict[str, int]) -> None:
        """Set a study's number of trials in each state."""
        self._trials[study_id] = states

    async def snapshot(self) -> ProgressSnapshot:
        """The progress of all runs."""
        return ProgressSnapshot(
            run_states={run_id: self._state_of(run_id) for run_id in self._run_states},
            steps=self._steps,
            fetched=self._fetched,
            trials=self._trials,
        )

    def _state_of(self, run_id: str) -> RunState:
        """A run's state: the furthest of its requests."""
        first = min(self._run_states[run_id].values(), key=lambda each: STATES.index(each.state))
        if run_id not in self._running:
            return first
        since, place = self._running[run_id]
        return RunState(first.about, "running", since, place)

    def _refresh_draining(self) -> None:
        now = time.monotonic()
        if now - self._draining_checked > DRAINING_CHECK_S:
            self._draining_checked = now
            self._draining = draining_nodes()
