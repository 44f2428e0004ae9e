"""The head of a Ray cluster on this machine, started as a user would, for a while.

Owns its processes, ports and temporary folder. The agent that takes jobs listens on whatever port
is free: Ray's default lies where the system hands ports out, and an agent whose port is taken lives
on without listening. What runs on the cluster is the caller's to know.
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
    """A head that is being started, or is there."""

    process: subprocess.Popen[bytes]
    folder: Path
    """Where its sessions lie."""
    log: Path

    def until(
        self, true: Callable[[], object], *, seconds: float, but: tuple[type[Exception], ...] = ()
    ) -> None:
        """Wait until `true`, whose exceptions `but` mean not yet.

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

    def takes_jobs(self) -> bool:
        """Whether its agent listens, without which no job can be sent.

        Raises:
            RuntimeError: the agent lives and doesn't listen.
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
