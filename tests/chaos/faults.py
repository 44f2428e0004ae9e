"""Faults: what is done to a running sweep's processes, from outside.

Owns finding a sweep's processes by their titles and hurting them. It knows nothing of what must
hold afterwards.
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

Hurt = Callable[["Victim"], bool]
"""Injects a fault into a sweep; False where it came too late or had no effect."""

SHORT_OF_MEMORY = {"MALLOC_MMAP_THRESHOLD_": "4096", "MALLOC_TRIM_THRESHOLD_": "0"}
"""Environment in which a process gives back what it frees, so that `starve` is felt at once."""


@dataclass(frozen=True)
class Victim:
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
        """One of them, by chance; waits for one to be there, None if the sweep ends first."""
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


def kill(*titles: str, times: int = 1) -> Hurt:
    """Kill a process with one of `titles`; again after a while for each further time."""

    def hurt(victim: Victim) -> bool:
        killed = 0
        for again in range(times):
            if again:
                time.sleep(victim.chance.uniform(1.0, 4.0))
            killed += to_one(psutil.Process.kill, *titles)(victim)
        return killed > 0

    return hurt


def freeze(*titles: str) -> Hurt:
    """Stop a process without ending it: it hangs."""
    return to_one(psutil.Process.suspend, *titles)


def starve(*titles: str) -> Hurt:
    """Let a process have no more memory than it has: it runs out (under `SHORT_OF_MEMORY`)."""

    def limit(process: psutil.Process) -> None:
        most = process.memory_info().vms
        process.rlimit(psutil.RLIMIT_AS, (most, most))

    return to_one(limit, *titles)


def to_one(act: Callable[[psutil.Process], object], *titles: str) -> Hurt:
    """Do `act` to a process with one of `titles`, if there is one."""

    def hurt(victim: Victim) -> bool:
        process = victim.one(*titles)
        if process is not None:
            with contextlib.suppress(psutil.NoSuchProcess):
                act(process)
                return True
        return False

    return hurt


def fill_disk(seconds: float, *, wait_s: float = 20.0) -> Hurt:
    """No space left on the store's disk for a while (see `site/sitecustomize.py`).

    It lasts until somebody has met it, or `wait_s` are over.
    """

    def hurt(victim: Victim) -> bool:
        flag, met = victim.folder / "disk-is-full", victim.folder / "disk-is-full-met"
        flag.touch()
        time.sleep(seconds)
        deadline = time.monotonic() + wait_s
        while not met.exists() and time.monotonic() < deadline:
            time.sleep(0.1)
        flag.unlink()
        return met.exists()

    return hurt


def nothing(victim: Victim) -> bool:
    """Its store is trouble enough."""
    return True


def kill_driver(victim: Victim) -> bool:
    """Kill `w2s run` itself; Ray goes down with it."""
    with contextlib.suppress(ProcessLookupError):
        os.kill(victim.driver, signal.SIGKILL)
        return True
    return False


WORKER, WATCHER, STUDY = "ray::SingleDeviceWorker", "ray::ImplicitFunc", "ray::study_task"
TRACKER, POOL, HEAD, NODE = "ray::ProgressTracker", "ray::WorkerPool", "gcs_server", "raylet/raylet"
