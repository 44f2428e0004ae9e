"""The nodes of a running cluster, those that its autoscaler may start, and those being started.

Owns the queries to Ray about nodes. Ray has no function that lists the autoscaler's node types, so
they are read where the autoscaler reads them: on the head node, from the autoscaler's configuration
file or from Kubernetes. It requests no nodes.
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

from w2s_ray.execute.ray_internals import HEAD_NODE, autoscaler_report, kuberay_config
from w2s_ray.plan import NodeKind, Nodes
from w2s_ray.plan.cluster_file import nodes_of, user_resources
from w2s_ray.plan.nodes import ACCELERATOR

_NAMESPACE = Path("/var/run/secrets/kubernetes.io/serviceaccount/namespace")


@dataclass(frozen=True)
class AutoscalerStatus:
    """The nodes that the autoscaler is starting, and the demand that they are for."""

    nodes: dict[str, int] = field(default_factory=dict)
    """Node type -> nodes that are being started."""
    refused: dict[str, str] = field(default_factory=dict)
    """Node type -> why the last attempt to start one failed."""
    unplaced: int = 0
    """Tasks, actors and placement groups of all users of the cluster that have no node yet."""


def current_nodes() -> Nodes:
    """The nodes that are alive."""
    alive = [user_resources(node["Resources"]) for node in ray.nodes() if node["Alive"]]
    kinds = Counter(tuple(sorted(resources.items())) for resources in alive)
    return Nodes(tuple(NodeKind("node", dict(kind), most) for kind, most in kinds.items()))


def node_types() -> Nodes | None:
    """The head node and the nodes that the cluster's autoscaler may start; None without one."""
    head = next((n for n in ray.nodes() if n["Alive"] and HEAD_NODE in n["Resources"]), None)
    if head is None:
        return None
    read_config = ray.remote(num_cpus=0)(_autoscaler_config).options(
        scheduling_strategy=NodeAffinitySchedulingStrategy(head["NodeID"], soft=False)
    )
    config: Any = ray.get(read_config.remote(ray.get_runtime_context().gcs_address))
    return nodes_of(config, head=user_resources(head["Resources"])) if config else None


def capacity_of(nodes: Nodes) -> dict[str, float]:
    """CPUs and GPUs of all nodes, and the GPUs of each accelerator type."""
    capacity = {"CPU": nodes.total("CPU"), "GPU": nodes.total("GPU")}
    for name in {name for kind in nodes.kinds for name in kind.resources}:
        if name.startswith(ACCELERATOR):
            having = tuple(kind for kind in nodes.kinds if name in kind.resources)
            capacity[name] = Nodes(having, most=nodes.most).total("GPU")
    return capacity


def autoscaler_status() -> AutoscalerStatus:
    """The autoscaler's present status."""
    status = autoscaler_report()
    nodes: Counter[str] = Counter()
    for launch in status.pending_launches:
        nodes[launch.ray_node_type_name] += launch.count
    for node in status.pending_nodes:
        nodes[node.ray_node_type_name] += 1
    failed = sorted(status.failed_launches, key=lambda launch: launch.failed_ts_s or 0)
    refused = {launch.ray_node_type_name: str(launch.details or "refused") for launch in failed}
    demands = status.resource_demands
    unmet = [*demands.ray_task_actor_demand, *demands.placement_group_demand]
    unplaced = sum(bundle.count for demand in unmet for bundle in demand.bundles_by_count)
    return AutoscalerStatus(dict(nodes), refused, unplaced)


def _autoscaler_config(gcs_address: str) -> dict[str, Any] | None:
    """The configuration of the autoscaler of `gcs_address`, read on the head node.

    None where there is no autoscaler, or this user may not read its file.
    """
    cluster = os.environ.get("RAY_CLUSTER_NAME")
    if cluster and os.environ.get("KUBERNETES_SERVICE_HOST") and _NAMESPACE.exists():
        return _kubernetes_config(cluster)
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


def _kubernetes_config(cluster: str) -> dict[str, Any] | None:
    """The configuration from Kubernetes, read with the head pod's service account.

    None where that account has no permission (the cluster doesn't autoscale) or Kubernetes doesn't
    answer.
    """
    import requests

    try:
        return kuberay_config(cluster, _NAMESPACE.read_text().strip())
    except (requests.RequestException, OSError):
        return None
