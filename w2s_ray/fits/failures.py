"""Why an attempt at a run ended without a result, and whether it is tried again.

Owns the causes, and the cause of an exception: what would happen again with the same settings (an
error, a diverged loss) is final, a failure of the machine is not. It starts and retries nothing.
"""

from __future__ import annotations

import errno
import re
from collections import Counter
from collections.abc import Iterator
from typing import Literal

from w2s_ray.network import is_of_the_network

Cause = Literal[
    "diverged",
    "error",
    "disk_full",
    "out_of_memory",
    "stalled",
    "store",
    "network",
    "preempted",
    "node_lost",
    "worker_died",
]

NOT_ITS_FAULT: frozenset[str | None] = frozenset({"preempted", "node_lost"})
"""Causes that don't count against a run's retries: its machine was taken away."""
MOST_MOVES = 100
"""How often a run moves to another machine before it fails."""
FINAL: frozenset[str | None] = frozenset({"diverged", "error", None})
"""Causes that would recur with the same settings; None is the cause of a run that is done."""
OUTSIDE: frozenset[str | None] = frozenset(
    {"worker_died", "node_lost", "preempted", "store", "network", "disk_full"}
)
"""Causes independent of the settings: a study must not learn from them."""
LONGEST_PAUSE_S = 30.0

_WEIGHT: tuple[Cause, ...] = (
    "diverged",
    "disk_full",
    "out_of_memory",
    "store",
    "network",
    "preempted",
    "node_lost",
    "worker_died",
    "stalled",
    "error",
)
"""Order of causes when several workers failed: a lost one makes the others fail as well."""
_BY_NAME: dict[str, Cause] = {
    "NonFiniteLoss": "diverged",
    "MemoryError": "out_of_memory",
    "OutOfMemoryError": "out_of_memory",  # Ray's and torch.cuda's
    "OutOfDiskError": "disk_full",
    "NodeDiedError": "node_lost",
    "LocalRayletDiedError": "node_lost",
    "LeaveRequested": "preempted",
    "PreemptionError": "preempted",
    "WorkerCrashedError": "worker_died",
    "ActorDiedError": "worker_died",
    "ActorUnavailableError": "worker_died",
    "RayActorError": "worker_died",
    "OwnerDiedError": "worker_died",
    "WorkerHealthCheckTimeoutError": "worker_died",
    "WorkerHealthCheckFailedError": "worker_died",
    "WorkerGroupStartupFailedError": "worker_died",
    "WorkerGroupStartupTimeoutError": "worker_died",
    "ActorPlacementGroupRemoved": "worker_died",
    "Stalled": "stalled",
    "HostLost": "worker_died",
    "HubUnreachable": "network",
    "LocalEntryNotFoundError": "network",  # of huggingface_hub: not in its cache, and no network
    "OfflineModeIsEnabled": "network",
    "TransportError": "network",  # of httpx, its HTTP client
}
_OTHERS_GONE = re.compile(r"gloo|NCCL|ProcessGroup|Connection (?:closed|reset) by peer")
"""The message of a worker when another of its group is gone."""
_NO_GPU_MEMORY = re.compile(r"\b(?:CUDA|HIP|XPU) out of memory")
_NO_MEMORY = re.compile(r"CUDA out of memory|can't allocate memory|Cannot allocate memory")


class Stalled(RuntimeError):
    """A fit made no progress within its time limit."""

    def __init__(self, seconds: float) -> None:
        super().__init__(
            f"no progress for {seconds:.0f} s; if that is too strict for its model, raise "
            "execution.stall_s"
        )
        self.seconds = seconds

    def __reduce__(self) -> tuple[type[Stalled], tuple[float]]:
        return Stalled, (self.seconds,)


class HostLost(RuntimeError):
    """The process or worker group that a fit ran on is gone."""


def cause_of(error: BaseException) -> Cause:
    """The cause of an attempt that ended with `error`, whatever Ray wrapped it in."""
    found = {_cause(each) for each in _innermost(error)}
    return next(cause for cause in _WEIGHT if cause in found)


def needs_less_gpu_memory(cause: str | None, reason: str | None) -> bool:
    """Whether an attempt failed because its own GPU memory ran out, and not the machine's."""
    return cause == "out_of_memory" and bool(_NO_GPU_MEMORY.search(reason or ""))


class Retries:
    """How often one run was tried again, by cause, and whether it may be once more."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self.counts: Counter[str | None] = Counter()

    def allow(self, cause: str | None) -> bool:
        """Whether a run that ended by `cause` is tried again; each call counts."""
        if cause in FINAL:
            return False
        limit = MOST_MOVES if cause in NOT_ITS_FAULT else self._limit
        if self.counts[cause] >= limit:
            return False
        self.counts[cause] += 1
        return True

    def pause_s(self, cause: str | None) -> float:
        """Seconds to wait before the retry: a full disk, a failing store or network needs time."""
        if cause not in ("store", "network", "disk_full"):
            return 0.0
        return min(LONGEST_PAUSE_S, 2.0 ** (self.counts[cause] - 1))


def _innermost(error: BaseException) -> Iterator[BaseException]:
    """The errors that `error` wraps."""
    failures = getattr(error, "worker_failures", None)
    if failures:
        for failure in failures.values():
            yield from _innermost(failure)
        return
    for name in ("cause", "base_exc", "controller_failure"):
        inner = getattr(error, name, None)
        if isinstance(inner, BaseException) and inner is not error:
            yield from _innermost(inner)
            return
    yield error


def _cause(error: BaseException) -> Cause:
    if getattr(error, "preempted", False):
        return "preempted"
    if "its node has died" in str(error):
        return "node_lost"
    for kind in type(error).__mro__:
        if kind.__name__ in _BY_NAME:
            return _BY_NAME[kind.__name__]
        if kind.__name__ == "HfHubHTTPError":  # an OSError
            return "network" if is_of_the_network(error) else "error"
    if isinstance(error, OSError):
        full = error.errno in (errno.ENOSPC, errno.EDQUOT)
        missing = isinstance(error, FileNotFoundError | PermissionError | NotADirectoryError)
        return "disk_full" if full else "error" if missing else "store"
    message = str(error)
    if _NO_MEMORY.search(message):
        return "out_of_memory"
    if isinstance(error, RuntimeError) and _OTHERS_GONE.search(message):
        return "worker_died"
    return "error"
