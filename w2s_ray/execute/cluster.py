"""Getting a Ray cluster, and asking what it has.

Owns starting Ray on this machine or joining a running cluster, what it has or may come to have, and
the check that every fit of a plan can be placed there. It runs nothing.
"""

from __future__ import annotations

import contextlib
import logging
import os
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import ray
import ray.exceptions
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from w2s_ray.data.shapes import Shapes
from w2s_ray.execute.autoscaler import node_types, nodes_there, room_of
from w2s_ray.execute.environment import set_variables
from w2s_ray.plan import Nodes, Plan, ResourceError, asked_by, check_nodes
from w2s_ray.plan.estimates import settled
from w2s_ray.spec import Execution

VITAL = frozenset({"gcs_server", "raylet"})
"""Processes of Ray on the driver's node without which nothing goes on."""
LOOK_S = 1.0
LOOPBACK = "127.0.0.1"


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
        return asked_by(execution, gpus=self.nodes.total("GPU") > 0)

    def slots(self, execution: Execution) -> int:
        """How many fits of this kind the cluster holds at once."""
        return max(1, self.nodes.holds(self.resources(execution)) // execution.workers)

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
    address = address or os.environ.get("RAY_ADDRESS") or "local"
    variables = set_variables(joins=address != "local")
    if ray.is_initialized():
        yield Cluster(types or nodes_there())
        return
    if "://" in address and not address.startswith("ray://"):
        raise ResourceError(
            f"--address {address}: a driver joins Ray itself, at HOST:6379; `w2s submit` takes the "
            "address of the dashboard"
        )
    try:
        _start(address, variables)
    except (ConnectionError, RuntimeError, ray.exceptions.AuthenticationError) as error:
        where = "on this machine" if address == "local" else f"at {address}"
        raise ResourceError(
            f"can't reach Ray {where}: {str(error).splitlines()[0]}; check that the cluster runs, "
            "and for a cluster of yours that ~/.ray/auth_token holds its token"
        ) from error
    try:
        found = types if types is not None else None if address == "local" else node_types()
        yield Cluster(found or nodes_there())
    finally:
        ray.shutdown()


@contextlib.contextmanager
def vital_signs(lost: Callable[[str], None]) -> Iterator[None]:
    """Call `lost` if a vital process of the Ray that this process has started dies in the context.

    It is told which, from whatever thread has noticed, when all others of this Ray are ended too. A
    cluster that was joined has no such processes here.
    """
    over, noticed = threading.Event(), threading.Lock()

    def look() -> None:
        with noticed:
            if (dead := _dead_process()) is not None:
                lost(dead)

    def watch() -> None:
        while not over.wait(LOOK_S):
            look()

    threading.Thread(target=watch, name="w2s-vital-signs", daemon=True).start()
    try:
        yield
    finally:
        over.set()
        look()  # what came out of the context may come of it


def _dead_process() -> str | None:
    """A vital process of this machine's Ray that has died; the others are ended then."""
    from ray._private import worker

    node: Any = worker._global_node
    if node is None:
        return None
    dead = sorted(VITAL & {kind for kind, _ in node.dead_processes()})
    if not dead:
        return None
    node.kill_all_processes(check_alive=False, allow_graceful=False)
    return dead[0]


def _start(address: str, variables: dict[str, str]) -> None:
    """Start Ray here, or join the cluster at `address`."""
    logging.getLogger("ray").setLevel(logging.ERROR)
    with _quiet_stderr():
        if address == "local":
            with _on_loopback():
                ray.init(
                    address="local",
                    include_dashboard=True,  # stopped trials free their resources through its API
                    dashboard_host=LOOPBACK,
                    _node_ip_address=LOOPBACK,
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


@contextlib.contextmanager
def _on_loopback() -> Iterator[None]:
    """Let a node have the address 127.0.0.1, at which alone its servers then listen.

    Ray replaces that address by one that others can reach, unless clusters are disabled, as they
    are on macOS and Windows.
    """
    from ray._private import ray_constants

    enabled, ray_constants.ENABLE_RAY_CLUSTER = ray_constants.ENABLE_RAY_CLUSTER, False
    try:
        yield
    finally:
        ray_constants.ENABLE_RAY_CLUSTER = enabled


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
