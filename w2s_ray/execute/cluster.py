"""Getting a Ray cluster, and asking what it has.

Owns starting Ray on this machine or joining a running cluster, what it has or may come to have, and
the check that every fit of a plan can be placed there. It runs nothing.
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
from w2s_ray.data.shapes import Shapes
from w2s_ray.errors import InputError
from w2s_ray.execute.autoscaler import node_types, nodes_there, room_of
from w2s_ray.execute.environment import ray_address, set_variables
from w2s_ray.execute.local_ray import local_ray, quiet_stderr
from w2s_ray.plan import Nodes, Plan, ResourceError, check_nodes, worker_resources
from w2s_ray.plan.estimates import settled


@dataclass(frozen=True)
class Cluster:
    """What the nodes of a cluster hold: those that are there, or may be started."""

    nodes: Nodes

    @property
    def autoscales(self) -> bool:
        """Whether nodes come and go by themselves."""
        return self.nodes.autoscaled

    def resources(self, execution: Execution) -> dict[str, float]:
        """What one worker of a fit asks for."""
        return worker_resources(execution, gpus=self.nodes.total("GPU") > 0)

    def slots(self, execution: Execution) -> int:
        """How many fits of this kind the cluster holds at once."""
        return max(1, self.nodes.capacity(self.resources(execution)) // execution.workers)

    def check(self, plan: Plan) -> None:
        """Refuse a plan that asks for what the cluster neither has nor may come to have.

        Raises:
            ResourceError: it names the model, what is asked for, what there is, and the remedy.
        """
        remedy = (
            "add such a node type to the cluster's file"
            if self.autoscales
            else "join a larger cluster (--address)"
        )
        check_nodes(plan.sweep, self.nodes, remedy=remedy)

    def settled(self, plan: Plan) -> Plan:
        """`plan` with every `gpus_per_worker: auto` settled by what the cluster has.

        Raises:
            ResourceError: it has GPUs whose memory isn't known.
        """
        return settled(plan, Shapes(plan.inputs), self.nodes)

    def room(self) -> dict[str, float]:
        """What hosts may hold in all, now; it changes where nodes come and go."""
        return room_of(self.nodes if self.autoscales else nodes_there())


def alive_nodes() -> set[str]:
    """Ids of the nodes that are there."""
    return {node["NodeID"] for node in ray.nodes() if node["Alive"]}


def here() -> dict[str, Any]:
    """Options of what belongs on the driver's node: all else may run on machines that go away."""
    node = ray.get_runtime_context().get_node_id()
    return {"scheduling_strategy": NodeAffinitySchedulingStrategy(node, soft=False)}


@contextlib.contextmanager
def ray_cluster(address: str | None = None, *, types: Nodes | None = None) -> Iterator[Cluster]:
    """A Ray cluster for the time of the context: the one at `address`, else this machine.

    `address` is `RAY_ADDRESS` unless given. `types` are the node types that an autoscaler may
    start, where the cluster itself doesn't tell. On this machine nothing listens beyond 127.0.0.1,
    and everything asks for the token. A cluster that was joined, or that the caller had started
    already, is left running.

    Raises:
        ResourceError: there is no Ray to be reached.
    """
    address = ray_address(address)
    variables = set_variables(joins=address is not None)
    if ray.is_initialized():
        yield Cluster(types or nodes_there())
        return
    with contextlib.ExitStack() as stack:
        try:
            stack.enter_context(local_ray() if address is None else _joined(address, variables))
        except InputError:
            raise
        except Exception as error:  # Ray raises many kinds, bare `Exception` among them
            raise ResourceError(_unreached(address, error)) from error
        found = types or (None if address is None else node_types())
        yield Cluster(found or nodes_there())


def _unreached(address: str | None, error: Exception) -> str:
    why = next(iter(str(error).strip().splitlines()), type(error).__name__)
    if address is None:
        return f"Ray did not start on this machine: {why}; the same command tries again"
    return (
        f"can't reach Ray at {address}: {why}; check that the cluster runs, and that "
        "~/.ray/auth_token holds its token"
    )


@contextlib.contextmanager
def _joined(address: str, variables: dict[str, str]) -> Iterator[None]:
    """This process as a driver of the cluster at `address`, for the time of the context."""
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
