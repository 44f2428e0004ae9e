"""Ending a walk early and cleanly: who may ask for it, and what happens then.

Owns the ways to ask (Ctrl-C, SIGTERM as from Kubernetes, Slurm or Ray Jobs, SIGHUP from a terminal
that is closed, `w2s cancel` through the store) and the order of the end: nobody is let in any more,
studies end, fits that wait are turned away, fits under way write a checkpoint and leave. What is
done stays, nothing is recorded as failed.
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
"""Those that end a walk, unless they are ignored (as SIGHUP is under nohup)."""


class Stop:
    """Whether the walk is to end early, and why. A context manager: within it, signals ask.

    A second Ctrl-C doesn't wait for checkpoints.
    """

    def __init__(self) -> None:
        self.why: str | None = None
        self._handlers: dict[signal.Signals, Any] = {}

    def __enter__(self) -> Stop:
        if threading.current_thread() is threading.main_thread():
            for number in SIGNALS:
                if signal.getsignal(number) is not signal.SIG_IGN:
                    self._handlers[number] = signal.signal(number, self._signalled)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        for number, handler in self._handlers.items():
            signal.signal(number, handler)

    def request(self, why: str) -> None:
        """Have the walk end; the first reason counts."""
        self.why = self.why or why

    def _signalled(self, number: int, frame: FrameType | None) -> None:
        if self.why is not None and number == signal.SIGINT:
            raise KeyboardInterrupt
        if number == signal.SIGHUP:
            _leave_closed_terminal()
        self.request(SIGNALS[signal.Signals(number)])


def _leave_closed_terminal() -> None:
    """Have nothing fail that is printed from now on, where the terminal is gone."""
    terminals = select.poll()
    for output in (1, 2):
        terminals.register(output, 0)
    nowhere = os.open(os.devnull, os.O_WRONLY)
    for output, events in terminals.poll(0):
        if events & select.POLLHUP:
            os.dup2(nowhere, output)
    os.close(nowhere)


def shut_down(context: RunContext, run_threads: RunThreads) -> bool:
    """End everything under way; True if every fit under way left a checkpoint, where it had begun.

    Studies end first, so that none takes the end of its trials for an outcome. Fits whose host or
    node is still being started have nothing to lose.
    """
    import ray
    import ray.exceptions

    worker_pool, progress_tracker = context.worker_pool, context.progress_tracker
    try:
        ray.get([worker_pool.drain.remote(), progress_tracker.stop_all.remote()], timeout=30)
        run_threads.end_studies()
        worker_pool.reject_all.remote()
        seen: Any = ray.get(progress_tracker.snapshot.remote(), timeout=30)
        for run_id, run_states in seen.run_states.items():
            if run_states.state == "starting":
                worker_pool.stop_starting.remote(run_id)
        resting = worker_pool.wait_until_idle.remote(LEAVE_S)
        deadline = time.monotonic() + LEAVE_S + 10
        while time.monotonic() < deadline:  # in steps, so that a second Ctrl-C is heeded
            if ray.wait([resting], timeout=0.5)[0]:
                wait_until_idle: Any = ray.get(resting)
                return wait_until_idle
    except ray.exceptions.RayError:
        pass
    return False
