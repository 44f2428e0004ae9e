"""What a cluster's file says of its nodes, so that a sweep is checked before there is a cluster.

Owns reading Ray's cluster files, KubeRay's RayCluster and RayJob, and Slurm scripts: kinds of
nodes, what they hold, how many there may be. It starts nothing, and knows neither Ray nor a cloud.
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

OF_RAY = ("node:", "memory", "object_store_memory")
"""What the names of resources begin with that Ray adds by itself, and no fit asks for."""
_CPU, _GPU = "cpu", "nvidia.com/gpu"


def read_cluster_file(path: Path) -> Nodes:
    """The nodes that the cluster of this file has, or may start.

    Raises:
        InputError: no file of a kind that is known, or one that doesn't say what nodes hold.
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
                head = own(types[declared["head_node_type"]]["resources"])
                return nodes_of(declared, head=head) or Nodes((NodeKind("head", head, 1),))
            case {"provider": {"type": "local"}}:
                return _of_machines(declared)
    except InputError:
        raise
    except (LookupError, TypeError, AttributeError, ValueError, RecursionError) as error:
        raise InputError(f"cluster file {path} lacks or garbles {error}") from error
    raise InputError(
        f"{path} is no cluster file of Ray (`ray up`), KubeRay (RayCluster, RayJob) or Slurm (a "
        "script); cluster/ has one of each"
    )


def nodes_of(config: Mapping[str, Any], *, head: Mapping[str, float]) -> Nodes | None:
    """The nodes that an autoscaler of this configuration may start, and its head with `head`.

    None where it may start none.
    """
    most = int(config.get("max_workers", 0))
    kinds = [NodeKind(str(config["head_node_type"]), head, 1, always=True)]
    for name, declared in config["available_node_types"].items():
        count = int(declared.get("max_workers", 0 if name == config["head_node_type"] else most))
        if count > 0:
            kinds.append(NodeKind(str(name), own(declared["resources"]), min(count, most)))
    return Nodes(tuple(kinds), autoscaled=True, most=most) if len(kinds) > 1 else None


def own(resources: Mapping[str, Any]) -> dict[str, float]:
    """What a node has, without what Ray adds by itself."""
    found = {str(name): float(count) for name, count in resources.items()}
    return {name: count for name, count in found.items() if not name.startswith(OF_RAY)}


def _of_kuberay(spec: Mapping[str, Any]) -> Nodes:
    """As KubeRay starts Ray: by `rayStartParams`, and by the first container's limits without."""
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
    found = {
        "CPU": float(parameters.get("num-cpus", _quantity(limits.get(_CPU, 0)))),
        "GPU": float(parameters.get("num-gpus", _quantity(limits.get(_GPU, 0)))),
    }
    custom = json.loads(json.loads(parameters.get("resources", '"{}"')))
    return {**found, **{name: float(count) for name, count in custom.items()}}


def _quantity(written: Any) -> float:
    """Kubernetes' `4` or `500m`, in whole ones: Ray rounds up."""
    text = str(written)
    return float(math.ceil(float(text[:-1]) / 1000)) if text.endswith("m") else float(text)


def _of_machines(config: Mapping[str, Any]) -> Nodes:
    """Machines that are there: what `ray start` is told that they offer."""
    head = _offered(config["head_start_ray_commands"])
    worker = _offered(config["worker_start_ray_commands"])
    count = len(config["provider"]["worker_ips"])
    return Nodes((NodeKind("head", head, 1), NodeKind("worker", worker, count)))


def _offered(commands: list[str]) -> dict[str, float]:
    words = shlex.split(next((c for c in commands if "ray start" in c), ""))
    options = dict(word.split("=", 1) for word in words if word.startswith("--") and "=" in word)
    found = {"CPU": float(options["--num-cpus"]), "GPU": float(options.get("--num-gpus", 0))}
    custom = json.loads(options.get("--resources", "{}"))
    return {**found, **{name: float(count) for name, count in custom.items()}}


def _of_slurm(text: str) -> Nodes:
    """The machines of an allocation, all there from its beginning."""
    asked = dict(re.findall(r"^#SBATCH --([a-z-]+)=(\S+)", text, re.M))
    held = {
        "CPU": float(asked.get("cpus-per-task", 1)),
        "GPU": float(asked.get("gpus-per-node", "0").rpartition(":")[2]),
    }
    return Nodes((NodeKind("machine of the allocation", held, int(asked.get("nodes", 1))),))
