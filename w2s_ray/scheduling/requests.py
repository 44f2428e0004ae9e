"""Requests for workers: the resources that a fit needs, whether they are free, and which is next.

Owns the rule, as functions of values: the worker pool applies it to a running cluster, and a
simulation to an imagined one. No request is granted without free resources, and queues (the sweep's
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
    def said(self) -> str:
        """What it holds, in words."""
        asked = {"CPU": self.cpus, "GPU": self.gpus, f"{ACCELERATOR}{self.accelerator}": 1.0}
        if self.accelerator is None:
            asked = {"CPU": self.cpus, "GPU": self.gpus}
        one = resources_text({name: need for name, need in asked.items() if need})
        return one if self.workers == 1 else f"{self.workers} workers x {one}"


NOTHING = WorkerSpec(engine="torch", workers=0, cpus=0.0, gpus=0.0)


class RequestId(NamedTuple):
    """The identity of one request for one fit; other requests may be for the same fit."""

    run_id: str
    queue: str
    priority: int

    @property
    def requester(self) -> str:
        """Who wants the fit, as one word."""
        return f"{self.queue}#{self.priority}"


@dataclass(frozen=True)
class FitRequest:
    """A fit that wants to start."""

    run_id: str
    queue: str
    """Whose turn it takes: a study's id, or the sweep's own fits."""
    spec: WorkerSpec
    priority: int = 0
    """Smaller goes first within its party; in a study it is the trial's number."""

    @property
    def id(self) -> RequestId:
        """Who wants which fit: the same again where a requester asks once more."""
        return RequestId(self.run_id, self.queue, self.priority)


def next_request(
    waiting: Sequence[FitRequest], *, busy: Iterable[FitRequest], room: Mapping[str, float]
) -> int:
    """The place in `waiting` of the ask whose turn it is; nobody overtakes it.

    The party with the smallest share of the cluster goes first, then the smaller rank, then who has
    waited longer.
    """
    held: dict[str, float] = {}
    for (queue, spec), count in Counter((request.queue, request.spec) for request in busy).items():
        held[queue] = held.get(queue, 0.0) + count * share(spec, room=room)
    return min(
        range(len(waiting)),
        key=lambda i: (held.get(waiting[i].queue, 0.0), waiting[i].priority, i),
    )


def has_room(spec: WorkerSpec, *, held: Iterable[WorkerSpec], room: Mapping[str, float]) -> bool:
    """Whether `spec` fits beside what is `held`; where nothing is, one layout always does.

    No fit spans two GPUs with a share of each, so shares are packed into whole ones.
    """
    others = list(held)
    every = [*others, spec]
    return not others or all(
        (sum(each.total(kind) for each in every) if kind == "CPU" else whole_gpus(every, kind))
        <= there + 1e-9
        for kind, there in room.items()
    )


def whole_gpus(specs: Iterable[WorkerSpec], kind: str = "GPU") -> float:
    """How many GPUs `specs` need: shares by first fit, largest first."""
    totals = [total for each in specs if (total := each.total(kind))]
    left: list[float] = []
    for need in sorted((total for total in totals if total < 1), reverse=True):
        place = next((i for i, free in enumerate(left) if free >= need - 1e-9), None)
        if place is None:
            left.append(1.0 - need)
        else:
            left[place] -= need
    return sum(total for total in totals if total >= 1) + len(left)


def share(spec: WorkerSpec, *, room: Mapping[str, float]) -> float:
    """The part of the cluster's scarcest resource that a layout takes."""
    return max((spec.total(kind) / there for kind, there in room.items() if there), default=0.0)
