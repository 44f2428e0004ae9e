"""Getting a Ray cluster, and asking what it has.

Owns starting Ray on this machine or joining a running cluster (`RAY_ADDRESS`), and the check that
every fit of a plan can be placed there. It runs nothing.
"""

from __future__ import annotations

import contextlib
import logging
import os
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import ray
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from w2s_ray.execute.environment import set_variables
from w2s_ray.plan import Plan
from w2s_ray.spec import Execution


class ResourceError(ValueError):
    """A plan asks for more than the cluster has."""


@dataclass(frozen=True)
class Cluster:
    """What a cluster has in all, and on its largest node."""

    cpus: float
    gpus: float
    node_cpus: float
    node_gpus: float

    def resources(self, execution: Execution) -> dict[str, float]:
        """What one worker of a fit asks for."""
        gpus = execution.gpus_per_worker
        if gpus is None:
            gpus = 1.0 if self.gpus else 0.0
        asked = {"CPU": float(execution.cpus_per_worker)}
        return {**asked, "GPU": float(gpus)} if gpus else asked

    def slots(self, execution: Execution) -> int:
        """How many fits of this kind the cluster holds at once."""
        asked = self.resources(execution)
        by_cpu = self.cpus // (asked["CPU"] * execution.workers)
        by_gpu = self.gpus // (asked["GPU"] * execution.workers) if "GPU" in asked else by_cpu
        return int(max(1, min(by_cpu, by_gpu)))

    def check(self, plan: Plan) -> None:
        """Refuse a plan that asks for what no node or not the whole cluster has.

        Raises:
            ResourceError: it names the model, what is asked for, what there is, and the remedy.
        """
        for model in plan.sweep.models:
            execution = plan.sweep.execution_of(model)
            asked = self.resources(execution)
            for resource, node, total in (
                ("GPU", self.node_gpus, self.gpus),
                ("CPU", self.node_cpus, self.cpus),
            ):
                need, key = asked.get(resource, 0.0), f"{resource.lower()}s_per_worker"
                if need > node:
                    raise ResourceError(
                        f"execution.{key}: model {model.label} asks for {need:g} {resource} on one "
                        f"node, but the largest node has {node:g}; lower {key}, or join a larger "
                        "cluster by RAY_ADDRESS"
                    )
                if need * execution.workers > total:
                    raise ResourceError(
                        f"execution.workers: model {model.label} asks for {execution.workers} "
                        f"workers with {need:g} {resource} each, but the cluster has {total:g} "
                        f"{resource}; lower workers or {key}, or join a larger cluster by "
                        "RAY_ADDRESS"
                    )


def alive_nodes() -> set[str]:
    """Ids of the nodes that are there."""
    return {node["NodeID"] for node in ray.nodes() if node["Alive"]}


def here() -> dict[str, Any]:
    """Options of what belongs on the driver's node: all else may run on machines that go away."""
    node = ray.get_runtime_context().get_node_id()
    return {"scheduling_strategy": NodeAffinitySchedulingStrategy(node, soft=False)}


@contextlib.contextmanager
def ray_cluster() -> Iterator[Cluster]:
    """A Ray cluster for the time of the context: this machine, or the one at `RAY_ADDRESS`.

    On this machine its dashboard listens on localhost only, and everything asks for the token. A
    cluster that was joined, or that the caller had started already, is left running.
    """
    variables = set_variables()
    if ray.is_initialized():
        yield _measured()
        return
    address = os.environ.get("RAY_ADDRESS") or "local"
    try:
        _start(address, variables)
    except (ConnectionError, RuntimeError) as error:
        where = "on this machine" if address == "local" else f"at RAY_ADDRESS {address}"
        raise ResourceError(
            f"can't reach Ray {where}: {str(error).splitlines()[0]}; check that the cluster runs, "
            "and for a cluster of yours that ~/.ray/auth_token holds its token"
        ) from error
    try:
        yield _measured()
    finally:
        ray.shutdown()


def _start(address: str, variables: dict[str, str]) -> None:
    """Start Ray here, or join the cluster at `address`."""
    logging.getLogger("ray").setLevel(logging.ERROR)
    with _quiet_stderr():
        if address == "local":
            ray.init(
                address="local",
                include_dashboard=True,  # stopped trials free their resources through its API
                dashboard_host="127.0.0.1",
                log_to_driver=False,
                logging_level=logging.ERROR,
            )
        else:
            ray.init(
                address=address,
                runtime_env={"env_vars": variables},
                log_to_driver=False,
                logging_level=logging.ERROR,
            )


def _measured() -> Cluster:
    nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    total = ray.cluster_resources()
    return Cluster(
        cpus=total.get("CPU", 0.0),
        gpus=total.get("GPU", 0.0),
        node_cpus=max((node.get("CPU", 0.0) for node in nodes), default=0.0),
        node_gpus=max((node.get("GPU", 0.0) for node in nodes), default=0.0),
    )


@contextlib.contextmanager
def _quiet_stderr() -> Iterator[None]:
    """Ray's C++ side warns on stderr while it starts; what matters raises."""
    sys.stderr.flush()
    kept = os.dup(2)
    with open(os.devnull, "w") as nothing:
        os.dup2(nothing.fileno(), 2)
        try:
            yield
        finally:
            sys.stderr.flush()
            os.dup2(kept, 2)
            os.close(kept)
