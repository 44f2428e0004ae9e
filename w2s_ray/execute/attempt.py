"""One attempt at a fit in this process, which may be one worker of a group.

Owns what joins a fit's job to the world around it: its checkpoints in the store, the wishes on the
board, and the clearing away of what only a resumed fit would need. Whoever calls it holds the claim
on the fit. It retries nothing.
"""

from __future__ import annotations

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
from w2s_ray.store.damage import Damaged, note

if TYPE_CHECKING:
    from w2s_ray.execute.progress_tracker import Command


def attempt(fit: PlannedFit, context: RunContext, *, rank: int = 0) -> Record:
    """Train `fit`; its record, done or failed.

    A failed record is not in the store yet. Workers of a group call it alike, each with its rank.

    Raises:
        Stopped, Left: the fit was asked to stop, or to leave this machine.
        Exception: in a group, what may have happened to this worker alone.
    """
    from w2s_ray.fits.train_fit import FitTraining
    from w2s_ray.learn.contract import StopRequested

    store = context.open_store()
    wishes = TrackerControl(context, fit) if rank == 0 else None
    if rank:
        context.progress_tracker.add_node.remote(fit.id, ray.get_runtime_context().get_node_id())

    def damaged(damage: Damaged) -> None:
        """Keep a line on a checkpoint that was set aside, beside the fit's record."""
        note(damage)
        if rank == 0:
            lost = outcome_record(fit, status="stopped", cause="store", reason=str(damage))
            store.write_attempt(lost)

    spool = tempfile.mkdtemp(prefix="w2s-checkpoints-")
    checkpoints = StoredCheckpoints(
        store,
        fit.id,
        checkpoint_layout(fit.execution),
        rank=rank,
        workers=fit.execution.workers,
        every_s=fit.execution.checkpoint_every_s,
        spool=Path(spool),
        on_damage=damaged,
    )
    job = FitTraining(context.placed(fit), control=wishes, writes=rank == 0)
    wanted = True  # what a resumed fit needs
    try:
        record = job.run(store, checkpoints=checkpoints)
        wanted = record.cause not in FINAL
        return record
    except StopRequested:
        wanted = False
        raise
    finally:
        checkpoints.close()
        shutil.rmtree(spool, ignore_errors=True)
        if rank == 0 and not wanted:
            store.work.clear(fit.id)


class TrackerControl:
    """Tells the board how far a fit is, and learns from its answers what is asked of the fit."""

    def __init__(self, context: RunContext, fit: PlannedFit) -> None:
        self._progress_tracker = context.progress_tracker
        self._run_id = fit.id
        self._node = ray.get_runtime_context().get_node_id()
        self._answer: Any = None
        self._asked: Command = "go"
        self._progress_tracker.fit_started.remote(fit.id, self._node, _place())

    def step(self, number: int, total: int) -> None:
        """Say how far the fit is."""
        self.asked()
        if self._answer is None:
            self._answer = self._progress_tracker.step.remote(
                self._run_id, number, total, self._node
            )

    def evaluated(self, evaluation: Mapping[str, Any]) -> None:
        """Tell an evaluation."""
        self._progress_tracker.evaluated.remote(self._run_id, evaluation)

    def asked(self) -> Command:
        """What the board's last answer asked for; never waits for one."""
        if self._answer is not None and ray.wait([self._answer], timeout=0)[0]:
            answer, self._answer = self._answer, None
            try:
                self._asked = ray.get(answer)
            except ray.exceptions.RayActorError:  # a lost board asks for nothing
                self._asked = "go"
        return self._asked


def _place() -> str:
    """This machine and the GPUs of this process, for a reader."""
    gpus = ", ".join(f"GPU {gpu}" for gpu in ray.get_gpu_ids())
    return f"{socket.gethostname()}, {gpus}" if gpus else socket.gethostname()
