"""Starting or joining a Ray cluster, and the resources that it has.

Owns starting Ray on this machine or joining a running cluster, the resources of its nodes, and the
check that every fit of a plan can be placed there. It starts no fits.
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import ray
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from w2s_ray.config import Execution
from w2s_ray.data.input_sizes import InputSizes
from w2s_ray.errors import InputError
from w2s_ray.execute.autoscaler import capacity_of, current_nodes, node_types
from w2s_ray.execute.environment import ray_address, set_variables
from w2s_ray.execute.local_ray import local_ray, quiet_stderr
from w2s_ray.plan import Nodes, Plan, ResourceError, check_nodes, worker_resources
from w2s_ray.plan.estimates import resolve_gpu_shares


@dataclass(frozen=True)
class Cluster:
    """The nodes of a cluster: those that are alive or may be started."""

    nodes: Nodes

    @property
    def autoscales(self) -> bool:
        """Whether an autoscaler starts and removes nodes."""
        return self.nodes.autoscaled

    def resources(self, execution: Execution) -> dict[str, float]:
        """The resources of one worker of a fit."""
        return worker_resources(execution, gpus=self.nodes.total("GPU") > 0)

    def slots(self, execution: Execution) -> int:
        """How many fits with this execution the cluster runs at once."""
        return max(1, self.nodes.capacity(self.resources(execution)) // execution.workers)

    def check(self, plan: Plan) -> None:
        """Reject a plan that needs more resources than the cluster has or may start.

        Raises:
            ResourceError: it names the model, its resources, those of the cluster, and the remedy.
        """
        remedy = (
            "add such a node type to the cluster's file"
            if self.autoscales
            else "join a larger cluster (--address)"
        )
        check_nodes(plan.sweep, self.nodes, remedy=remedy)

    def resolve_gpu_shares(self, plan: Plan) -> Plan:
        """`plan` with every share and micro-batch that memory decides set for the cluster's GPUs.

        Raises:
            ResourceError: `gpus_per_worker` is auto, and the memory of the GPUs is unknown.
        """
        return resolve_gpu_shares(plan, InputSizes(plan.inputs), self.nodes)

    def capacity(self) -> dict[str, float]:
        """The resources that all workers together may hold, at this moment."""
        return capacity_of(self.nodes if self.autoscales else current_nodes())


def alive_nodes() -> set[str]:
    """Ids of the nodes that are alive."""
    return {node["NodeID"] for node in ray.nodes() if node["Alive"]}


def on_this_node() -> dict[str, Any]:
    """Options that place an actor or task on this node: other nodes may be removed."""
    return on_node(ray.get_runtime_context().get_node_id())


def on_node(node: str) -> dict[str, Any]:
    """Options that place an actor or task on the node with this id, and on no other."""
    return {"scheduling_strategy": NodeAffinitySchedulingStrategy(node, soft=False)}


@contextlib.contextmanager
def ray_cluster(address: str | None = None, *, types: Nodes | None = None) -> Iterator[Cluster]:
    """A Ray cluster within the context: the one at `address`, else a new one on this machine.

    `address` is `RAY_ADDRESS` unless given. `types` are the node types that an autoscaler may
    start, where the cluster doesn't report them. On this machine Ray listens at 127.0.0.1 only, and
    every connection needs the token. A cluster that was joined, or that the caller has started,
    is left running.

    Raises:
        ResourceError: Ray can't be started or reached.
    """
    address = ray_address(address)
    variables = set_variables(joins=address is not None)
    if ray.is_initialized():
        yield Cluster(types or current_nodes())
        return
    with contextlib.ExitStack() as stack:
        try:
            stack.enter_context(local_ray() if address is None else _joined(address, variables))
        except InputError:
            raise
        except Exception as error:  # Ray raises many kinds, bare `Exception` among them
            raise ResourceError(_connection_error(address, error)) from error
        startable = types or (None if address is None else node_types())
        yield Cluster(startable or current_nodes())


def _connection_error(address: str | None, error: Exception) -> str:
    why = next(iter(str(error).strip().splitlines()), type(error).__name__)
    if address is None:
        return f"Ray did not start on this machine: {why}; the same command tries again"
    return (
        f"can't reach Ray at {address}: {why}; check that the cluster runs, and that "
        "~/.ray/auth_token holds its token"
    )


@contextlib.contextmanager
def _joined(address: str, variables: dict[str, str]) -> Iterator[None]:
    """This process is a driver of the cluster at `address` within the context."""
    logging.getLogger("ray").setLevel(logging.ERROR)
    with quiet_stderr():
        ray.init(
            address=address,
            runtime_env={"env_vars": variables},
            log_to_driver=False,
            logging_level=logging.ERROR,
        )
    try:
        yield
    finally:
        ray.shutdown()
