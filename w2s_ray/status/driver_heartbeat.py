"""What a running driver says of itself in the store, and hears there that it should stop.

Owns the words, and the thread that says them, so that a slow or failing store never holds the
driver up. No run depends on what is said. It imports no Ray.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Collection, Mapping
from datetime import UTC, datetime
from types import TracebackType
from typing import TYPE_CHECKING, Any

from w2s_ray.store import Store, StoreError, utc_now
from w2s_ray.store.heartbeats import (
    CLOCKS_S,
    DriverState,
    heard,
    is_asked_to_stop,
    remove_driver_state,
    say,
)
from w2s_ray.store.leases import Holder

if TYPE_CHECKING:
    from w2s_ray.status.run_state import ProgressSnapshot

EVERY_S = 2.0
"""Seconds between two words."""
LAST_WORD_S = 5.0
"""How long the driver's end waits for the store."""


def driver_state(
    seen: ProgressSnapshot,
    *,
    watched: Collection[str],
    failed: Collection[str],
    at_once: int,
    nodes: Mapping[str, Any] | None = None,
    budget: str | None = None,
    phase: str = "running",
) -> dict[str, Any]:
    """What a driver says: `watched` are runs under way, `failed` those lost in this call.

    `nodes` are those that it waits for, `budget` what of it is spent.
    """
    runs = []
    for run_id, run_states in list(seen.run_states.items()):
        step, steps = seen.steps.get(run_id, (None, None))
        runs.append(
            {
                **run_states.about,
                "run": run_id,
                "state": run_states.state,
                "since": run_states.since,
                "place": run_states.place,
                "step": step,
                "steps": steps,
            }
        )
    return {
        "phase": phase,
        "runs": runs,
        "watched": list(watched),
        "failed": list(failed),
        "at_once": at_once,
        "nodes": nodes,
        "budget": budget,
    }


class DriverHeartbeat:
    """Says in the store what it was told last, until it is closed; a context manager."""

    def __init__(
        self, store: Store, *, sweep: str, stop: Callable[[str], None] = lambda why: None
    ) -> None:
        """`stop` is called when somebody asks in the store that the driver stop."""
        self._store = store
        self._stop = stop
        self._holder = Holder.here()
        self._about: Mapping[str, Any] = {"phase": "starting Ray"}
        self._fixed = {"sweep": sweep, "started_at": utc_now()}
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, name="w2s-live", daemon=True)

    def __enter__(self) -> DriverHeartbeat:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._over.set()
        self._thread.join(LAST_WORD_S)

    def tell(self, about: Mapping[str, Any]) -> None:
        """What is to be said from now on; JSON-able, and not changed by the caller afterwards."""
        self._about = about

    def _run(self) -> None:
        beat = 0
        self._forget_the_dead()
        while True:
            beat += 1
            news = DriverState(
                holder=self._holder,
                beat=beat,
                written_at=utc_now(),
                about={**self._fixed, **self._about},
            )
            with contextlib.suppress(OSError, StoreError):  # said again in a moment
                say(self._store.files, news)
                if is_asked_to_stop(self._store.files, self._holder.token):
                    self._stop("w2s cancel")
            if self._over.wait(EVERY_S):
                break
        with contextlib.suppress(OSError, StoreError):  # then its silence says so
            remove_driver_state(self._store.files, self._holder.token)

    def _forget_the_dead(self) -> None:
        """Take away what drivers left behind that ended without a word."""
        with contextlib.suppress(OSError, StoreError):
            for news in heard(self._store.files):
                age_s = _age_s(news.written_at)
                if news.holder.is_dead() or abs(age_s) > 2 * CLOCKS_S:
                    remove_driver_state(self._store.files, news.driver)


def _age_s(moment: str) -> float:
    return (datetime.now(UTC) - datetime.fromisoformat(moment)).total_seconds()
