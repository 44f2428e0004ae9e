"""Who may start: what a fit asks of the cluster, whether there is room, and whose turn it is.

Owns the rule, as functions of values: the floor applies it to a running cluster, and a simulation
to an imagined one. Nothing starts that there is no room for, and parties (the sweep's own fits,
each study) take turns, so that none starves another. It knows no hosts, no clock and no Ray.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, NamedTuple

from w2s_ray.plan.nodes import ACCELERATOR, said
from w2s_ray.spec import Execution

if TYPE_CHECKING:
    from w2s_ray.execute.cluster import Cluster

SWEEP = "sweep"
"""The party of the fits that are no trials."""


@dataclass(frozen=True)
class Layout:
    """What a host holds; a fit runs on any host of its layout."""

    engine: Literal["torch", "deepspeed"]
    workers: int
    cpus: float
    """Of each worker."""
    gpus: float
    """Of each worker."""
    accelerator: str | None = None
    """Which GPUs, by Ray's name for them; None for any."""

    @classmethod
    def of(cls, execution: Execution, cluster: Cluster) -> Layout:
        """The layout that a fit with this execution runs on."""
        asked = cluster.resources(execution)
        return cls(
            engine=execution.engine,
            workers=execution.workers,
            cpus=asked["CPU"],
            gpus=asked.get("GPU", 0.0),
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
        one = said({name: need for name, need in asked.items() if need})
        return one if self.workers == 1 else f"{self.workers} workers x {one}"


NOTHING = Layout(engine="torch", workers=0, cpus=0.0, gpus=0.0)


class Request(NamedTuple):
    """The identity of one requester's wish for one fit, which others may want as well."""

    run_id: str
    party: str
    rank: int

    @property
    def requester(self) -> str:
        """Who wants the fit, as one word."""
        return f"{self.party}#{self.rank}"


@dataclass(frozen=True)
class Ask:
    """A fit that wants to start."""

    run_id: str
    party: str
    """Whose turn it takes: a study's id, or the sweep's own fits."""
    layout: Layout
    rank: int = 0
    """Smaller goes first within its party; in a study it is the trial's number."""

    @property
    def request(self) -> Request:
        """Who wants which fit: the same again where a requester asks once more."""
        return Request(self.run_id, self.party, self.rank)


def first_of(waiting: Sequence[Ask], *, busy: Iterable[Ask], room: Mapping[str, float]) -> int:
    """The place in `waiting` of the ask whose turn it is; nobody overtakes it.

    The party with the smallest share of the cluster goes first, then the smaller rank, then who has
    waited longer.
    """
    held: dict[str, float] = {}
    for (party, layout), count in Counter((ask.party, ask.layout) for ask in busy).items():
        held[party] = held.get(party, 0.0) + count * share(layout, room=room)
    return min(
        range(len(waiting)),
        key=lambda i: (held.get(waiting[i].party, 0.0), waiting[i].rank, i),
    )


def has_room(layout: Layout, *, held: Iterable[Layout], room: Mapping[str, float]) -> bool:
    """Whether `layout` fits beside what is `held`; where nothing is, one layout always does.

    No fit spans two GPUs with a share of each, so shares are packed into whole ones.
    """
    others = list(held)
    every = [*others, layout]
    return not others or all(
        (sum(each.total(kind) for each in every) if kind == "CPU" else whole_gpus(every, kind))
        <= there + 1e-9
        for kind, there in room.items()
    )


def whole_gpus(layouts: Iterable[Layout], kind: str = "GPU") -> float:
    """How many GPUs `layouts` need: shares by first fit, largest first."""
    totals = [total for each in layouts if (total := each.total(kind))]
    left: list[float] = []
    for need in sorted((total for total in totals if total < 1), reverse=True):
        place = next((i for i, free in enumerate(left) if free >= need - 1e-9), None)
        if place is None:
            left.append(1.0 - need)
        else:
            left[place] -= need
    return sum(total for total in totals if total >= 1) + len(left)


def share(layout: Layout, *, room: Mapping[str, float]) -> float:
    """The part of the cluster's scarcest resource that a layout takes."""
    return max((layout.total(kind) / there for kind, there in room.items() if there), default=0.0)
