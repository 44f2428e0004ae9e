"""Reads the nodes of a cluster from its file, so that a sweep is checked before the cluster starts.

Owns the reading of Ray's cluster files, KubeRay's RayCluster and RayJob, and Slurm scripts: kinds
of nodes, their resources and their numbers. It starts no cluster and imports no Ray.
"""

from __future__ import annotations

import json
import math
import re
import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from w2s_ray.config.yaml_files import load_yaml, read_text
from w2s_ray.errors import InputError
from w2s_ray.plan.nodes import NodeKind, Nodes

ADDED_BY_RAY = ("node:", "memory", "object_store_memory")
"""Prefixes of resources that Ray adds to every node and that no fit requests."""
_CPU, _GPU = "cpu", "nvidia.com/gpu"


def read_cluster_file(path: Path) -> Nodes:
    """The nodes that the cluster of this file has or can start.

    Raises:
        InputError: an unknown kind of file, or a file without the resources of nodes.
    """
    text = read_text(path, what="cluster file")
    try:
        if text.startswith("#!"):
            return _of_slurm(text)
        _, declared = load_yaml(text, name=str(path), first=True)
        match declared:
            case {"kind": "RayCluster", "spec": spec} | {
                "kind": "RayJob",
                "spec": {"rayClusterSpec": spec},
            }:
                return _of_kuberay(spec)
            case {"available_node_types": types}:
                head = user_resources(types[declared["head_node_type"]]["resources"])
                return nodes_of(declared, head=head) or Nodes((NodeKind("head", head, 1),))
            case {"provider": {"type": "local"}}:
                return _of_machines(declared)
    except InputError:
        raise
    except (LookupError, TypeError, AttributeError, ValueError, RecursionError) as error:
        raise InputError(f"cluster file {path}: missing or invalid: {error}; correct it") from error
    raise InputError(
        f"{path} is not a cluster file of Ray (`ray up`), KubeRay (RayCluster, RayJob) or Slurm "
        "(a script); see the examples in cluster/"
    )


def nodes_of(config: Mapping[str, Any], *, head: Mapping[str, float]) -> Nodes | None:
    """The head with the resources `head`, and the nodes that this autoscaler can start.

    None if it can start none.
    """
    most = int(config.get("max_workers", 0))
    kinds = [NodeKind(str(config["head_node_type"]), head, 1, always=True)]
    for name, declared in config["available_node_types"].items():
        count = int(declared.get("max_workers", 0 if name == config["head_node_type"] else most))
        if count > 0:
            kinds.append(
                NodeKind(str(name), user_resources(declared["resources"]), min(count, most))
            )
    return Nodes(tuple(kinds), autoscaled=True, most=most) if len(kinds) > 1 else None


def user_resources(resources: Mapping[str, Any]) -> dict[str, float]:
    """A node's resources, without those that Ray adds."""
    counts = {str(name): float(count) for name, count in resources.items()}
    return {name: count for name, count in counts.items() if not name.startswith(ADDED_BY_RAY)}


def _of_kuberay(spec: Mapping[str, Any]) -> Nodes:
    """Nodes as KubeRay starts them: by `rayStartParams`, else by the first container's limits."""
    head = NodeKind("headgroup", _of_group(spec["headGroupSpec"]), 1, always=True)
    workers = [
        NodeKind(
            group["groupName"],
            _of_group(group),
            int(group["maxReplicas"]) * int(group.get("numOfHosts", 1)),
        )
        for group in spec.get("workerGroupSpecs", [])
    ]
    return Nodes((head, *workers), autoscaled=bool(spec.get("enableInTreeAutoscaling")))


def _of_group(group: Mapping[str, Any]) -> dict[str, float]:
    parameters = group.get("rayStartParams") or {}
    limits = group["template"]["spec"]["containers"][0].get("resources", {}).get("limits", {})
    devices = {
        "CPU": float(parameters.get("num-cpus", _quantity(limits.get(_CPU, 0)))),
        "GPU": float(parameters.get("num-gpus", _quantity(limits.get(_GPU, 0)))),
    }
    custom = json.loads(json.loads(parameters.get("resources", '"{}"')))
    return {**devices, **{name: float(count) for name, count in custom.items()}}


def _quantity(value: Any) -> float:
    """Kubernetes' quantity (`4` or `500m`) as a whole number, rounded up as Ray does."""
    text = str(value)
    return float(math.ceil(float(text[:-1]) / 1000)) if text.endswith("m") else float(text)


def _of_machines(config: Mapping[str, Any]) -> Nodes:
    """Machines of a local cluster, with the resources in their `ray start` commands."""
    head = _started_with(config["head_start_ray_commands"])
    worker = _started_with(config["worker_start_ray_commands"])
    count = len(config["provider"]["worker_ips"])
    return Nodes((NodeKind("head", head, 1), NodeKind("worker", worker, count)))


def _started_with(commands: list[str]) -> dict[str, float]:
    words = shlex.split(next((c for c in commands if "ray start" in c), ""))
    options = dict(word.split("=", 1) for word in words if word.startswith("--") and "=" in word)
    devices = {"CPU": float(options["--num-cpus"]), "GPU": float(options.get("--num-gpus", 0))}
    custom = json.loads(options.get("--resources", "{}"))
    return {**devices, **{name: float(count) for name, count in custom.items()}}


def _of_slurm(text: str) -> Nodes:
    """The machines of an allocation; they exist from the start of the job."""
    options = dict(re.findall(r"^#SBATCH --([a-z-]+)=(\S+)", text, re.M))
    resources = {
        "CPU": float(options.get("cpus-per-task", 1)),
        "GPU": float(options.get("gpus-per-node", "0").rpartition(":")[2]),
    }
    return Nodes((NodeKind("machine of the allocation", resources, int(options.get("nodes", 1))),))
