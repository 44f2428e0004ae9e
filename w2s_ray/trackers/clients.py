"""TensorBoard, MLflow and Weights & Biases through their own APIs: each fit is a run in each.

Owns how a fit's settings, metrics and end are written in each tracker; the tracker actor decides
when. A tracker's package is imported when it is used.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any, Protocol

from w2s_ray.config import MLflow, TensorBoard, Trackers, Wandb
from w2s_ray.trackers.tracked import Metrics, TrackedFit

PARAMETERS_PER_REQUEST = 100
"""MLflow's limit."""
WANDB_INIT_S = 60
"""How long a run may take to open; a sweep's end waits longer (`tracker_process.PATIENCE_S`)."""
MLFLOW_STATUS = {"failed": "FAILED", "stopped": "KILLED"}


class TrackerRun(Protocol):
    """One fit in one tracker. Making it opens the run and writes the fit's settings."""

    def log(self, step: int, metrics: Metrics) -> None: ...

    def finish(self, status: str) -> None:
        """Write how the fit ended: done, failed, pruned or stopped."""
        ...

    def wait(self) -> None:
        """Wait until all metrics of a finished run are written; raises the tracker's error."""
        ...


def run_factory(name: str, trackers: Trackers, *, sweep: str) -> Callable[[TrackedFit], TrackerRun]:
    """A function that opens a run for a fit in the tracker called `name`."""
    match getattr(trackers, name):
        case TensorBoard() as settings:
            folder = Path(settings.folder).absolute() / sweep
            return lambda fit: TensorBoardRun(folder, fit)
        case MLflow() as settings:
            client, experiment = _mlflow(settings, sweep)
            return lambda fit: MLflowRun(client, experiment, sweep, fit)
        case Wandb() as settings:
            options = _wandb_options(settings, sweep)
            return lambda fit: WandbRun(options, fit)
        case _:
            raise AssertionError(name)


class TensorBoardRun:
    """An event file in a folder of the fit's own."""

    def __init__(self, folder: Path, fit: TrackedFit) -> None:
        from tensorboardX import SummaryWriter

        self._writer: Any = SummaryWriter(str(folder / fit.name))
        self._settings = dict(fit.settings)
        self._logged: dict[str, float] = {}

    def log(self, step: int, metrics: Metrics) -> None:
        for name, value in metrics.items():
            self._writer.add_scalar(name, value, global_step=step)
        self._writer.flush()
        self._logged |= metrics

    def finish(self, status: str) -> None:
        from tensorboardX.summary import hparams

        # The writer's `add_hparams` would open another file, in a folder below.
        for summary in hparams(self._settings, self._logged):
            self._writer.file_writer.add_summary(summary)
        self._writer.close()

    def wait(self) -> None: ...


def _mlflow(settings: MLflow, sweep: str) -> tuple[Any, str]:
    """MLflow's client, and the id of the experiment, which is created if it is missing."""
    from mlflow import MlflowClient

    name = settings.experiment or sweep
    client = MlflowClient(settings.tracking_uri)
    experiment = client.get_experiment_by_name(name)
    if experiment is None:
        return client, client.create_experiment(name)
    return client, experiment.experiment_id


class MLflowRun:
    """A run in an MLflow server or database; each request waits for the one before."""

    def __init__(self, client: Any, experiment: str, sweep: str, fit: TrackedFit) -> None:
        from mlflow.entities import Param

        run = client.create_run(experiment, run_name=fit.name, tags={"sweep": sweep})
        self._client, self._id = client, run.info.run_id
        parameters = [Param(name, str(value)) for name, value in fit.settings.items()]
        for first in range(0, len(parameters), PARAMETERS_PER_REQUEST):
            client.log_batch(self._id, params=parameters[first : first + PARAMETERS_PER_REQUEST])

    def log(self, step: int, metrics: Metrics) -> None:
        from mlflow.entities import Metric

        now_ms = int(time.time() * 1000)
        points = [Metric(name, value, now_ms, step) for name, value in metrics.items()]
        self._client.log_batch(self._id, metrics=points)

    def finish(self, status: str) -> None:
        self._client.set_terminated(self._id, status=MLFLOW_STATUS.get(status, "FINISHED"))

    def wait(self) -> None: ...


def _wandb_options(settings: Wandb, sweep: str) -> dict[str, Any]:
    """Options of `wandb.init`: offline unless the sweep or `WANDB_MODE` sets another mode."""
    return {
        "project": settings.project or os.environ.get("WANDB_PROJECT") or sweep,
        "group": sweep,
        "entity": settings.entity,
        "mode": settings.mode or os.environ.get("WANDB_MODE") or "offline",
        "dir": os.environ.get("WANDB_DIR") or os.getcwd(),
        "reinit": "create_new",  # runs of other fits stay open
        "settings": {"console": "off", "silent": True, "init_timeout": WANDB_INIT_S},
    }


class WandbRun:
    """A run of Weights & Biases, on its own thread, since opening and ending one takes seconds."""

    def __init__(self, options: dict[str, Any], fit: TrackedFit) -> None:
        import wandb

        def start() -> None:
            settings = dict(fit.settings)
            self._run = wandb.init(id=fit.run, name=fit.name, config=settings, **options)

        self._run: Any = None
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="w2s-wandb")
        self._last: Future[None] = self._thread.submit(start)

    def log(self, step: int, metrics: Metrics) -> None:
        self._then(lambda: self._run.log(metrics, step=step))

    def finish(self, status: str) -> None:
        def end() -> None:
            run, self._run = self._run, None
            run.finish(exit_code=int(status in ("failed", "stopped")))

        self._then(end)
        self._thread.shutdown(wait=False)

    def wait(self) -> None:
        self._last.result()

    def _then(self, action: Callable[[], None]) -> None:
        """Queue `action` after the one before; where that one failed, raise its error."""
        before = self._last
        if before.done():
            before.result()

        def run_after() -> None:
            before.result()
            action()

        self._last = self._thread.submit(run_after)
