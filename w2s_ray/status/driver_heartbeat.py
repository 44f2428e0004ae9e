"""The heartbeat of a running driver in the store, with its state, and the stop requests there.

Owns the contents of a heartbeat, and the thread that writes it, so that a slow or failing store
never delays the driver. No run depends on it.
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
    is_stop_requested,
    read_driver_states,
    remove_driver_state,
    write_driver_state,
)
from w2s_ray.store.leases import Holder

if TYPE_CHECKING:
    from w2s_ray.status.run_state import ProgressSnapshot

EVERY_S = 2.0
"""Seconds between two heartbeats."""
END_S = 5.0
"""How long the driver's end waits for the store."""


def driver_state(
    snapshot: ProgressSnapshot,
    *,
    monitored: Collection[str],
    failed: Collection[str],
    at_once: int,
    nodes: Mapping[str, Any] | None = None,
    budget: str | None = None,
    phase: str = "running",
) -> dict[str, Any]:
    """The state in a heartbeat: `monitored` are started runs, `failed` those that failed.

    `nodes` are the pending ones, `budget` is the spent part of it as text.
    """
    runs = []
    for run_id, run_state in list(snapshot.run_states.items()):
        step, steps = snapshot.steps.get(run_id, (None, None))
        runs.append(
            {
                **run_state.about,
                "run": run_id,
                "state": run_state.state,
                "since": run_state.since,
                "place": run_state.place,
                "step": step,
                "steps": steps,
                "fetched": snapshot.fetched_text(run_id),
            }
        )
    return {
        "phase": phase,
        "runs": runs,
        "watched": list(monitored),
        "failed": list(failed),
        "at_once": at_once,
        "nodes": nodes,
        "budget": budget,
    }


class DriverHeartbeat:
    """Writes the driver's last state to the store regularly; a context manager."""

    def __init__(
        self, store: Store, *, sweep: str, stop: Callable[[str], None] = lambda reason: None
    ) -> None:
        """`stop` is called when the store has a stop request for this driver."""
        self._store = store
        self._stop = stop
        self._holder = Holder.here()
        self._state: Mapping[str, Any] = {"phase": "starting Ray"}
        self._constant = {"sweep": sweep, "started_at": utc_now()}
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, name="w2s-heartbeat", daemon=True)

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
        self._thread.join(END_S)

    def update(self, state: Mapping[str, Any]) -> None:
        """Set the state to write from now on; it must be valid JSON and stay unchanged."""
        self._state = state

    def _run(self) -> None:
        beat = 0
        self._remove_dead_drivers()
        while True:
            beat += 1
            state = DriverState(
                holder=self._holder,
                beat=beat,
                written_at=utc_now(),
                about={**self._constant, **self._state},
            )
            with contextlib.suppress(OSError, StoreError):  # the next heartbeat follows soon
                write_driver_state(self._store.files, state)
                if is_stop_requested(self._store.files, self._holder.token):
                    self._stop("w2s cancel")
            if self._over.wait(EVERY_S):
                break
        with contextlib.suppress(OSError, StoreError):  # without heartbeats it counts as ended
            remove_driver_state(self._store.files, self._holder.token)

    def _remove_dead_drivers(self) -> None:
        """Remove the states of drivers that were killed."""
        with contextlib.suppress(OSError, StoreError):
            for state in read_driver_states(self._store.files):
                age_s = _age_s(state.written_at)
                if state.holder.is_dead() or abs(age_s) > 2 * CLOCKS_S:
                    remove_driver_state(self._store.files, state.driver)


def _age_s(moment: str) -> float:
    return (datetime.now(UTC) - datetime.fromisoformat(moment)).total_seconds()
