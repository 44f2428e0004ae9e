"""Machines with addresses of their own on this one: network namespaces, joined by a bridge.

Owns making and removing them, and Ray nodes on them. The machines share this one's disk and
processes, and nothing of its network: what reaches another goes over the wire between them.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import psutil

RAY = str(Path(sys.executable).with_name("ray"))
PORT = 6379
WIRE = "eth0"
"""What each machine calls its network interface."""


def why_not() -> str:
    """Why this machine can't make others; empty where it can."""
    if sys.platform != "linux":
        return "network namespaces are Linux's"
    if os.geteuid() != 0:
        return "only root makes network namespaces"
    if shutil.which("ip") is None:
        return "there is no `ip` (install iproute2)"
    try:
        with room("try", environment={}):
            return ""
    except OSError as error:
        return f"no machines of one's own here: {error}"


@dataclass(frozen=True)
class Machine:
    """A network namespace."""

    name: str
    address: str
    environment: Mapping[str, str]
    """Of all that is started on it."""

    def start(self, *command: str, log: Path) -> subprocess.Popen[bytes]:
        """Start a command on it; what it prints goes to `log`."""
        with log.open("ab") as out:
            return subprocess.Popen(
                ["ip", "netns", "exec", self.name, *command],
                stdout=out,
                stderr=out,
                env={**os.environ, **self.environment},
                start_new_session=True,
            )

    def run(self, *command: str, **environment: str) -> subprocess.CompletedProcess[str]:
        """Run a command on it to its end; the exit code is unchecked."""
        return subprocess.run(
            ["ip", "netns", "exec", self.name, *command],
            capture_output=True,
            text=True,
            check=False,
            env={**os.environ, **self.environment, **environment},
            timeout=60,
        )

    def titles(self) -> list[str]:
        """Titles of the processes on it."""
        found = []
        for process in self._processes():
            with contextlib.suppress(psutil.NoSuchProcess):
                found.append(" ".join(process.cmdline()))
        return found

    def lose(self) -> None:
        """It is gone, with everything on it."""
        for process in self._processes():
            with contextlib.suppress(psutil.NoSuchProcess):
                process.send_signal(signal.SIGKILL)

    def _processes(self) -> list[psutil.Process]:
        found = []
        for pid in _ip("netns", "pids", self.name).split():
            with contextlib.suppress(psutil.NoSuchProcess):
                found.append(psutil.Process(int(pid)))
        return found


@dataclass(frozen=True)
class Room:
    """The machines, and the address at which they reach this one."""

    here: str
    machines: dict[str, Machine]


@contextlib.contextmanager
def room(*names: str, environment: Mapping[str, str]) -> Iterator[Room]:
    """Machines called `names`, for the time of the context."""
    tag = os.getpid() % 10_000
    subnet, bridge = f"10.213.{os.getpid() % 256}", f"w2s-{tag}"
    made: dict[str, Machine] = {}
    with contextlib.ExitStack() as undo:
        _ip("link", "add", bridge, "type", "bridge")
        undo.callback(_ip, "link", "del", bridge)
        _ip("address", "add", f"{subnet}.1/24", "dev", bridge)
        _ip("link", "set", bridge, "up")
        for number, name in enumerate(names, start=2):
            machine = Machine(f"w2s-{tag}-{name}", f"{subnet}.{number}", environment)
            _wire(machine, bridge, plug=f"w2s-{tag}-{number}", gateway=f"{subnet}.1")
            undo.callback(_ip, "netns", "del", machine.name)
            undo.callback(machine.lose)
            made[name] = machine
        yield Room(f"{subnet}.1", made)


def start_node(machine: Machine, *, head: Machine, log: Path, cpus: int) -> None:
    """Start a Ray node on a machine; it joins that of `head`, or is it."""
    role = (
        ("--head", "--port", str(PORT), "--dashboard-host", "127.0.0.1")
        if machine is head
        else ("--address", f"{head.address}:{PORT}")
    )
    machine.start(
        *(RAY, "start", *role, "--node-ip-address", machine.address, "--num-cpus", str(cpus)),
        *("--num-gpus", "0", "--disable-usage-stats", "--block"),
        log=log,
    )


def wait_for_nodes(head: Machine, count: int) -> None:
    """Wait until so many nodes have joined the head's cluster."""
    deadline = time.monotonic() + 180
    listed = ""
    while time.monotonic() < deadline:
        status = head.run(RAY, "status", "--address", f"{head.address}:{PORT}")
        listed = status.stdout + status.stderr
        if len(re.findall(r"^ ?1 node_", listed, re.M)) >= count:
            return
        time.sleep(0.5)
    raise TimeoutError(f"{count} node(s) did not come up: {listed}")


def _wire(machine: Machine, bridge: str, *, plug: str, gateway: str) -> None:
    """Make a machine and plug it into the bridge."""
    inside = ("-n", machine.name)
    _ip("netns", "add", machine.name)
    _ip("link", "add", plug, "type", "veth", "peer", "name", WIRE, "netns", machine.name)
    _ip("link", "set", plug, "master", bridge, "up")
    _ip(*inside, "address", "add", f"{machine.address}/24", "dev", WIRE)
    _ip(*inside, "link", "set", WIRE, "up")
    _ip(*inside, "link", "set", "lo", "up")
    _ip(*inside, "route", "add", "default", "via", gateway)


def _ip(*arguments: str) -> str:
    done = subprocess.run(["ip", *arguments], capture_output=True, text=True, check=False)
    if done.returncode:
        raise OSError(f"ip {' '.join(arguments)}: {done.stderr.strip()}")
    return done.stdout
