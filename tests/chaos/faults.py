"""Fault injection into the processes of a running sweep.

Owns the search for a sweep's processes by their titles, and the faults. It checks no results.
"""

from __future__ import annotations

import contextlib
import os
import random
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import psutil

Fault = Callable[["RunningSweep"], bool]
"""Injects a fault into a sweep; False where it came too late or had no effect."""

SHORT_OF_MEMORY = {"MALLOC_MMAP_THRESHOLD_": "4096", "MALLOC_TRIM_THRESHOLD_": "0"}
"""Environment in which a process returns freed memory at once, so that `limit_memory` works."""


@dataclass(frozen=True)
class RunningSweep:
    """A running sweep."""

    driver: int
    """Pid of `w2s run`."""
    folder: Path
    chance: random.Random

    def processes(self, *titles: str) -> list[psutil.Process]:
        """Processes under the driver whose command line has one of `titles`."""
        found = []
        for process in psutil.Process(self.driver).children(recursive=True):
            with contextlib.suppress(psutil.NoSuchProcess, psutil.AccessDenied):
                line = " ".join(process.cmdline())
                if any(title in line for title in titles):
                    found.append(process)
        return found

    def one(self, *titles: str, wait_s: float = 40.0) -> psutil.Process | None:
        """A random one of them; waits until there is one, None if the sweep ends first."""
        deadline = time.monotonic() + wait_s
        while time.monotonic() < deadline:
            try:
                found = sorted(self.processes(*titles), key=lambda process: process.pid)
            except psutil.NoSuchProcess:
                return None
            if found:
                return self.chance.choice(found)
            time.sleep(0.1)
        return None


def kill(*titles: str, times: int = 1) -> Fault:
    """Kill a process with one of `titles`; again after a while for each further time."""

    def inject(sweep: RunningSweep) -> bool:
        killed = 0
        for again in range(times):
            if again:
                time.sleep(sweep.chance.uniform(1.0, 4.0))
            killed += to_one(psutil.Process.kill, *titles)(sweep)
        return killed > 0

    return inject


def freeze(*titles: str) -> Fault:
    """Suspend a process, so that it hangs."""
    return to_one(psutil.Process.suspend, *titles)


def limit_memory(*titles: str) -> Fault:
    """Limit a process to its current memory, so that it runs out (under `SHORT_OF_MEMORY`)."""

    def limit(process: psutil.Process) -> None:
        most = process.memory_info().vms
        process.rlimit(psutil.RLIMIT_AS, (most, most))

    return to_one(limit, *titles)


def to_one(act: Callable[[psutil.Process], object], *titles: str) -> Fault:
    """Do `act` to a process with one of `titles`, if there is one."""

    def inject(sweep: RunningSweep) -> bool:
        process = sweep.one(*titles)
        if process is not None:
            with contextlib.suppress(psutil.NoSuchProcess):
                act(process)
                return True
        return False

    return inject


def fill_disk(seconds: float, *, wait_s: float = 20.0) -> Fault:
    """No space left on the store's disk for a while (see `site/sitecustomize.py`).

    It lasts until a write has failed, or `wait_s` are over.
    """

    def inject(sweep: RunningSweep) -> bool:
        flag, met = sweep.folder / "disk-is-full", sweep.folder / "disk-is-full-met"
        flag.touch()
        time.sleep(seconds)
        deadline = time.monotonic() + wait_s
        while not met.exists() and time.monotonic() < deadline:
            time.sleep(0.1)
        flag.unlink()
        return met.exists()

    return inject


def no_fault(sweep: RunningSweep) -> bool:
    """No fault besides those of the store."""
    return True


def kill_driver(sweep: RunningSweep) -> bool:
    """Kill `w2s run` itself; its Ray ends with it."""
    with contextlib.suppress(ProcessLookupError):
        os.kill(sweep.driver, signal.SIGKILL)
        return True
    return False


WORKER, MONITOR, STUDY = "ray::SingleDeviceWorker", "ray::ImplicitFunc", "ray::study_task"
TRACKER, POOL, HEAD, NODE = "ray::ProgressTracker", "ray::WorkerPool", "gcs_server", "raylet/raylet"
