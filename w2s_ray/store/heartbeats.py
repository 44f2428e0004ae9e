"""The states of running drivers, and whether these drivers are alive.

Owns the files `work/live/DRIVER.json`, through which other processes read a driver's state. A
driver replaces its file every few seconds and removes it at its end. A missing or old file changes
no result. The content of a state is not interpreted here.
"""

from __future__ import annotations

import contextlib
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Literal

from w2s_ray.store import layout
from w2s_ray.store.errors import StoreError
from w2s_ray.store.files import Files
from w2s_ray.store.leases import Holder
from w2s_ray.store.records import CLOCKS_S, Moment, Stored, time_order

SILENT_S = 30.0
"""A driver that has written no state for this time counts as dead."""

Liveness = Literal["alive", "dead", "unknown"]


class DriverState(Stored):
    """The last state that a driver wrote."""

    holder: Holder
    """The process."""
    beat: int
    """Number of states that it has written."""
    written_at: Moment
    """By the driver's clock."""
    about: dict[str, Any]

    @property
    def driver(self) -> str:
        """The driver's name in the store."""
        return self.holder.token

    @property
    def host(self) -> str:
        """The machine that the driver runs on."""
        return self.holder.host.partition("/")[0]


def write_driver_state(files: Files, state: DriverState) -> None:
    """Write a driver's state in place of its last one."""
    files.write(layout.driver_state(state.driver), state.model_dump_json().encode())


def remove_driver_state(files: Files, driver: str) -> None:
    """Remove a driver's state and a stop request to it."""
    for path in (layout.driver_state(driver), layout.stop_request(driver)):
        with contextlib.suppress(FileNotFoundError):
            files.remove(path)


def request_stop(files: Files, driver: str) -> None:
    """Request that a driver stop; it checks for requests when it writes its state."""
    files.write(layout.stop_request(driver), b"{}")


def is_stop_requested(files: Files, driver: str) -> bool:
    """Whether there is a stop request to a driver."""
    return files.exists(layout.stop_request(driver))


def read_driver_states(files: Files) -> list[DriverState]:
    """Every stored driver state, those of killed drivers included, oldest first.

    A file that can't be read (another version wrote it) is left out.
    """
    found = []
    for path in files.find(f"work/{layout.LIVE}"):
        if path.endswith(layout.STOP):
            continue
        with contextlib.suppress(FileNotFoundError, StoreError):
            found.append(layout.parse(DriverState, files.read(path), where=files.locate(path)))
    return sorted(found, key=lambda state: time_order(state.written_at))


@dataclass
class LivenessMonitor:
    """Decides which drivers are alive, from the states that this process has read so far.

    The death of a process on this machine is detected at once. A process on another machine is
    judged by the time of its state where that is decisive, else by whether its state changes.
    """

    _seen: dict[str, tuple[int, float]] = field(default_factory=dict)
    """Driver -> its last beat, and when this process first read it."""
    _changed: set[str] = field(default_factory=set)

    def liveness(self, state: DriverState) -> Liveness:
        """Whether the driver is alive; where that is unknown, call again with a newer state."""
        if state.holder.is_dead():
            return "dead"
        now = time.monotonic()
        beat, since = self._seen.get(state.driver, (None, now))
        if beat != state.beat:
            self._seen[state.driver] = (state.beat, now)
            if beat is not None:
                self._changed.add(state.driver)
        if beat == state.beat and now - since >= SILENT_S:
            return "dead"
        age_s = (datetime.now(UTC) - datetime.fromisoformat(state.written_at)).total_seconds()
        if age_s > CLOCKS_S + SILENT_S:
            return "dead"
        return "alive" if abs(age_s) < SILENT_S or state.driver in self._changed else "unknown"
