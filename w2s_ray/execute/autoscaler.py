"""What a running cluster has, what its autoscaler may start, and what it is starting now.

Owns the questions to Ray about nodes. Ray tells nobody which node types its autoscaler knows, so
that is read where the autoscaler reads it: on the head node, from the file that it was started
with, or from Kubernetes. It asks for nothing and decides nothing.
"""

from __future__ import annotations

import contextlib
import os
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import ray
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from w2s_ray.plan import NodeKind, Nodes
from w2s_ray.plan.cluster_file import nodes_of, user_resources
from w2s_ray.plan.nodes import ACCELERATOR

HEAD = "node:__internal_head__"
"""The resource that only the head node has."""
_NAMESPACE = Path("/var/run/secrets/kubernetes.io/serviceaccount/namespace")


@dataclass(frozen=True)
class Starting:
    """What the autoscaler is at."""

    nodes: dict[str, int] = field(default_factory=dict)
    """Node type -> nodes that it has asked for and that aren't there yet."""
    refused: dict[str, str] = field(default_factory=dict)
    """Node type -> why the last attempt to start one failed."""
    unplaced: int = 0
    """Tasks, actors and groups of them that found no node yet, of all who use the cluster."""


def nodes_there() -> Nodes:
    """The nodes that are there."""
    alive = [user_resources(node["Resources"]) for node in ray.nodes() if node["Alive"]]
    kinds = Counter(tuple(sorted(resources.items())) for resources in alive)
    return Nodes(tuple(NodeKind("node", dict(kind), most) for kind, most in kinds.items()))


def node_types() -> Nodes | None:
    """The nodes that the cluster's autoscaler may start, its head with them; None without one."""
    head = next((n for n in ray.nodes() if n["Alive"] and HEAD in n["Resources"]), None)
    if head is None:
        return None
    ask = ray.remote(num_cpus=0)(_config_here).options(
        scheduling_strategy=NodeAffinitySchedulingStrategy(head["NodeID"], soft=False)
    )
    config: Any = ray.get(ask.remote(ray.get_runtime_context().gcs_address))
    return nodes_of(config, head=user_resources(head["Resources"])) if config else None


def room_of(nodes: Nodes) -> dict[str, float]:
    """CPUs and GPUs of all nodes, and the GPUs of each accelerator type."""
    room = {"CPU": nodes.total("CPU"), "GPU": nodes.total("GPU")}
    for name in {name for kind in nodes.kinds for name in kind.resources}:
        if name.startswith(ACCELERATOR):
            having = tuple(kind for kind in nodes.kinds if name in kind.resources)
            room[name] = Nodes(having, most=nodes.most).total("GPU")
    return room


def starting() -> Starting:
    """What the autoscaler is at now."""
    from ray.autoscaler.v2.sdk import get_cluster_status

    status = get_cluster_status(ray.get_runtime_context().gcs_address)
    nodes: Counter[str] = Counter()
    for launch in status.pending_launches:
        nodes[launch.ray_node_type_name] += launch.count
    for node in status.pending_nodes:
        nodes[node.ray_node_type_name] += 1
    failed = sorted(status.failed_launches, key=lambda launch: launch.failed_ts_s or 0)
    refused = {launch.ray_node_type_name: str(launch.details or "refused") for launch in failed}
    demands = status.resource_demands
    found = [*demands.ray_task_actor_demand, *demands.placement_group_demand]
    unplaced = sum(bundle.count for demand in found for bundle in demand.bundles_by_count)
    return Starting(dict(nodes), refused, unplaced)


def _config_here(gcs_address: str) -> dict[str, Any] | None:
    """The configuration of the autoscaler that serves `gcs_address`, on its own machine.

    None where there is no autoscaler, or this user may not read its file.
    """
    cluster = os.environ.get("RAY_CLUSTER_NAME")
    if cluster and os.environ.get("KUBERNETES_SERVICE_HOST") and _NAMESPACE.exists():
        return _config_of_kubernetes(cluster)
    import psutil
    import yaml

    option = "--autoscaling-config="
    for process in psutil.process_iter(["cmdline"]):
        arguments = process.info["cmdline"] or []
        if f"--gcs-address={gcs_address}" in arguments:
            for path in (a.removeprefix(option) for a in arguments if a.startswith(option)):
                with contextlib.suppress(OSError):
                    return yaml.safe_load(Path(path).expanduser().read_text(encoding="utf-8"))
    return None


def _config_of_kubernetes(cluster: str) -> dict[str, Any] | None:
    """As KubeRay's autoscaler reads it beside the head, with the head pod's own account.

    None where that account may not (the cluster doesn't autoscale) or nobody answers.
    """
    import requests
    from ray.autoscaler._private.kuberay.autoscaling_config import AutoscalingConfigProducer

    try:
        return AutoscalingConfigProducer(cluster, _NAMESPACE.read_text().strip())()
    except (requests.RequestException, OSError):
        return None
