"""A Ray cluster on this machine: its folder, its processes, and their start, loss and end.

Owns a Ray that this process starts for itself. Its files lie in a folder that only this user can
read. Signals that end the driver don't reach Ray's processes, so that fits can write a checkpoint.
Ray's processes end with the driver all the same, even where the driver is killed.
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
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import ray

from w2s_ray.errors import InputError
from w2s_ray.execute.ray_folder import ray_folder, temporary_variables
from w2s_ray.execute.ray_internals import (
    end_processes_by,
    loopback_address,
    process_starts,
    with_state_api_alone,
)

VITAL_PROCESSES = frozenset({"gcs_server", "raylet"})
"""Processes of Ray on the driver's node without which Ray can't continue."""
CHECK_EVERY_S = 0.2
LOOPBACK = "127.0.0.1"
OPEN_FILES, OPEN_FILES_PER_CPU = 192, 16
"""How many files a process of Ray must be able to open: for itself, and per CPU for a worker."""
BLOCKED_SIGNALS = {signal.SIGTERM, signal.SIGHUP}
"""Signals that Ray's processes never receive here: Slurm and systemd send them to all processes."""

_processes: list[subprocess.Popen[bytes]] = []
"""Processes of the Ray that this process has started and has not ended itself."""
_saved_stderr: list[int] = []
"""Copies of the descriptor of stderr, while stderr is silenced."""


@contextlib.contextmanager
def local_ray() -> Iterator[None]:
    """Ray on this machine within the context; this process is its driver.

    Raises:
        InputError: no folder can hold its files, or too few open files are allowed.
    """
    logging.getLogger("ray").setLevel(logging.ERROR)
    check_open_files()
    with ray_folder() as folder:
        try:
            variables = temporary_variables(folder)
            with _process_starts(variables), quiet_stderr(), loopback_address():
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
def monitor_processes(lost: Callable[[str], None]) -> Iterator[None]:
    """Call `lost` if a vital process of the Ray that this process starts dies in the context.

    `lost` gets the name of the process, on the thread that has found it, after all other processes
    of this Ray have been killed. A cluster that was joined has no such processes here.
    """
    over, checking = threading.Event(), threading.Lock()

    def check() -> None:
        with checking:
            if (dead := _dead_process()) is not None:
                _kill_all()
                _restore_stderr()
                lost(dead)

    def monitor() -> None:
        while not over.wait(CHECK_EVERY_S):
            check()

    threading.Thread(target=monitor, name="w2s-ray-processes", daemon=True).start()
    try:
        yield
    finally:
        over.set()
        check()  # an exception out of the context may be a consequence of the loss


@contextlib.contextmanager
def quiet_stderr() -> Iterator[None]:
    """Silence stderr within the context: Ray's C++ core warns there while it starts.

    Errors are raised all the same.
    """
    sys.stderr.flush()
    _saved_stderr.append(os.dup(2))
    nothing = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nothing, 2)
    os.close(nothing)
    try:
        yield
    finally:
        _restore_stderr()


def _restore_stderr() -> None:
    """End `quiet_stderr`, from any thread."""
    sys.stderr.flush()
    while _saved_stderr:
        saved = _saved_stderr.pop()
        os.dup2(saved, 2)
        os.close(saved)


@contextlib.contextmanager
def _process_starts(variables: Mapping[str, str]) -> Iterator[None]:
    """Start Ray's processes in the context with signals blocked, each in a session of its own, and
    with these environment variables.

    They inherit the signals that this thread blocks. Ray's dashboard unblocks them; in a session of
    its own it receives no signal of a terminal or a process group. This process keeps its handler.
    """

    def start(command: list[str], **options: Any) -> subprocess.Popen[bytes]:
        command = with_state_api_alone(command)
        environment = {**(options.pop("env", None) or os.environ), **variables}
        process = popen(command, **options, env=environment, start_new_session=True)
        _processes.append(process)
        return process

    blocked = signal.pthread_sigmask(signal.SIG_BLOCK, BLOCKED_SIGNALS)
    try:
        with process_starts(start) as popen:
            yield
    finally:
        if threading.current_thread() is threading.main_thread():  # Ray's C++ core set its own
            signal.signal(signal.SIGTERM, signal.getsignal(signal.SIGTERM))
        signal.pthread_sigmask(signal.SIG_SETMASK, blocked)


def check_open_files() -> None:
    """Reject a hard limit on open files with which Ray would hang; Ray raises a soft one itself.

    Raises:
        InputError: the limit is too low; the message names the remedy.
    """
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    needed = OPEN_FILES + OPEN_FILES_PER_CPU * (os.cpu_count() or 1)
    if most != resource.RLIM_INFINITY and most < needed:
        raise InputError(
            f"a process may have {most} open files (ulimit -Hn), and Ray needs {needed} on this "
            "machine; raise the limit, or join a running cluster (--address)"
        )


def _end() -> None:
    """Disconnect from this process's Ray, then kill its processes, which ignore SIGTERM."""
    end_processes_by(_kill_all)
    ray.shutdown()
    _kill_all()  # of a start that failed half-way


def _dead_process() -> str | None:
    """The name of a vital process that has died."""
    names = (Path(_command(process)).name for process in _processes if process.poll() is not None)
    return next((name for name in names if name in VITAL_PROCESSES), None)


def _command(process: subprocess.Popen[bytes]) -> str:
    arguments: Any = process.args  # Ray gives a list
    return arguments[0]


def _kill_all() -> None:
    """Kill every process of this Ray with all its children, and clear the list."""
    import psutil  # a dependency of Ray

    processes = list(_processes)
    _processes.clear()  # their end is no longer a loss
    children = []
    for process in processes:
        with contextlib.suppress(psutil.NoSuchProcess):
            children += psutil.Process(process.pid).children(recursive=True)
    for process in (*processes, *children):
        with contextlib.suppress(psutil.NoSuchProcess):
            process.kill()
    for process in processes:
        process.wait()
