"""Stopping a sweep early and cleanly: the stop requests, and the steps of the end.

Owns the requests (Ctrl-C, SIGTERM as from Kubernetes, Slurm or Ray Jobs, SIGHUP of a closed
terminal, `w2s cancel` through the store) and the order of the end: the worker pool drains, studies
end, queued fits are rejected, running fits write a checkpoint and leave. Done runs stay done, and
no run is recorded as failed.
"""

from __future__ import annotations

import os
import select
import signal
import threading
import time
from types import FrameType, TracebackType
from typing import TYPE_CHECKING, Any

from w2s_ray.status.cancel import LEAVE_S

if TYPE_CHECKING:
    from w2s_ray.execute.run_context import RunContext
    from w2s_ray.execute.run_threads import RunThreads


SIGNALS = {signal.SIGINT: "Ctrl-C", signal.SIGTERM: "SIGTERM", signal.SIGHUP: "SIGHUP"}
"""Signals that stop a sweep, unless they are ignored (as SIGHUP is under nohup)."""


class Stop:
    """Whether the sweep is to stop early, and the reason. Within its context, signals request it.

    A second Ctrl-C doesn't wait for checkpoints.
    """

    def __init__(self) -> None:
        self.reason: str | None = None
        self._handlers: dict[signal.Signals, Any] = {}

    def __enter__(self) -> Stop:
        if threading.current_thread() is threading.main_thread():
            for number in SIGNALS:
                if signal.getsignal(number) is not signal.SIG_IGN:
                    self._handlers[number] = signal.signal(number, self._on_signal)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        for number, handler in self._handlers.items():
            signal.signal(number, handler)

    def request(self, reason: str) -> None:
        """Request the stop; the first reason is kept."""
        self.reason = self.reason or reason

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        if self.reason is not None and number == signal.SIGINT:
            raise KeyboardInterrupt
        if number == signal.SIGHUP:
            _redirect_closed_terminal()
        self.request(SIGNALS[signal.Signals(number)])


def _redirect_closed_terminal() -> None:
    """Send stdout and stderr of a closed terminal to the null device, so that no print fails."""
    terminals = select.poll()
    for output in (1, 2):
        terminals.register(output, 0)
    null = os.open(os.devnull, os.O_WRONLY)
    for output, events in terminals.poll(0):
        if events & select.POLLHUP:
            os.dup2(null, output)
    os.close(null)


def shut_down(context: RunContext, run_threads: RunThreads) -> bool:
    """End all runs; True if every running fit wrote a checkpoint in time.

    Studies end first, so that none records the end of its trials as a result. Fits whose worker or
    node is still being started have nothing to save.
    """
    import ray
    import ray.exceptions

    worker_pool, progress_tracker = context.worker_pool, context.progress_tracker
    try:
        ray.get([worker_pool.drain.remote(), progress_tracker.stop_all.remote()], timeout=30)
        run_threads.end_studies()
        worker_pool.reject_all.remote()
        snapshot: Any = ray.get(progress_tracker.snapshot.remote(), timeout=30)
        for run_id, run_state in snapshot.run_states.items():
            if run_state.state == "starting":
                worker_pool.stop_starting.remote(run_id)
        idle = worker_pool.wait_until_idle.remote(LEAVE_S)
        deadline = time.monotonic() + LEAVE_S + 10
        while time.monotonic() < deadline:  # in steps, so that a second Ctrl-C is handled
            if ray.wait([idle], timeout=0.5)[0]:
                all_idle: Any = ray.get(idle)
                return all_idle
    except ray.exceptions.RayError:
        pass
    return False
