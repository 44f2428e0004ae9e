"""A fit that is sharded: a Ray Train worker group with DeepSpeed.

Owns the trainer, its checkpoints and what its workers run. The run's name is the fit's id and its
storage is the fit's scratch folder, so that a restarted fit finds its last checkpoint. The results
are written by worker 0, straight to the store. Nothing heavy is imported where the trainer is
built: torch and DeepSpeed load in the workers only.
"""

from __future__ import annotations

import shutil
import tempfile
import time
import traceback
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from w2s_ray.execute.carrier import Carrier
from w2s_ray.execute.outcome import outcome_record, reason_of
from w2s_ray.plan import PlannedFit
from w2s_ray.store import Record


def carry_sharded(carrier: Carrier, fit: PlannedFit, *, objective: str | None) -> Record:
    """Train `fit` on a worker group of its own and return its record, done or failed."""
    from ray import train
    from ray.train.torch import TorchTrainer
    from ray.tune.integration.ray_train import TuneReportCallback

    placed = carrier.placed(fit)
    execution, resources = placed.execution, carrier.resources(placed.execution)
    started = time.time()
    trainer = TorchTrainer(
        train_worker,
        train_loop_config={"carrier": carrier, "fit": placed, "objective": objective},
        scaling_config=train.ScalingConfig(
            num_workers=execution.workers,
            use_gpu="GPU" in resources,
            resources_per_worker=resources,
        ),
        run_config=train.RunConfig(
            name=fit.id,
            storage_path=str(carrier.scratch(fit)),
            failure_config=train.FailureConfig(max_failures=execution.retries),
            checkpoint_config=train.CheckpointConfig(num_to_keep=1),
            callbacks=[TuneReportCallback()] if objective else [],
        ),
    )
    store = carrier.open_store()
    try:
        trainer.fit()
    except Exception as error:  # noqa: BLE001 - a failure becomes a record
        record = outcome_record(
            fit,
            status="failed",
            reason=reason_of(error),
            traceback=traceback.format_exc(),
            started=started,
            attempts=len(store.attempts(fit.id)) + 1,
        )
        store.write_attempt(record)
        return record
    record = store.find(fit.id)
    return record if record is not None else store.attempts(fit.id)[-1]


def train_worker(config: Mapping[str, Any]) -> None:
    """One worker of a group: the same job on every rank; rank 0 writes the results."""
    from ray import train

    from w2s_ray.execute.job import FitJob, reported

    carrier, fit, objective = config["carrier"], config["fit"], config["objective"]

    def tell(evaluation: Mapping[str, Any]) -> None:
        train.report(reported(evaluation, objective))

    job = FitJob(
        carrier,
        fit,
        on_evaluation=tell if objective else None,
        writes=train.get_context().get_world_rank() == 0,
    )
    store = carrier.open_store()
    job.run(store, checkpoints=TrainCheckpoints(fit.execution.checkpoint_every_s))


class TrainCheckpoints:
    """Checkpoints through Ray Train, which uploads each worker's files to the run's storage."""

    def __init__(self, every_s: float) -> None:
        self._every_s = every_s
        self._last = time.monotonic()

    def due(self) -> bool:
        return time.monotonic() - self._last >= self._every_s

    def save(self, step: int, write: Callable[[Path], None]) -> None:
        from ray import train

        folder = Path(tempfile.mkdtemp(prefix="w2s-checkpoint-"))
        try:
            write(folder)
            train.report({"step": step}, checkpoint=train.Checkpoint.from_directory(str(folder)))
        finally:
            shutil.rmtree(folder, ignore_errors=True)
        self._last = time.monotonic()

    def latest(self) -> Path | None:
        from ray import train

        checkpoint = train.get_checkpoint()
        return None if checkpoint is None else Path(checkpoint.to_directory())
