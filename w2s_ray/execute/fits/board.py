"""The board: where running fits say how far they are, and are told to stop or to leave.

Owns one small actor between fits and whoever watches over them: steps, evaluations, wishes. What
it holds is news, never results: a board that is lost costs pictures and a late stop, no run. It
decides nothing.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import ray

from w2s_ray.execute.cluster import here

Asked = Literal["go", "stop", "leave"]
"""What a fit is asked to do: go on; stop, since nobody wants it any more; leave its machine."""
LOOK_FOR_DRAINING_S = 2.0


@dataclass(frozen=True)
class Seen:
    """What the board showed when it was last asked."""

    steps: dict[str, tuple[int, int]] = field(default_factory=dict)
    """Running fit -> (step, of steps)."""
    trials: dict[str, dict[str, int]] = field(default_factory=dict)
    """Study -> trials by state; `to go` are those not ended."""
    seconds: dict[str, list[float]] = field(default_factory=dict)
    """Kind (a model) -> durations of the fits that ended in this call."""

    def ended_trials(self, study: str) -> int:
        """Trials of a study that have ended, however."""
        return sum(n for state, n in self.trials.get(study, {}).items() if state != "to go")


def start_board() -> Any:
    """A board, as an actor that comes back empty if its process dies."""
    return ray.remote(num_cpus=0, max_restarts=-1, max_task_retries=3, **here())(Board).remote()


class Board:
    """Where fits say how far they are."""

    def __init__(self) -> None:
        self._steps: dict[str, tuple[int, int]] = {}
        self._trials: dict[str, dict[str, int]] = {}
        self._seconds: dict[str, list[float]] = {}
        self._evaluations: dict[str, dict[int, Mapping[str, Any]]] = {}
        self._unwanted: set[str] = set()
        self._signs: dict[str, float] = {}
        self._nodes: dict[str, str] = {}
        self._draining: set[str] = set()
        self._looked = 0.0
        self._news = asyncio.Condition()

    async def begun(self, run_id: str) -> None:
        """An attempt at a fit is about to begin; it is wanted, whatever was said of an earlier."""
        self._unwanted.discard(run_id)
        self._signs.pop(run_id, None)

    async def started(self, run_id: str, node: str) -> None:
        """An attempt at a fit begins on a host of `node`: the first sign of life."""
        self._signs[run_id] = time.monotonic()
        self._nodes[run_id] = node

    async def where(self, run_id: str) -> str | None:
        """The node that a fit which has not ended was last on."""
        return self._nodes.get(run_id)

    async def step(self, run_id: str, step: int, total: int, node: str) -> Asked:
        """A fit on `node` is at `step` of `total`."""
        self._steps[run_id] = (step, total)
        self._signs[run_id] = time.monotonic()
        if run_id in self._unwanted:
            return "stop"
        self._look_for_draining()
        return "leave" if node in self._draining else "go"

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

    async def quiet_s(self, run_id: str) -> float:
        """Seconds since a fit's last sign of life; 0 before its first, as its host may wait."""
        now = time.monotonic()
        return now - self._signs.get(run_id, now)

    async def fit_ended(self, run_id: str, kind: str, seconds: float | None) -> None:
        """A fit is no longer running; it took `seconds`, if it ended well."""
        self._steps.pop(run_id, None)
        self._signs.pop(run_id, None)
        self._evaluations.pop(run_id, None)
        if seconds is not None:
            self._nodes.pop(run_id, None)
            self._seconds.setdefault(kind, []).append(seconds)

    async def trial_ended(self, study_id: str, states: dict[str, int]) -> None:
        """A study has so many trials in each state."""
        self._trials[study_id] = states

    async def look(self) -> Seen:
        """All of it."""
        return Seen(steps=self._steps, trials=self._trials, seconds=self._seconds)

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
