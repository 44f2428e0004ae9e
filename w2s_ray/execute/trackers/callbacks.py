"""Ray's own callbacks for trackers, made from the sweep's settings and driven fit by fit.

Owns the stand-in for a trial of Ray Tune that they are told of: our fits outside studies are no
trials. It decides nothing about when they are told.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import ray
from ray.tune.logger import LoggerCallback

from w2s_ray.config import MLflow, TensorBoard, Trackers, Wandb
from w2s_ray.execute.trackers.tracked import Tracked

UPLOAD_S = 60
"""How long the end waits for what Weights & Biases still sends."""


@dataclass(frozen=True)
class TrialLike:
    """What the callbacks read of a trial."""

    trial_id: str
    name: str
    experiment_dir_name: str
    local_path: str
    config: dict[str, Any] = field(compare=False)

    def __str__(self) -> str:
        return self.name

    @property
    def evaluated_params(self) -> dict[str, Any]:
        """The settings, where a trial has those that its search drew."""
        return self.config

    def init_local_path(self) -> None:
        """Make the fit's own folder."""
        Path(self.local_path).mkdir(parents=True, exist_ok=True)


def trial_like(fit: Tracked, *, sweep: str, folder: Path) -> TrialLike:
    """The stand-in for `fit`, whose own folder lies in `folder`."""
    return TrialLike(
        trial_id=fit.run,
        name=fit.name,
        experiment_dir_name=sweep,
        local_path=str(folder / fit.name),
        config={"sweep": sweep, **fit.settings},
    )


def callback_of(name: str, trackers: Trackers, *, sweep: str) -> LoggerCallback:
    """The callback of the tracker called `name`, set up."""
    match getattr(trackers, name):
        case TensorBoard():
            from ray.tune.logger import TBXLoggerCallback

            callback = TBXLoggerCallback()
        case MLflow() as settings:
            from ray.air.integrations.mlflow import MLflowLoggerCallback

            callback = MLflowLoggerCallback(
                tracking_uri=settings.tracking_uri,
                experiment_name=settings.experiment or sweep,
                tags={"sweep": sweep},
            )
        case Wandb() as settings:
            callback = _wandb(settings, sweep)
        case _:
            raise AssertionError(name)
    callback.setup()
    return callback


def _wandb(settings: Wandb, sweep: str) -> LoggerCallback:
    """Weights & Biases, offline unless told otherwise; a run that can't be logged is an error."""
    os.environ["WANDB_MODE"] = settings.mode or os.environ.get("WANDB_MODE") or "offline"
    from ray.air.integrations.wandb import WandbLoggerCallback

    class Checked(WandbLoggerCallback):
        def _cleanup_logging_actor(self, trial: Any) -> None:
            logged = self._trial_logging_futures[trial]
            super()._cleanup_logging_actor(trial)
            if ray.wait([logged], timeout=0)[0]:
                ray.get(logged)

    server = os.environ.get("WANDB_BASE_URL")
    return Checked(
        project=settings.project or os.environ.get("WANDB_PROJECT") or sweep,
        group=sweep,
        entity=settings.entity,
        mode=os.environ["WANDB_MODE"],
        dir=os.environ.get("WANDB_DIR") or os.getcwd(),
        upload_timeout=UPLOAD_S,
        settings={"console": "off", "silent": True, **({"base_url": server} if server else {})},
    )
