"""Stopping a sweep from another process that reaches its store.

Owns the asking and the waiting; what the driver does then is its own (see `stopping`). It imports
no Ray.
"""

from __future__ import annotations

import time

from w2s_ray.store import Store
from w2s_ray.store.heartbeats import DriverState, LivenessMonitor, ask_to_stop, heard

LEAVE_S = 120.0
"""How long fits under way have to write a checkpoint; afterwards they go on from an earlier one."""
LOOK_S = 0.5


def drivers_of(sweep: str, store: Store) -> list[DriverState]:
    """The sweep's drivers that are at work, or may be."""
    hearts = LivenessMonitor()
    return [
        news
        for news in heard(store.files)
        if news.about.get("sweep") == sweep and hearts.heart(news) != "silent"
    ]


def cancel(drivers: list[DriverState], store: Store) -> list[DriverState]:
    """Ask `drivers` to stop, and wait until they have; those that have not in time."""
    for news in drivers:
        ask_to_stop(store.files, news.driver)
    deadline = time.monotonic() + LEAVE_S + 30
    hearts = LivenessMonitor()
    asked = {news.driver for news in drivers}
    while True:
        left = [n for n in heard(store.files) if n.driver in asked and hearts.heart(n) != "silent"]
        if not left or time.monotonic() > deadline:
            return left
        time.sleep(LOOK_S)
