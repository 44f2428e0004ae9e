"""What `w2s plan` says of a cluster's file or a device: how many fits at once, on which shares."""

from __future__ import annotations

from pathlib import Path

from w2s_ray.data.shapes import Shapes
from w2s_ray.plan import NodeKind, Nodes, Plan, check_nodes, worker_resources
from w2s_ray.plan.cluster_file import read_cluster_file
from w2s_ray.plan.estimates import settled, whole_gpus
from w2s_ray.plan.nodes import ACCELERATOR


def placed(
    plan: Plan, *, cluster_file: Path | None, accelerator: str | None
) -> tuple[Plan, list[str]]:
    """The plan on a cluster or a device, if either is given, and what is to be said of that.

    `gpus_per_worker: auto` is settled there; of a cluster, each model has a line.

    Raises:
        ValueError: the cluster of this file can't hold a model's fits, there is no such file, or
            the memory of a GPU isn't known that must be.
    """
    if cluster_file is not None:
        nodes = read_cluster_file(cluster_file)
        check_nodes(plan.sweep, nodes, remedy=f"give {cluster_file} larger nodes, or more of them")
    elif accelerator is not None:
        nodes = Nodes((NodeKind("machine", {"GPU": 1.0, f"{ACCELERATOR}{accelerator}": 1.0}, 1),))
    else:
        return plan, []
    shapes = Shapes(plan.inputs)
    whole = whole_gpus(plan, shapes, nodes)
    lines = [f"{model}: a whole GPU for each fit, since {why}" for model, why in whole.items()]
    done = settled(plan, shapes, nodes)
    return done, lines + (_room(done, nodes, cluster_file) if cluster_file is not None else [])


def _room(plan: Plan, nodes: Nodes, cluster_file: Path) -> list[str]:
    """How many fits of each model find room at once; of its fits those that ask for most."""
    gpus, lines = nodes.total("GPU") > 0, list[str]()
    for model in plan.sweep.models:
        of_model = [f.execution for f in plan.fits.values() if f.source.name == model.label]
        executions = of_model or [plan.sweep.execution_of(model)]
        count = min(nodes.capacity(worker_resources(e, gpus=gpus)) // e.workers for e in executions)
        lines.append(f"{cluster_file} has room for {count} fits of {model.label} at once")
    return lines
