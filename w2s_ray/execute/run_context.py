"""The run context: the store, the cluster and the actors of a sweep, for every process of it.

Owns the value that is sent to each process that takes part, and the leases on runs. Scheduling and
training are elsewhere.
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
from w2s_ray.plugins import Plugin
from w2s_ray.store import Store
from w2s_ray.store.leases import Leases

if TYPE_CHECKING:
    from w2s_ray.scheduling.requests import RequestId
    from w2s_ray.status.run_state import State


@dataclass(frozen=True)
class RunContext:
    """What running a fit needs besides the fit; it is sent to other processes by value."""

    store: str
    """URI of the store."""
    cluster: Cluster
    progress_tracker: Any = None
    """Actor handle of the progress tracker."""
    worker_pool: Any = None
    """Actor handle of the worker pool."""
    tracker_actor: Any = None
    """Actor handle of the process that reports to trackers, if there are any."""
    lease_s: float = 60.0
    """Seconds without a heartbeat after which a lease expires."""
    plugins: tuple[Plugin | None, ...] = ()
    """The sweep's plugins; a process that gets the context loads them."""

    def open_store(self) -> Store:
        """The store, opened in this process."""
        return Store.open(self.store)

    def resources(self, execution: Execution) -> dict[str, float]:
        """The resources of one worker of a fit."""
        return self.cluster.resources(execution)

    def with_gpus(self, fit: PlannedFit) -> PlannedFit:
        """`fit` with the GPUs that this cluster gives each of its workers."""
        gpus = self.resources(fit.execution).get("GPU", 0.0)
        execution = fit.execution.model_copy(update={"gpus_per_worker": gpus})
        return replace(fit, execution=execution)

    @contextlib.contextmanager
    def lease(self, run_id: str) -> Iterator[bool]:
        """Hold the lease on a run, so that no other process that shares the store works on it.

        False where another process holds it. A lease outlives its process by `lease_s` at most.
        """
        lease = _leases(self.store, self.lease_s).acquire(run_id)
        if lease is None:
            yield False
            return
        with lease:
            yield True

    def clear_work(self, run_id: str) -> None:
        """Delete a fit's checkpoints, unless another process works on the fit."""
        with self.lease(run_id) as leased:
            if leased:
                self.open_store().work.clear(run_id)

    def is_stopping(self) -> bool:
        """Whether the sweep is being stopped, or has ended already."""
        import ray
        import ray.exceptions

        try:
            stopping: Any = ray.get(self.progress_tracker.is_stopping.remote(), timeout=10)
        except ray.exceptions.GetTimeoutError:
            return False
        except (ray.exceptions.RayError, RuntimeError):  # the progress tracker is gone
            return True
        return stopping

    def close(self) -> None:
        """End the worker pool, its workers and the progress tracker, which frees their resources
        on a cluster that was joined.
        """
        import ray
        import ray.exceptions

        with contextlib.suppress(ray.exceptions.RayError):
            ray.get(self.worker_pool.close.remote(), timeout=10)
        with contextlib.suppress(ray.exceptions.RayError):  # it processes the calls sent before
            ray.get(self.progress_tracker.nodes_of.remote(""), timeout=10)
        for actor in (self.worker_pool, self.progress_tracker):
            ray.kill(actor)

    def cancel_requests(self, requests: Iterable[RequestId]) -> set[str]:
        """Cancel requests; the fits that continue, since there are other requests for them.

        Where the worker pool is lost, no fit continues.
        """
        import ray
        import ray.exceptions

        replies = {
            request.run_id: self.worker_pool.cancel_request.remote(request) for request in requests
        }
        try:
            continues: Any = ray.get(list(replies.values()), timeout=30)
        except ray.exceptions.RayError:
            return set()
        return {run_id for run_id, others in zip(replies, continues, strict=True) if others}

    def set_run_state(
        self,
        run: PlannedFit | PlannedStudy,
        state: State,
        about: Mapping[str, Any] | None = None,
        *,
        requester: str = "",
    ) -> None:
        """Report a run's state to the progress tracker, with `about` added to its description."""
        if self.progress_tracker is not None:
            description = {**about_run(run), **(about or {})}
            self.progress_tracker.set_state.remote(run.id, state, description, requester)


@cache
def _leases(uri: str, lease_s: float) -> Leases:
    """One per process, since it keeps the heartbeats that it has seen."""
    return Leases(Store.open(uri).files, ttl_s=lease_s)


def checkpoint_layout(execution: Execution) -> str:
    """The name of the worker layout that a checkpoint depends on: it is valid for no other.

    DeepSpeed's has `-tensors` in it, so that checkpoints of the earlier pickle format are ignored.
    """
    e = execution
    file_format = ("tensors",) if e.engine == "deepspeed" else ()
    return "-".join((e.engine, str(e.workers), f"zero{e.zero_stage}", e.offload, *file_format))
