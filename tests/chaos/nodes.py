"""A Ray cluster of two nodes on this machine, each with processes of its own that can be lost.

Owns starting and ending the nodes, and announcing the end of one as a cloud does before it takes a
spot machine away. It never stops other Ray clusters of the machine.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import ray.util

RAY = str(Path(sys.executable).with_name("ray"))


@dataclass(frozen=True)
class TwoNodes:
    """A head and a worker node, with one CPU each."""

    address: str
    head: subprocess.Popen[bytes]
    worker: subprocess.Popen[bytes]

    def lose_worker(self) -> None:
        """The machine is gone, with everything on it."""
        _end(self.worker)

    def announce_end_of_worker(self, *, deadline_s: int) -> None:
        """As Ray's autoscaler does when a cloud says that it takes a spot machine back."""
        subprocess.run(
            [
                *(RAY, "drain-node", "--address", self.address, "--node-id", self._worker_id()),
                *("--reason", "DRAIN_NODE_REASON_PREEMPTION", "--reason-message", "spot"),
                *("--deadline-remaining-seconds", str(deadline_s)),
            ],
            check=True,
            capture_output=True,
        )

    def _worker_id(self) -> str:
        code = (
            f"import ray; ray.init({self.address!r}, log_to_driver=False, logging_level='ERROR');"
            "print(*(n['NodeID'] for n in ray.nodes() if n['Alive']"
            " and 'node:__internal_head__' not in n['Resources']))"
        )
        listed = subprocess.run(
            [sys.executable, "-c", code], check=True, capture_output=True, text=True
        )
        return listed.stdout.split()[-1]


@contextlib.contextmanager
def two_nodes(folder: Path, *, port: int) -> Iterator[TwoNodes]:
    """The cluster, for the time of the context."""
    from w2s_ray.execute.environment import set_variables

    environment = {**os.environ, **set_variables(), "RAY_AUTH_MODE": os.environ["RAY_AUTH_MODE"]}
    address = f"{ray.util.get_node_ip_address()}:{port}"
    common = ("--block", "--num-cpus", "1", "--num-gpus", "0", "--disable-usage-stats")

    def node(name: str, *arguments: str) -> subprocess.Popen[bytes]:
        with (folder / f"{name}.log").open("wb") as log:
            return subprocess.Popen(
                [RAY, "start", *arguments, *common],
                stdout=log,
                stderr=log,
                env=environment,
                start_new_session=True,
            )

    short = tempfile.mkdtemp(prefix="w2s-")  # names of sockets have a limit
    head = node(
        "head",
        *("--head", "--port", str(port)),
        *("--dashboard-host", "127.0.0.1", "--temp-dir", short),
    )
    try:
        _wait_until_up(address, nodes=1, environment=environment)
        worker = node("worker", "--address", address, "--node-ip-address", "127.0.0.2")
        try:
            _wait_until_up(address, nodes=2, environment=environment)
            yield TwoNodes(address, head, worker)
        finally:
            _end(worker)
    finally:
        _end(head)
        shutil.rmtree(short, ignore_errors=True)


def _wait_until_up(address: str, *, nodes: int, environment: dict[str, str]) -> None:
    deadline = time.monotonic() + 180
    while time.monotonic() < deadline:
        listed = subprocess.run(
            [RAY, "status", "--address", address],
            capture_output=True,
            text=True,
            env=environment,
            check=False,
        ).stdout
        if len(re.findall(r"^ ?1 node_", listed, re.M)) >= nodes:
            return
        time.sleep(1)
    raise TimeoutError(f"{nodes} node(s) of {address} did not come up: {listed}")


def _end(node: subprocess.Popen[bytes]) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(node.pid, signal.SIGKILL)
    node.wait()
