"""One attempt at a fit in this process, which may be one worker of a group.

Owns the connections of a training fit: its checkpoints in the store, the progress tracker, and the
removal of checkpoints that no resumed fit needs. The caller holds the lease on the fit and retries
it.
"""

from __future__ import annotations

import gc
import itertools
import shutil
import socket
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import ray
import ray.exceptions

from w2s_ray.execute.run_context import RunContext, checkpoint_layout
from w2s_ray.fits.failures import FINAL
from w2s_ray.fits.outcome import outcome_record
from w2s_ray.plan import PlannedFit
from w2s_ray.store import Record
from w2s_ray.store.checkpoints import StoredCheckpoints
from w2s_ray.store.damage import Damaged, warn

if TYPE_CHECKING:
    from w2s_ray.execute.progress_tracker import Command

IMPORTING_ATTEMPTS = 2
"""Attempts of a process before which it may still lack most of its imports."""

_attempts = itertools.count()
"""Attempts of this process so far."""


def attempt(fit: PlannedFit, context: RunContext, *, rank: int = 0) -> Record:
    """Train `fit`; its record, done or failed.

    A failed record is not in the store yet. Every worker of a group calls this with its rank.

    Raises:
        StopRequested, LeaveRequested: the fit received that command.
        Exception: in a group, a failure that may be this worker's alone.
    """
    from w2s_ray.fits.train_fit import FitTraining
    from w2s_ray.learn.contract import StopRequested

    _keep_out_of_collections()
    store = context.open_store()
    control = ProgressReporter(context, fit) if rank == 0 else None
    if rank:
        context.progress_tracker.add_node.remote(fit.id, ray.get_runtime_context().get_node_id())

    def record_damage(damage: Damaged) -> None:
        """Record that a damaged checkpoint was set aside, beside the fit's record."""
        warn(damage)
        if rank == 0:
            record = outcome_record(fit, status="stopped", cause="store", reason=str(damage))
            store.write_attempt(record)

    spool = tempfile.mkdtemp(prefix="w2s-checkpoints-")
    checkpoints = StoredCheckpoints(
        store,
        fit.id,
        checkpoint_layout(fit.execution),
        rank=rank,
        workers=fit.execution.workers,
        every_s=fit.execution.checkpoint_every_s,
        spool=Path(spool),
        on_damage=record_damage,
    )
    training = FitTraining(context.with_gpus(fit), control=control, writes=rank == 0)
    keep_work = True
    try:
        record = training.run(store, checkpoints=checkpoints)
        keep_work = record.cause not in FINAL
        return record
    except StopRequested:
        keep_work = False
        raise
    finally:
        checkpoints.close()
        shutil.rmtree(spool, ignore_errors=True)
        if rank == 0 and not keep_work:
            store.work.clear(fit.id)
        gc.collect()  # DeepSpeed's engine refers to itself: only this frees its memory


def _keep_out_of_collections() -> None:
    """In this process's first attempts, keep what lives then out of later garbage collections.

    Libraries have hundreds of thousands of objects, which every full collection visits; DeepSpeed
    runs several in each fit (https://docs.python.org/3/library/gc.html#gc.freeze). Only the first
    attempts import; later ones would keep more and more.
    """
    if next(_attempts) < IMPORTING_ATTEMPTS:
        gc.collect()
        gc.freeze()


class ProgressReporter:
    """Reports a fit's progress to the progress tracker; each reply has the command for the fit."""

    def __init__(self, context: RunContext, fit: PlannedFit) -> None:
        self._progress_tracker = context.progress_tracker
        self._run_id = fit.id
        self._node = ray.get_runtime_context().get_node_id()
        self._reply: Any = None
        self._command: Command = "go"
        self._progress_tracker.fit_started.remote(fit.id, self._node, _place())

    def step(self, number: int, total: int) -> None:
        """Report the fit's step."""
        self.next_command()
        if self._reply is None:
            self._reply = self._progress_tracker.step.remote(
                self._run_id, number, total, self._node
            )

    def evaluated(self, evaluation: Mapping[str, Any]) -> None:
        """Report an evaluation."""
        self._progress_tracker.evaluated.remote(self._run_id, evaluation)

    def fetching(self, done: int, total: int) -> None:
        """Report the download of the fit's model."""
        self._progress_tracker.fetching.remote(self._run_id, done, total)

    def next_command(self) -> Command:
        """The command of the last reply; never waits for one."""
        if self._reply is not None and ray.wait([self._reply], timeout=0)[0]:
            reply, self._reply = self._reply, None
            try:
                self._command = ray.get(reply)
            except ray.exceptions.RayActorError:  # no command from a lost progress tracker
                self._command = "go"
        return self._command


def _place() -> str:
    """The machine and the GPUs of this process, as text."""
    gpus = ", ".join(f"GPU {gpu}" for gpu in ray.get_gpu_ids())
    return f"{socket.gethostname()}, {gpus}" if gpus else socket.gethostname()
