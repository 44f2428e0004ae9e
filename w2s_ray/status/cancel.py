"""Stopping a sweep from another process with access to its store.

Owns the stop request and the wait for the driver's end; `execute.stopping` has the driver's part.
"""

from __future__ import annotations

import time

from w2s_ray.store import Store
from w2s_ray.store.heartbeats import DriverState, LivenessMonitor, read_driver_states, request_stop

LEAVE_S = 120.0
"""How long running fits have to write a checkpoint; after that they resume from an earlier one."""
POLL_S = 0.5


def drivers_of(sweep: str, store: Store) -> list[DriverState]:
    """The sweep's drivers that are alive, or may be."""
    monitor = LivenessMonitor()
    return [
        driver
        for driver in read_driver_states(store.files)
        if driver.about.get("sweep") == sweep and monitor.liveness(driver) != "dead"
    ]


def cancel(drivers: list[DriverState], store: Store) -> list[DriverState]:
    """Request that `drivers` stop, and wait for their end; those that have not ended in time."""
    for driver in drivers:
        request_stop(store.files, driver.driver)
    deadline = time.monotonic() + LEAVE_S + 30
    monitor = LivenessMonitor()
    ids = {driver.driver for driver in drivers}
    while True:
        left = [
            driver
            for driver in read_driver_states(store.files)
            if driver.driver in ids and monitor.liveness(driver) != "dead"
        ]
        if not left or time.monotonic() > deadline:
            return left
        time.sleep(POLL_S)
