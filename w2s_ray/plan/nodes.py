"""The resources of a cluster's nodes, and the check that every fit can be placed on them.

Owns this check, for the nodes of a running cluster, the node types of an autoscaler, and the nodes
of a cluster file. Its functions depend only on their arguments; it imports no Ray.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from w2s_ray.config import Execution, Sweep
from w2s_ray.errors import InputError

ACCELERATOR = "accelerator_type:"
"""Prefix of Ray's resource for a type of accelerator; the accelerator's name follows."""
SLIVER = 0.001
"""The amount of this resource that a worker requests; a node has 1."""

Resources = Mapping[str, float]


class ResourceError(InputError):
    """A fit requests more resources than any node has or can have."""


@dataclass(frozen=True)
class NodeKind:
    """Nodes of one kind."""

    name: str
    """The node type in the cluster's file, or `node`."""
    resources: Resources
    """Resources of one node: CPU, GPU, `accelerator_type:NAME`, and custom ones."""
    most: int
    """Largest number of these nodes."""
    always: bool = False
    """Whether they always exist, as the head does, and don't count as started by an autoscaler."""

    def capacity(self, requested: Resources) -> int:
        """Number of workers with `requested` resources that fit on one of these nodes."""
        counts = (self._capacity(name, need) for name, need in requested.items() if need > 0)
        return min(counts, default=0)

    def missing(self, requested: Resources) -> dict[str, float]:
        """Resources that one of these nodes lacks for a single worker."""
        short = {name: need - self.resources.get(name, 0.0) for name, need in requested.items()}
        return {name: amount for name, amount in short.items() if amount > 1e-9}

    def _capacity(self, name: str, need: float) -> int:
        available = self.resources.get(name, 0.0)
        if name == "GPU" and need < 1:  # a worker's fraction is of one GPU
            return int(available) * int(1 / need + 1e-9)
        return int(available / need + 1e-9)


@dataclass(frozen=True)
class Nodes:
    """The nodes of a cluster, by kind."""

    kinds: tuple[NodeKind, ...]
    autoscaled: bool = False
    """Whether these are nodes that an autoscaler may start, instead of nodes that exist."""
    most: int | None = None
    """Largest number of nodes that may be started; None = bounded only by each kind."""

    def total(self, resource: str) -> float:
        """Largest amount of a resource that all nodes have together."""
        return self._sum(lambda kind: kind.resources.get(resource, 0.0))

    def capacity(self, requested: Resources) -> int:
        """Number of workers with `requested` resources that fit on all nodes at the same time."""
        return int(self._sum(lambda kind: kind.capacity(requested)))

    def _sum(self, value: Callable[[NodeKind], float]) -> float:
        """The largest sum of `value` over nodes that exist at the same time."""
        remaining = math.inf if self.most is None else self.most
        total = 0.0
        for kind in sorted(self.kinds, key=value, reverse=True):
            count = kind.most if kind.always else min(kind.most, remaining)
            remaining -= 0 if kind.always else count
            total += count * value(kind)
        return total

    def nearest(self, requested: Resources) -> NodeKind | None:
        """The kind that lacks the fewest resources for one worker."""

        def distance(kind: NodeKind) -> tuple[int, float]:
            missing = kind.missing(requested)
            return len(missing), sum(amount / requested[name] for name, amount in missing.items())

        return min((kind for kind in self.kinds if kind.most > 0), key=distance, default=None)


def worker_resources(execution: Execution, *, gpus: bool) -> dict[str, float]:
    """The resources that one worker of a fit requests; `gpus`: whether the cluster has any.

    A share that memory decides counts as a whole GPU, the largest possible request.
    """
    requested = {"CPU": float(execution.cpus_per_worker)}
    share = execution.gpus_per_worker
    if share is None or share == "auto":
        share = 1.0 if gpus or execution.accelerator_type else 0.0
    if share:
        requested["GPU"] = float(share)
    if execution.accelerator_type:
        requested[f"{ACCELERATOR}{execution.accelerator_type}"] = SLIVER
    return requested


def check_nodes(sweep: Sweep, nodes: Nodes, *, remedy: str) -> None:
    """Refuse a sweep with a fit that can't be placed on `nodes`.

    Raises:
        ResourceError: names the key, the model, the requested resources, the nearest kind of node
            and the remedy; `remedy` is how to get a larger cluster.
    """
    gpus = nodes.total("GPU") > 0
    for model in sweep.models:
        execution = sweep.execution_of(model)
        requested = worker_resources(execution, gpus=gpus)
        capacity = nodes.capacity(requested)
        if capacity >= execution.workers:
            continue
        if not capacity:
            raise ResourceError(_no_node(model.label, requested, nodes, remedy))
        raise ResourceError(
            f"execution.workers: model {model.label} needs {execution.workers} workers with "
            f"{resources_text(requested)} each, but the cluster {_has(nodes)} room for {capacity}; "
            f"lower workers or the resources of each, or {remedy}"
        )


def _no_node(model: str, requested: Resources, nodes: Nodes, remedy: str) -> str:
    nearest = nodes.nearest(requested)
    missing = nearest.missing(requested) if nearest else dict(requested)
    key = _key(missing or requested)
    missing_first = dict(sorted(requested.items(), key=lambda entry: entry[0] not in missing))
    need = f"execution.{key}: model {model} needs {resources_text(missing_first)} on one node"
    if nearest is None:
        return f"{need}, but the cluster {_has(nodes)} no nodes; {remedy}"
    problem = "no node type has that" if nodes.autoscaled else "no node has that"
    return (
        f"{need}, but {problem}: the nearest, {nearest.name}, has {_available(nearest, requested)};"
        f" lower {key}, or {remedy}"
    )


def _key(missing: Iterable[str]) -> str:
    """The key of `execution` for the first missing resource."""
    for name in missing:
        if name.startswith(ACCELERATOR):
            return "accelerator_type"
    return "gpus_per_worker" if "GPU" in missing else "cpus_per_worker"


def resources_text(requested: Resources) -> str:
    """`requested` in words: `4 CPU, 1 GPU (A100)`."""
    types = (n.removeprefix(ACCELERATOR) for n in requested if n.startswith(ACCELERATOR))
    accelerator = next(types, None)
    amounts = (entry for entry in requested.items() if not entry[0].startswith(ACCELERATOR))
    text = ", ".join(f"{need:g} {name}" for name, need in amounts)
    return text + (f" ({accelerator})" if accelerator else "")


def _available(kind: NodeKind, requested: Resources) -> str:
    """The amounts of the requested resources on a kind of node, in words."""
    names = [name for name in requested if not name.startswith(ACCELERATOR)]
    types = [n.removeprefix(ACCELERATOR) for n in kind.resources if n.startswith(ACCELERATOR)]
    text = ", ".join(f"{kind.resources.get(name, 0.0):g} {name}" for name in names)
    return text + (f" ({', '.join(types)})" if types else "")


def _has(nodes: Nodes) -> str:
    return "can have" if nodes.autoscaled else "has"
