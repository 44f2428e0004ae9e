"""Every use of Ray's private interfaces, in one place.

Owns the list of private names, with the reason why no public interface serves, and one function for
each use. All were tried on Ray `TRIED_ON`; a test compares the list with the installed Ray. No
other module imports `ray._private`, `ray._raylet` or `ray.autoscaler`.
"""

from __future__ import annotations

import contextlib
import subprocess
from collections.abc import Callable, Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

import ray

TRIED_ON = "2.60.0"
"""The version of Ray that each of these was tried on."""
HEAD_NODE = "node:__internal_head__"
"""The resource that only the head node has. Ray's own Serve and Data place actors by it."""
INIT_OPTIONS = ("_node_ip_address", "_temp_dir")
"""Options of `ray.init` that its documentation lists as internal: the node's address and folder."""
INTERNALS = {
    "ray._private.state.actors": "whether and where an actor's process runs. The public State API "
    "needs the dashboard (https://docs.ray.io/en/latest/ray-observability/reference/api.html)",
    "ray._private.worker.global_worker": "which nodes are draining. Ray Serve reads it from the "
    "same client; the public node table lacks it",
    "ray._private.worker._global_node": "a hard end of Ray's own processes. `ray.shutdown` waits "
    "for each of them, and they ignore SIGTERM here",
    "ray._private.services.ConsolePopen": "how Ray's processes start: in a session of their own. "
    "`ray.init` has no option for it",
    "ray._private.utils.set_sigterm_handler": "this process's own SIGTERM handler. `ray.init` "
    "replaces it without an option",
    "ray._private.ray_constants.ENABLE_RAY_CLUSTER": "a node that listens at 127.0.0.1 only "
    "(https://github.com/ray-project/ray/issues/26293)",
    "ray._raylet.Config": "reading Ray's environment variables again after its import",
    "ray.autoscaler.v2.sdk.get_cluster_status": "which nodes the autoscaler is starting. `ray "
    "status` prints the same report; no public function returns it",
    "ray.autoscaler._private.kuberay.autoscaling_config.AutoscalingConfigProducer": "the node "
    "types of a RayCluster in Kubernetes. No public function returns them",
}
"""Private name -> what it is needed for, and why nothing public serves."""


def internal(name: str) -> Any:
    """The private object called `name`.

    Raises:
        RuntimeError: the installed Ray has moved or renamed it.
    """
    module, _, attribute = name.rpartition(".")
    try:
        return getattr(import_module(module), attribute)
    except (ImportError, AttributeError) as error:
        raise RuntimeError(
            f"Ray {ray.__version__} has no {name}, which w2s_ray needs for {INTERNALS[name]}; "
            f"it was tried on Ray {TRIED_ON}"
        ) from error


def is_actor_alive(actor: Any) -> bool:
    """Whether an actor's process has started; until then it may wait for a node."""
    return process_of(actor) is not None


def process_of(actor: Any) -> tuple[str, int] | None:
    """The node and the process id of a live actor; None where it has not started or is dead."""
    found = internal("ray._private.state.actors")(actor._actor_id.hex())
    return (found["Address"]["NodeID"], found["Pid"]) if found.get("State") == "ALIVE" else None


def draining_nodes() -> set[str]:
    """Ids of the nodes whose end is announced: preempted, or scaled down."""
    client = internal("ray._private.worker.global_worker").gcs_client
    nodes = client.get_draining_nodes(timeout=5)
    return {node.hex() if isinstance(node, bytes) else str(node) for node in nodes}


def session_folder() -> str:
    """The folder of this process's Ray session."""
    return internal("ray._private.worker._global_node").get_session_dir_path()


def read_environment_again() -> None:
    """Have an imported Ray read its environment variables once more."""
    internal("ray._raylet.Config").initialize("")


def autoscaler_report() -> Any:
    """Ray's report on the autoscaler: nodes being started, failed starts, unmet demand."""
    get_status = internal("ray.autoscaler.v2.sdk.get_cluster_status")
    return get_status(ray.get_runtime_context().gcs_address)


def kuberay_config(cluster: str, namespace: str) -> dict[str, Any]:
    """The autoscaler's configuration of a RayCluster, read as KubeRay's autoscaler reads it."""
    producer = "ray.autoscaler._private.kuberay.autoscaling_config.AutoscalingConfigProducer"
    return internal(producer)(cluster, namespace)()


@contextlib.contextmanager
def _replaced(name: str, value: Any) -> Iterator[Any]:
    """The private object called `name` is `value` within the context; yields the original."""
    original = internal(name)
    module, _, attribute = name.rpartition(".")
    setattr(import_module(module), attribute, value)
    try:
        yield original
    finally:
        setattr(import_module(module), attribute, original)


@contextlib.contextmanager
def process_starts(
    start: Callable[..., subprocess.Popen[bytes]],
) -> Iterator[Callable[..., subprocess.Popen[bytes]]]:
    """Within the context Ray starts its processes by `start`, and sets no SIGTERM handler.

    Yields Ray's own function.
    """
    no_handler = _replaced("ray._private.utils.set_sigterm_handler", lambda handler: None)
    with no_handler, _replaced("ray._private.services.ConsolePopen", start) as popen:
        yield popen


def with_state_api_alone(command: list[str]) -> list[str]:
    """A command that starts a process of Ray; of the dashboard it starts the State API alone.

    Stopped trials free their resources by it. Each other part would be one more process that
    `ray.init` waits for, and no public option leaves one out.
    """
    is_dashboard = any(Path(word).name == "dashboard.py" for word in command)
    return [*command, "--modules-to-load=StateHead"] if is_dashboard else command


def loopback_address() -> contextlib.AbstractContextManager[Any]:
    """Within the context a node may have the address 127.0.0.1, where its servers then listen.

    Ray replaces that address by one that other machines reach, unless clusters are disabled, as
    they are on macOS and Windows.
    """
    return _replaced("ray._private.ray_constants.ENABLE_RAY_CLUSTER", False)


def end_processes_by(kill: Callable[[], None]) -> None:
    """Have `ray.shutdown` end this process's Ray by `kill`, if it has started one."""
    node = internal("ray._private.worker._global_node")
    if node is not None:
        node.kill_all_processes = lambda **options: kill()
