"""Work that a thread repeats while a sweep runs, for a small share of its time.

Owns the intervals. Errors of the store are left to the next repetition.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Iterator

from w2s_ray.store import StoreError


@contextlib.contextmanager
def regularly(
    work: Callable[[], None], *, min_interval_s: float, time_share: float, name: str
) -> Iterator[None]:
    """Call `work` in a thread `name` within the context: at least so many seconds after the call
    before, and later if it would need more than this share of the time.
    """
    over = threading.Event()

    def run() -> None:
        took_s = 0.0
        while not over.wait(max(min_interval_s, took_s * (1 - time_share) / time_share)):
            started = time.monotonic()
            with contextlib.suppress(OSError, StoreError):
                work()
            took_s = time.monotonic() - started

    threading.Thread(target=run, name=name, daemon=True).start()
    try:
        yield
    finally:
        over.set()
