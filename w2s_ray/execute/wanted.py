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

from w2s_ray.execute.autoscaler import starting
from w2s_ray.execute.spans import clock

if TYPE_CHECKING:
    from w2s_ray.execute.fits.board import Seen

LOOK_S = 2.0
AT_ONCE_S = 3.0
"""A host that is up after so long did not wait for a node."""


@dataclass(frozen=True)
class Wanted:
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


class NodesWanted:
    """Follows what is wanted; a context manager. `now` is None while nothing is."""

    def __init__(self) -> None:
        self.now: Wanted | None = None
        self._seen: Seen | None = None
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, name="w2s-nodes", daemon=True)

    def __enter__(self) -> NodesWanted:
        self._thread.start()
        return self

    def __exit__(self, *details: object) -> None:
        self._over.set()
        self._thread.join(LOOK_S)

    def tell(self, seen: Seen) -> None:
        """What the board shows."""
        self._seen = seen

    def _run(self) -> None:
        while not self._over.wait(LOOK_S):
            with contextlib.suppress(ray.exceptions.RayError, RuntimeError, OSError):
                self.now = wanted(self._seen, time.time()) if self._seen is not None else None


def wanted(seen: Seen, now: float) -> Wanted | None:
    """What fits wait for that have been let in for a while and don't run."""
    late = [
        standing
        for standing in list(seen.standing.values())
        if standing.state == "starting" and now - standing.since > AT_ONCE_S
    ]
    if not late:
        return None
    doing = starting()
    if not doing.unplaced:
        return None
    return Wanted(
        since=min(standing.since for standing in late),
        asks=dict(Counter(str(standing.about.get("asks")) for standing in late)),
        starting=doing.nodes,
        refused=doing.refused,
    )
