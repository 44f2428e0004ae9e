"""What carrying out a fit needs besides the fit: the store, the cluster, who watches, a claim.

Owns the value that travels to every process that takes part, and claims on runs. It trains
nothing and knows nothing of the order of runs.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cache
from typing import TYPE_CHECKING, Any

from w2s_ray.config import Execution
from w2s_ray.execute.cluster import Cluster
from w2s_ray.fits.outcome import about_run
from w2s_ray.plan import PlannedFit, PlannedStudy
from w2s_ray.store import Store
from w2s_ray.store.leases import Leases

if TYPE_CHECKING:
    from w2s_ray.scheduling.requests import RequestId
    from w2s_ray.status.run_state import State


@dataclass(frozen=True)
class RunContext:
    """What carrying out a fit needs besides the fit; travels to other processes by value."""

    store: str
    """URI of the store."""
    cluster: Cluster
    progress_tracker: Any = None
    """The board's actor handle."""
    worker_pool: Any = None
    """The floor's actor handle."""
    tracker_actor: Any = None
    """The actor handle of the one that tells trackers, if there are any."""
    lease_s: float = 60.0
    """Seconds without a heartbeat after which a claim is free."""

    def open_store(self) -> Store:
        """The store, opened in this process."""
        return Store.open(self.store)

    def resources(self, execution: Execution) -> dict[str, float]:
        """What Ray must hold for one worker of a fit."""
        return self.cluster.resources(execution)

    def placed(self, fit: PlannedFit) -> PlannedFit:
        """`fit` with its GPUs settled by what the cluster has."""
        gpus = self.resources(fit.execution).get("GPU", 0.0)
        execution = fit.execution.model_copy(update={"gpus_per_worker": gpus})
        return replace(fit, execution=execution)

    @contextlib.contextmanager
    def claimed(self, run_id: str) -> Iterator[bool]:
        """Hold a run, so that nobody else who shares the store is at work on it.

        False where somebody else holds it. A claim outlives its process by `lease_s` at most.
        """
        lease = _leases(self.store, self.lease_s).take(run_id)
        if lease is None:
            yield False
            return
        with lease:
            yield True

    def forget(self, run_id: str) -> None:
        """Throw away what resuming a fit would need, unless somebody is at work on it."""
        with self.claimed(run_id) as claimed:
            if claimed:
                self.open_store().work.clear(run_id)

    def is_stopping(self) -> bool:
        """Whether the sweep is being stopped, or has ended already."""
        import ray
        import ray.exceptions

        try:
            answer: Any = ray.get(self.progress_tracker.is_stopping.remote(), timeout=10)
        except ray.exceptions.GetTimeoutError:
            return False
        except (ray.exceptions.RayError, RuntimeError):  # there is nobody to ask any more
            return True
        return answer

    def close(self) -> None:
        """End the floor, its hosts and the board: a cluster that was joined gets all of it back."""
        import ray
        import ray.exceptions

        with contextlib.suppress(ray.exceptions.RayError):
            ray.get(self.worker_pool.close.remote(), timeout=10)
        with contextlib.suppress(ray.exceptions.RayError):  # have it hear what was said last
            ray.get(self.progress_tracker.nodes_of.remote(""), timeout=10)
        for actor in (self.worker_pool, self.progress_tracker):
            ray.kill(actor)

    def cancel_requests(self, requests: Iterable[RequestId]) -> set[str]:
        """Withdraw requests; the fits that others still want, which go on for them.

        A floor that is lost has no fits any more.
        """
        import ray
        import ray.exceptions

        asked = {
            request.run_id: self.worker_pool.cancel_request.remote(request) for request in requests
        }
        try:
            answers: Any = ray.get(list(asked.values()), timeout=30)
        except ray.exceptions.RayError:
            return set()
        return {run_id for run_id, wanted in zip(asked, answers, strict=True) if wanted}

    def set_run_state(
        self,
        run: PlannedFit | PlannedStudy,
        state: State,
        about: Mapping[str, Any] | None = None,
        *,
        requester: str = "",
    ) -> None:
        """Tell the board how a run under watch stands; `about` is said beside what it is."""
        if self.progress_tracker is not None:
            said = {**about_run(run), **(about or {})}
            self.progress_tracker.set_state.remote(run.id, state, said, requester)


@cache
def _leases(uri: str, lease_s: float) -> Leases:
    """One for a process, since it remembers whose heart it saw beat."""
    return Leases(Store.open(uri).files, ttl_s=lease_s)


def checkpoint_layout(execution: Execution) -> str:
    """A name for what a checkpoint depends on: it serves the same layout of workers only.

    Checkpoints of DeepSpeed have `-tensors` in it since they are no pickles any more, so that an
    older one is not found and its fit begins anew.
    """
    e = execution
    form = ("tensors",) if e.engine == "deepspeed" else ()
    return "-".join((e.engine, str(e.workers), f"zero{e.zero_stage}", e.offload, *form))
