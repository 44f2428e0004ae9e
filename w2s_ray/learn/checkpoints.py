"""Checkpoints: what a running fit writes so that it can resume after its process died.

Owns the `Checkpoints` protocol and its form for one process, a folder. The loop
and the engine decide what is written, the caller when and where.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Protocol


class Checkpoints(Protocol):
    """Keeps the newest state of one fit. All workers call `save` together."""

    def due(self) -> bool:
        """Whether it is time for another; worker 0's answer counts."""
        ...

    def save(self, step: int, write: Callable[[Path], None]) -> None:
        """Have `write` fill a folder, and keep it as the newest state only once it is whole."""
        ...

    def latest(self) -> Path | None:
        """The folder of the newest whole state; None at a fresh start."""
        ...


class FolderCheckpoints:
    """`Checkpoints` of a one-process fit: folders `step-N` under `folder`, the newest kept."""

    def __init__(self, folder: Path, *, every_s: float) -> None:
        self.folder = Path(folder)
        self.every_s = every_s
        self._last = time.monotonic()

    def due(self) -> bool:
        return time.monotonic() - self._last >= self.every_s

    def save(self, step: int, write: Callable[[Path], None]) -> None:
        target, unfinished = self.folder / f"step-{step}", self.folder / ".unfinished"
        shutil.rmtree(unfinished, ignore_errors=True)
        unfinished.mkdir(parents=True)
        write(unfinished)
        shutil.rmtree(target, ignore_errors=True)
        unfinished.rename(target)
        for older in self._states():
            if older != target:
                shutil.rmtree(older)
        self._last = time.monotonic()

    def latest(self) -> Path | None:
        return max(self._states(), key=_step_of, default=None)

    def _states(self) -> list[Path]:
        return [path for path in self.folder.glob("step-*") if path.is_dir()]


def _step_of(path: Path) -> int:
    return int(path.name.removeprefix("step-"))
