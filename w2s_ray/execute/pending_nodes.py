"""The nodes that a sweep waits for, where its cluster starts nodes.

Owns the regular query of the autoscaler, on a thread of its own, since a growing cluster may reply
late. It starts no nodes: the autoscaler starts them for workers that are pending in Ray.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections import Counter
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

import ray.exceptions

from w2s_ray.execute.autoscaler import autoscaler_status
from w2s_ray.printable import clock

if TYPE_CHECKING:
    from w2s_ray.status.run_state import ProgressSnapshot

POLL_S = 2.0
START_S = 3.0
"""A worker that has started within this time did not wait for a node."""


@dataclass(frozen=True)
class PendingCapacity:
    """Fits whose workers wait for nodes."""

    since: float
    """When the first of them began to wait, in seconds since the epoch."""
    asks: dict[str, int]
    """Resources of a fit, as text -> number of fits."""
    starting: dict[str, int] = field(default_factory=dict)
    """Node type -> nodes that are being started."""
    refused: dict[str, str] = field(default_factory=dict)
    """Node type -> why the cloud refused the last request."""

    @property
    def text(self) -> str:
        """All of it, without the duration."""
        asks = "; ".join(f"{n} of {ask}" for ask, n in self.asks.items())
        fits = sum(self.asks.values())
        coming = ", ".join(f"{n} {kind}" for kind, n in self.starting.items())
        refused = "; ".join(f"{kind}: {why}" for kind, why in self.refused.items())
        return (
            f"nodes for {fits} fit{'s' * (fits != 1)} ({asks})"
            + (f"; being started: {coming}" if coming else "")
            + (f"; unavailable: {refused}" if refused and not coming else "")
        )

    def text_at(self, now: float) -> str:
        """All of it, for a display at `now`."""
        return f"waiting for {self.text}, for {clock(now - self.since)}"

    def as_json(self) -> dict[str, Any]:
        """All of it, for the driver's heartbeat."""
        return {**asdict(self), "text": self.text}


class PendingNodes:
    """Queries the autoscaler; a context manager. `current` is None while no fit waits for nodes."""

    def __init__(self) -> None:
        self.current: PendingCapacity | None = None
        self._snapshot: ProgressSnapshot | None = None
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, name="w2s-nodes", daemon=True)

    def __enter__(self) -> PendingNodes:
        self._thread.start()
        return self

    def __exit__(self, *details: object) -> None:
        self._over.set()
        self._thread.join(POLL_S)

    def update(self, snapshot: ProgressSnapshot) -> None:
        """Set the newest snapshot of the progress tracker."""
        self._snapshot = snapshot

    def _run(self) -> None:
        while not self._over.wait(POLL_S):
            with contextlib.suppress(ray.exceptions.RayError, RuntimeError, OSError):
                snapshot = self._snapshot
                self.current = pending_capacity(snapshot, time.time()) if snapshot else None


def pending_capacity(snapshot: ProgressSnapshot, now: float) -> PendingCapacity | None:
    """The fits that have had a worker assigned for a while and whose worker has not started."""
    late = [
        run_state
        for run_state in list(snapshot.run_states.values())
        if run_state.state == "starting" and now - run_state.since > START_S
    ]
    if not late:
        return None
    status = autoscaler_status()
    if not status.unplaced:
        return None
    return PendingCapacity(
        since=min(run_state.since for run_state in late),
        asks=dict(Counter(str(run_state.about.get("asks")) for run_state in late)),
        starting=status.nodes,
        refused=status.refused,
    )
