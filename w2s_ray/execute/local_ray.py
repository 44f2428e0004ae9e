"""Ray's processes on this machine: their folder, their signals, their start, their loss, their end.

Owns a Ray that this process starts for itself. Its files lie in a folder that only this user can
read. Signals that end the driver don't reach its processes, so that fits can write a checkpoint;
they end with the driver all the same, even where that is killed. It runs nothing.
"""

from __future__ import annotations

import contextlib
import logging
import os
import resource
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import ray

from w2s_ray.errors import InputError
from w2s_ray.execute.ray_folder import ray_folder

VITAL = frozenset({"gcs_server", "raylet"})
"""Processes of Ray on the driver's node without which nothing goes on."""
LOOK_S = 0.2
LOOPBACK = "127.0.0.1"
FILES, FILES_A_CPU = 192, 16
"""How many files a process of Ray must be able to open: for itself, for a worker on each CPU."""
KEPT_FROM_RAY = {signal.SIGTERM, signal.SIGHUP}
"""Signals that Ray's processes here never receive: Slurm and systemd send them to all processes."""

_started: list[subprocess.Popen[bytes]] = []
"""Processes of the Ray that this process has started, and not ended itself."""
_quieted: list[int] = []
"""The descriptor that stderr had before it was quieted, while it is."""


@contextlib.contextmanager
def local_ray() -> Iterator[None]:
    """Ray on this machine for the time of the context; this process is its driver.

    Raises:
        InputError: there is no place for its files.
    """
    logging.getLogger("ray").setLevel(logging.ERROR)
    _check_open_files()
    with ray_folder() as folder:
        try:
            with _shielded(), quiet_stderr(), _on_loopback():
                ray.init(
                    address="local",
                    include_dashboard=True,  # stopped trials free their resources through its API
                    dashboard_host=LOOPBACK,
                    _node_ip_address=LOOPBACK,
                    _temp_dir=str(folder),
                    log_to_driver=False,
                    logging_level=logging.ERROR,
                )
            yield
        finally:
            _end()


@contextlib.contextmanager
def vital_signs(lost: Callable[[str], None]) -> Iterator[None]:
    """Call `lost` if a vital process of the Ray that this process starts dies in the context.

    It is told which, from whatever thread has noticed, when all others of this Ray are ended too. A
    cluster that was joined has no such processes here.
    """
    over, noticed = threading.Event(), threading.Lock()

    def look() -> None:
        with noticed:
            if (dead := _dead_process()) is not None:
                _kill_all()
                _speak_again()
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


@contextlib.contextmanager
def quiet_stderr() -> Iterator[None]:
    """Ray's C++ side warns on stderr while it starts; what matters raises."""
    sys.stderr.flush()
    _quieted.append(os.dup(2))
    nothing = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nothing, 2)
    os.close(nothing)
    try:
        yield
    finally:
        _speak_again()


def _speak_again() -> None:
    """End `quiet_stderr`, from whatever thread."""
    sys.stderr.flush()
    while _quieted:
        kept = _quieted.pop()
        os.dup2(kept, 2)
        os.close(kept)


@contextlib.contextmanager
def _shielded() -> Iterator[None]:
    """Start Ray's processes in the context with signals blocked, in a session of their own.

    They inherit the signals that this thread blocks. Ray's dashboard unblocks them; in its session
    it doesn't receive those of a terminal or a process group. This process's own handler stays.
    """
    from ray._private import services, utils

    def start(*arguments: Any, **options: Any) -> subprocess.Popen[bytes]:
        process = popen(*arguments, **options, start_new_session=True)
        _started.append(process)
        return process

    blocked = signal.pthread_sigmask(signal.SIG_BLOCK, KEPT_FROM_RAY)
    popen, services.ConsolePopen = services.ConsolePopen, start
    handle, utils.set_sigterm_handler = utils.set_sigterm_handler, lambda handler: None
    try:
        yield
    finally:
        services.ConsolePopen, utils.set_sigterm_handler = popen, handle
        if threading.current_thread() is threading.main_thread():  # Ray's C++ core set its own
            signal.signal(signal.SIGTERM, signal.getsignal(signal.SIGTERM))
        signal.pthread_sigmask(signal.SIG_SETMASK, blocked)


def _check_open_files() -> None:
    """Refuse a limit on open files with which Ray would hang; it raises a soft one by itself.

    Raises:
        InputError: the system forbids what Ray needs; the message names the remedy.
    """
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    needed = FILES + FILES_A_CPU * (os.cpu_count() or 1)
    if most != resource.RLIM_INFINITY and most < needed:
        raise InputError(
            f"a process may have {most} open files (ulimit -Hn), and Ray needs {needed} on this "
            "machine; raise the limit, or join a running cluster (--address)"
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


def _end() -> None:
    """Disconnect from this process's Ray, then kill it: it ignores gentler signals."""
    from ray._private import worker

    node: Any = worker._global_node
    if node is not None:
        node.kill_all_processes = lambda **options: _kill_all()
    ray.shutdown()
    _kill_all()  # where it had not come so far as to be this process's


def _dead_process() -> str | None:
    """A vital process that has died."""
    names = (Path(_command(process)).name for process in _started if process.poll() is not None)
    return next((name for name in names if name in VITAL), None)


def _command(process: subprocess.Popen[bytes]) -> str:
    arguments: Any = process.args  # Ray gives a list
    return arguments[0]


def _kill_all() -> None:
    """Kill every process of this Ray, those that its own have started too, and forget them."""
    import psutil  # Ray brings one

    processes = list(_started)
    _started.clear()  # their end is no loss
    left = []
    for process in processes:
        with contextlib.suppress(psutil.NoSuchProcess):
            left += psutil.Process(process.pid).children(recursive=True)
    for process in (*processes, *left):
        with contextlib.suppress(psutil.NoSuchProcess):
            process.kill()
    for process in processes:
        process.wait()
