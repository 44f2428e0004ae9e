"""What a run waits for where its cluster starts nodes for it.

Owns the watch over nodes that are wanted, in a thread of its own, since a cluster that grows may
answer late. It starts nothing: hosts that wait in Ray are the demand that an autoscaler follows.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections import Counter
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

import ray.exceptions

from w2s_ray.durations import clock
from w2s_ray.execute.autoscaler import starting

if TYPE_CHECKING:
    from w2s_ray.status.run_state import ProgressSnapshot

LOOK_S = 2.0
AT_ONCE_S = 3.0
"""A host that is up after so long did not wait for a node."""


@dataclass(frozen=True)
class PendingCapacity:
    """Fits that have room on nodes which aren't there yet."""

    since: float
    """When the first of them began to wait, in seconds since the epoch."""
    asks: dict[str, int]
    """What a fit asks for, in words -> how many fits."""
    starting: dict[str, int] = field(default_factory=dict)
    """Node type -> nodes that are being started."""
    refused: dict[str, str] = field(default_factory=dict)
    """Node type -> why the cloud gave none when it was last asked."""

    @property
    def said(self) -> str:
        """All of it in words, without how long."""
        asks = "; ".join(f"{n} of {ask}" for ask, n in self.asks.items())
        fits = sum(self.asks.values())
        coming = ", ".join(f"{n} {kind}" for kind, n in self.starting.items())
        refused = "; ".join(f"{kind}: {why}" for kind, why in self.refused.items())
        return (
            f"nodes for {fits} fit{'s' * (fits != 1)} ({asks})"
            + (f"; being started: {coming}" if coming else "")
            + (f"; not to be had: {refused}" if refused and not coming else "")
        )

    def said_at(self, now: float) -> str:
        """All of it in words, for a display at `now`."""
        return f"waiting for {self.said}, for {clock(now - self.since)}"

    def news(self) -> dict[str, Any]:
        """All of it, for other processes."""
        return {**asdict(self), "said": self.said}


class PendingNodes:
    """Follows what is wanted; a context manager. `now` is None while nothing is."""

    def __init__(self) -> None:
        self.now: PendingCapacity | None = None
        self._seen: ProgressSnapshot | None = None
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, name="w2s-nodes", daemon=True)

    def __enter__(self) -> PendingNodes:
        self._thread.start()
        return self

    def __exit__(self, *details: object) -> None:
        self._over.set()
        self._thread.join(LOOK_S)

    def tell(self, seen: ProgressSnapshot) -> None:
        """What the board shows."""
        self._seen = seen

    def _run(self) -> None:
        while not self._over.wait(LOOK_S):
            with contextlib.suppress(ray.exceptions.RayError, RuntimeError, OSError):
                self.now = wanted(self._seen, time.time()) if self._seen is not None else None


def wanted(seen: ProgressSnapshot, now: float) -> PendingCapacity | None:
    """What fits wait for that have been let in for a while and don't run."""
    late = [
        run_states
        for run_states in list(seen.run_states.values())
        if run_states.state == "starting" and now - run_states.since > AT_ONCE_S
    ]
    if not late:
        return None
    doing = starting()
    if not doing.unplaced:
        return None
    return PendingCapacity(
        since=min(run_states.since for run_states in late),
        asks=dict(Counter(str(run_states.about.get("asks")) for run_states in late)),
        starting=doing.nodes,
        refused=doing.refused,
    )
