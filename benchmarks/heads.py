"""A temporary head of a Ray cluster on this machine, started by Ray's command line.

Owns its processes, ports and temporary folder. The job agent listens on a free port: Ray's default
port is in the range that the system assigns to other sockets, and an agent whose port is taken
continues without listening. The caller runs its work on the cluster.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

BIN = Path(sys.executable).parent
LOOK_S = 0.5


@dataclass(frozen=True)
class Head:
    """A head that is starting or running."""

    process: subprocess.Popen[bytes]
    folder: Path
    """Where its sessions lie."""
    log: Path

    def until(
        self, true: Callable[[], object], *, seconds: float, but: tuple[type[Exception], ...] = ()
    ) -> None:
        """Wait until `true` returns a true value; its exceptions `but` count as false.

        Raises:
            RuntimeError: the head has ended.
            TimeoutError: it takes longer than `seconds`.
        """
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            if self.process.poll() is not None:
                raise RuntimeError(f"the head has ended: {self.log.read_text()}")
            with contextlib.suppress(*but):
                if true():
                    return
            time.sleep(LOOK_S)
        raise TimeoutError(f"it took longer than {seconds:g} s: {self.log.read_text()}")

    def accepts_jobs(self) -> bool:
        """Whether its job agent listens.

        Raises:
            RuntimeError: the agent runs without listening.
        """
        found = list(self.folder.glob("session_2*/**/*dashboard_agent_listen_port*"))
        ports = [path.read_text().strip() for path in found]
        if "-1" in ports:
            raise RuntimeError(f"the head's agent could not listen; see {self.folder}")
        return any(ports)


@contextlib.contextmanager
def ray_head(
    log: Path, *options: str, port: int, dashboard: int, environment: Mapping[str, str]
) -> Iterator[Head]:
    """A head at `port`, its dashboard at `dashboard` of 127.0.0.1, for the time of the context."""
    short = tempfile.mkdtemp(prefix="w2s-")  # names of sockets have a limit
    with log.open("wb") as out:
        process = subprocess.Popen(
            [
                *(BIN / "ray", "start", "--head", "--block", "--disable-usage-stats"),
                *("--port", str(port), "--temp-dir", short, "--dashboard-host", "127.0.0.1"),
                *("--dashboard-port", str(dashboard), "--dashboard-agent-listen-port", "0"),
                *options,
            ],
            stdout=out,
            stderr=out,
            env={**environment},
            start_new_session=True,
        )
    try:
        yield Head(process, Path(short), log)
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        shutil.rmtree(short, ignore_errors=True)
