"""Requests for workers: the resources of a fit, whether they are free, and which request is next.

Owns the rule, as functions of values: the worker pool applies it to a running cluster, and
simulations to a model of one. No request is granted without free resources, and queues (the sweep's
own fits, each study) take turns, so that none starves another. It holds no workers and no clock.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

from w2s_ray.config import Execution
from w2s_ray.plan.nodes import ACCELERATOR, resources_text

SWEEP = "sweep"
"""The queue of the fits that belong to no study."""


@dataclass(frozen=True)
class WorkerSpec:
    """The resources of a worker; a fit runs on any worker with its spec."""

    engine: Literal["torch", "deepspeed"]
    workers: int
    cpus: float
    """Of each worker."""
    gpus: float
    """Of each worker."""
    accelerator: str | None = None
    """Which GPUs, by Ray's name for them; None for any."""

    @classmethod
    def of(cls, execution: Execution, resources: Mapping[str, float]) -> WorkerSpec:
        """The worker for a fit with this execution; `resources` are those of one process."""
        return cls(
            engine=execution.engine,
            workers=execution.workers,
            cpus=resources["CPU"],
            gpus=resources.get("GPU", 0.0),
            accelerator=execution.accelerator_type,
        )

    def total(self, kind: str) -> float:
        """CPUs, GPUs, or GPUs of one accelerator type, of all workers together."""
        if kind.startswith(ACCELERATOR):
            return self.workers * self.gpus if kind == f"{ACCELERATOR}{self.accelerator}" else 0.0
        return self.workers * (self.cpus if kind == "CPU" else self.gpus)

    @property
    def resources_text(self) -> str:
        """Its resources, as text."""
        resources = {"CPU": self.cpus, "GPU": self.gpus}
        if self.accelerator is not None:
            resources[f"{ACCELERATOR}{self.accelerator}"] = 1.0
        one = resources_text({name: amount for name, amount in resources.items() if amount})
        return one if self.workers == 1 else f"{self.workers} workers x {one}"


NOTHING = WorkerSpec(engine="torch", workers=0, cpus=0.0, gpus=0.0)


class RequestId(NamedTuple):
    """The identity of one request for one fit; other requests may be for the same fit."""

    run_id: str
    queue: str
    priority: int

    @property
    def requester(self) -> str:
        """The request's queue and priority, as one word."""
        return f"{self.queue}#{self.priority}"


@dataclass(frozen=True)
class FitRequest:
    """A request for a worker for a fit."""

    run_id: str
    queue: str
    """A study's id, or the queue of the sweep's own fits."""
    spec: WorkerSpec
    priority: int = 0
    """The smaller goes first within its queue; in a study it is the trial's number."""

    @property
    def id(self) -> RequestId:
        """Its identity, equal for a repeated request."""
        return RequestId(self.run_id, self.queue, self.priority)


def next_request(
    queued: Sequence[FitRequest], *, busy: Iterable[FitRequest], capacity: Mapping[str, float]
) -> int:
    """The index in `queued` of the next request; no later request overtakes it.

    The queue with the smallest share of the cluster goes first, then the smaller priority, then the
    older request.
    """
    held: dict[str, float] = {}
    for (queue, spec), count in Counter((request.queue, request.spec) for request in busy).items():
        held[queue] = held.get(queue, 0.0) + count * share(spec, capacity=capacity)
    return min(
        range(len(queued)),
        key=lambda i: (held.get(queued[i].queue, 0.0), queued[i].priority, i),
    )


def has_capacity(
    spec: WorkerSpec, *, held: Iterable[WorkerSpec], capacity: Mapping[str, float]
) -> bool:
    """Whether a worker fits beside those that are `held`; the only one on a cluster always does.

    No fit uses shares of two GPUs, so shares are packed into whole GPUs.
    """
    others = list(held)
    every = [*others, spec]
    return not others or all(
        (sum(each.total(kind) for each in every) if kind == "CPU" else whole_gpus(every, kind))
        <= amount + 1e-9
        for kind, amount in capacity.items()
    )


def whole_gpus(specs: Iterable[WorkerSpec], kind: str = "GPU") -> float:
    """How many GPUs `specs` need: shares by first fit, largest first."""
    totals = [total for each in specs if (total := each.total(kind))]
    free_shares: list[float] = []
    for need in sorted((total for total in totals if total < 1), reverse=True):
        gpu = next((i for i, free in enumerate(free_shares) if free >= need - 1e-9), None)
        if gpu is None:
            free_shares.append(1.0 - need)
        else:
            free_shares[gpu] -= need
    return sum(total for total in totals if total >= 1) + len(free_shares)


def share(spec: WorkerSpec, *, capacity: Mapping[str, float]) -> float:
    """The share of the cluster's scarcest resource that a worker holds."""
    return max(
        (spec.total(kind) / amount for kind, amount in capacity.items() if amount), default=0.0
    )
