"""What the nodes of a cluster hold, and whether a fit finds a place on them.

Owns the one check of a fit's resources against kinds of nodes, whatever said what there is: the
nodes that are there, the node types that an autoscaler may start, or a cluster file. Functions of
values; it knows neither Ray nor a cloud.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from w2s_ray.config import Execution, Sweep
from w2s_ray.errors import InputError

ACCELERATOR = "accelerator_type:"
"""Before an accelerator's name, the resource by which Ray finds nodes that have it."""
SLIVER = 0.001
"""How much of that resource a worker asks for; a node has 1."""

Resources = Mapping[str, float]


class ResourceError(InputError):
    """A plan asks for more than the cluster has, or may come to have."""


@dataclass(frozen=True)
class NodeKind:
    """Nodes of one kind."""

    name: str
    """As a reader knows them: a node type of the cluster's file, or `node`."""
    resources: Resources
    """Of one node: CPU, GPU, `accelerator_type:NAME`, whatever else it declares."""
    most: int
    """How many there are, or may be."""
    always: bool = False
    """Whether they are there in any case, as a head is, and don't count as started."""

    def holds(self, asked: Resources) -> int:
        """How many workers that ask for `asked` find room on one such node."""
        return min((self._holds(name, need) for name, need in asked.items() if need > 0), default=0)

    def lacks(self, asked: Resources) -> dict[str, float]:
        """What one such node lacks for a single worker."""
        short = {name: need - self.resources.get(name, 0.0) for name, need in asked.items()}
        return {name: missing for name, missing in short.items() if missing > 1e-9}

    def _holds(self, name: str, need: float) -> int:
        there = self.resources.get(name, 0.0)
        if name == "GPU" and need < 1:  # no worker spans two GPUs
            return int(there) * int(1 / need + 1e-9)
        return int(there / need + 1e-9)


@dataclass(frozen=True)
class Nodes:
    """The nodes of a cluster, by kind."""

    kinds: tuple[NodeKind, ...]
    autoscaled: bool = False
    """Whether they are what may be started, rather than what is there."""
    most: int | None = None
    """How many may be started in all; None = no bound but each kind's own."""

    def total(self, resource: str) -> float:
        """How much of a resource all nodes have together at most."""
        return self._sum(lambda kind: kind.resources.get(resource, 0.0))

    def holds(self, asked: Resources) -> int:
        """How many workers that ask for `asked` find room at once."""
        return int(self._sum(lambda kind: kind.holds(asked)))

    def _sum(self, of: Callable[[NodeKind], float]) -> float:
        """The sum over nodes, of the kinds that give most where not all may be started."""
        left = math.inf if self.most is None else self.most
        total = 0.0
        for kind in sorted(self.kinds, key=of, reverse=True):
            count = kind.most if kind.always else min(kind.most, left)
            left -= 0 if kind.always else count
            total += count * of(kind)
        return total

    def nearest(self, asked: Resources) -> NodeKind | None:
        """The kind that lacks least for one worker."""

        def short(kind: NodeKind) -> tuple[int, float]:
            lacks = kind.lacks(asked)
            return len(lacks), sum(missing / asked[name] for name, missing in lacks.items())

        return min((kind for kind in self.kinds if kind.most > 0), key=short, default=None)


def asked_by(execution: Execution, *, gpus: bool) -> dict[str, float]:
    """What one worker of a fit asks for; `gpus`: whether the cluster has any.

    `auto` is a whole GPU here, which is the most that it comes to.
    """
    asked = {"CPU": float(execution.cpus_per_worker)}
    share = execution.gpus_per_worker
    if share is None or share == "auto":
        share = 1.0 if gpus or execution.accelerator_type else 0.0
    if share:
        asked["GPU"] = float(share)
    if execution.accelerator_type:
        asked[f"{ACCELERATOR}{execution.accelerator_type}"] = SLIVER
    return asked


def check_nodes(sweep: Sweep, nodes: Nodes, *, remedy: str) -> None:
    """Refuse a sweep of which a fit finds no place on `nodes`.

    Raises:
        ResourceError: it names the key, the model, what is asked for, the nearest kind of node and
            the remedy; `remedy` says how to get a larger cluster.
    """
    gpus = nodes.total("GPU") > 0
    for model in sweep.models:
        execution = sweep.execution_of(model)
        asked = asked_by(execution, gpus=gpus)
        holds = nodes.holds(asked)
        if holds >= execution.workers:
            continue
        if not holds:
            raise ResourceError(_no_node(model.label, asked, nodes, remedy))
        raise ResourceError(
            f"execution.workers: model {model.label} asks for {execution.workers} workers with "
            f"{said(asked)} each, but the cluster {_has(nodes)} room for {holds}; lower workers "
            f"or what each asks for, or {remedy}"
        )


def _no_node(model: str, asked: Resources, nodes: Nodes, remedy: str) -> str:
    nearest = nodes.nearest(asked)
    lacks = nearest.lacks(asked) if nearest else dict(asked)
    key = _key(lacks or asked)
    lacking_first = dict(sorted(asked.items(), key=lambda entry: entry[0] not in lacks))
    what = f"execution.{key}: model {model} asks for {said(lacking_first)} on one node"
    if nearest is None:
        return f"{what}, but the cluster {_has(nodes)} no nodes; {remedy}"
    where = "no node type has that" if nodes.autoscaled else "no node has that"
    return (
        f"{what}, but {where}: the nearest, {nearest.name}, has {_of(nearest, asked)}; "
        f"lower {key}, or {remedy}"
    )


def _key(lacks: Iterable[str]) -> str:
    """The key of `execution` that asks for what is lacking."""
    for name in lacks:
        if name.startswith(ACCELERATOR):
            return "accelerator_type"
    return "gpus_per_worker" if "GPU" in lacks else "cpus_per_worker"


def said(asked: Resources) -> str:
    """`asked` in words: `4 CPU, 1 GPU (A100)`."""
    named = next((n.removeprefix(ACCELERATOR) for n in asked if n.startswith(ACCELERATOR)), None)
    parts = [f"{need:g} {name}" for name, need in asked.items() if not name.startswith(ACCELERATOR)]
    return ", ".join(parts) + (f" ({named})" if named else "")


def _of(kind: NodeKind, asked: Resources) -> str:
    """What a kind has of what is asked for, in words."""
    counts = {name: 0.0 for name in asked if not name.startswith(ACCELERATOR)}
    counts.update({name: kind.resources.get(name, 0.0) for name in counts})
    named = [n.removeprefix(ACCELERATOR) for n in kind.resources if n.startswith(ACCELERATOR)]
    said = ", ".join(f"{count:g} {name}" for name, count in counts.items())
    return said + (f" ({', '.join(named)})" if named else "")


def _has(nodes: Nodes) -> str:
    return "may have" if nodes.autoscaled else "has"
