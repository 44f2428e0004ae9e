"""What carrying out a fit needs besides the fit: the store, the cluster, who watches, a claim.

Owns the value that travels to every worker, a fit's scratch folder, and claims on fits. It trains
nothing and knows nothing of the order of runs.
"""

from __future__ import annotations

import contextlib
import fcntl
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from w2s_ray.data.cache import cache_folder
from w2s_ray.execute.cluster import Cluster
from w2s_ray.plan import PlannedFit
from w2s_ray.spec import Execution
from w2s_ray.store import Store


@dataclass(frozen=True)
class Carrier:
    """What carrying out a fit needs besides the fit; travels to workers by value."""

    store: str
    """URI of the store."""
    cluster: Cluster
    board: Any = None
    """The progress board's actor handle; None = nobody watches."""

    def open_store(self) -> Store:
        """The store, opened in this process."""
        return Store.open(self.store)

    def resources(self, execution: Execution) -> dict[str, float]:
        """What Ray must hold for one worker of a fit."""
        return self.cluster.resources(execution)

    def scratch(self, fit: PlannedFit) -> Path:
        """A folder for what resuming the fit needs; it goes when the fit ends.

        A checkpoint serves the same layout of workers only, so each layout has its own.
        """
        e = fit.execution
        layout = "-".join((e.engine, str(e.workers), f"zero{e.zero_stage}", e.offload))
        return self._work / fit.id / layout

    def forget(self, run_id: str) -> None:
        """Throw away what resuming a fit would need, unless somebody is at work on it."""
        with self.claimed(run_id, wait=False) as claimed:
            if claimed:
                self.clear(run_id)

    def clear(self, run_id: str) -> None:
        """Throw away what resuming a fit would need."""
        shutil.rmtree(self._work / run_id, ignore_errors=True)

    def say_ended(self, fit: PlannedFit, *, seconds: float | None = None) -> None:
        """Take a fit off the board; `seconds` are what one of its kind takes."""
        if self.board is not None:
            self.board.fit_ended.remote(fit.id, fit.source.name, seconds)

    @property
    def _work(self) -> Path:
        root = Path(self.store) if "://" not in self.store else cache_folder()
        return root.absolute() / "work"

    def placed(self, fit: PlannedFit) -> PlannedFit:
        """`fit` with its GPUs settled by what the cluster has."""
        gpus = self.resources(fit.execution).get("GPU", 0.0)
        execution = fit.execution.model_copy(update={"gpus_per_worker": gpus})
        return replace(fit, execution=execution)

    @contextlib.contextmanager
    def claimed(self, run_id: str, *, wait: bool) -> Iterator[bool]:
        """Hold a fit, so that no two processes of a machine train it at once.

        False where somebody else holds it and `wait` is off. A claim ends with its process, however
        that ends.
        """
        path = self._work / "locks" / run_id
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("w") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX if wait else fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                yield False
                return
            yield True
