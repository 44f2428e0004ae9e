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

Hurt = Callable[["Victim"], None]


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

    def hurt(victim: Victim) -> None:
        for again in range(times):
            if again:
                time.sleep(victim.chance.uniform(1.0, 4.0))
            to_one(psutil.Process.kill, *titles)(victim)

    return hurt


def freeze(*titles: str) -> Hurt:
    """Stop a process without ending it: it hangs."""
    return to_one(psutil.Process.suspend, *titles)


def starve(*titles: str) -> Hurt:
    """Let a process have little more memory than it has: it runs out."""

    def limit(process: psutil.Process) -> None:
        most = process.memory_info().vms + 2**20
        process.rlimit(psutil.RLIMIT_AS, (most, most))

    return to_one(limit, *titles)


def to_one(act: Callable[[psutil.Process], object], *titles: str) -> Hurt:
    """Do `act` to a process with one of `titles`, if there is one."""

    def hurt(victim: Victim) -> None:
        process = victim.one(*titles)
        if process is not None:
            with contextlib.suppress(psutil.NoSuchProcess):
                act(process)

    return hurt


def fill_disk(seconds: float) -> Hurt:
    """No space left on the store's disk for a while (see `site/sitecustomize.py`)."""

    def hurt(victim: Victim) -> None:
        flag = victim.folder / "disk-is-full"
        flag.touch()
        time.sleep(seconds)
        flag.unlink()

    return hurt


def nothing(victim: Victim) -> None:
    """Its store is trouble enough."""


def kill_driver(victim: Victim) -> None:
    """Kill `w2s run` itself; Ray goes down with it."""
    with contextlib.suppress(ProcessLookupError):
        os.kill(victim.driver, signal.SIGKILL)


SEAT, WATCHER, STUDY = "ray::Seat", "ray::ImplicitFunc", "ray::study_task"
BOARD, FLOOR, HEAD, NODE = "ray::Board", "ray::Floor", "gcs_server", "raylet/raylet"
