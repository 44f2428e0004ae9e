"""The `trackers` section of a sweep file: optional experiment trackers besides the store.

Owns their settings, which change no result and are not hashed. It sends nothing to a tracker.
"""

from __future__ import annotations

from typing import Any, Literal

from pydantic import (
    SerializerFunctionWrapHandler,
    model_serializer,
    model_validator,
)

from w2s_ray.config.names import Line, LocalPath, Name
from w2s_ray.errors import InputError
from w2s_ray.frozen import Frozen
from w2s_ray.printable import shown

REMEDY = "write [tensorboard], or a mapping with settings of tensorboard, mlflow or wandb"


class TensorBoard(Frozen):
    """Event files that `tensorboard --logdir` reads."""

    folder: LocalPath = "tensorboard"
    """Folder on the machine that runs `w2s run`, relative to the current directory. It gets a
    folder for each sweep, with a folder for each fit."""


class MLflow(Frozen):
    """Runs in an MLflow tracking server or database."""

    tracking_uri: Line | None = None
    """Where MLflow logs; null = MLflow's default: `MLFLOW_TRACKING_URI`, or a database in the
    current directory."""
    experiment: Name | None = None
    """The experiment; null = the sweep's name."""


class Wandb(Frozen):
    """Runs of Weights & Biases."""

    project: Name | None = None
    """The project; null = `WANDB_PROJECT`, or the sweep's name."""
    entity: Line | None = None
    """User or team; null = the account's default."""
    mode: Literal["online", "offline"] | None = None
    """online: sent at once, with `WANDB_API_KEY` or after `wandb login`. offline: kept in the
    folder `wandb`, for `wandb sync`. null = `WANDB_MODE`, or else offline."""


class Trackers(Frozen):
    """Experiment trackers, besides the store. Each fit is a run there."""

    tensorboard: TensorBoard | None = None
    """Log to TensorBoard event files; null = no."""
    mlflow: MLflow | None = None
    """Log to MLflow; null = no. Needs `pip install "w2s_ray[mlflow]"`."""
    wandb: Wandb | None = None
    """Log to Weights & Biases; null = no. Needs `pip install "w2s_ray[wandb]"`."""

    @model_validator(mode="before")
    @classmethod
    def _from_list(cls, value: Any) -> Any:
        """The list form `[tensorboard, {mlflow: {...}}]` as a mapping."""
        if isinstance(value, str):
            value = [value]
        if isinstance(value, list):
            entries = [{entry: None} if isinstance(entry, str) else entry for entry in value]
            if not all(isinstance(entry, dict) for entry in entries):
                raise InputError(f"{shown(value)} is not a list of trackers; {REMEDY}")
            names = [str(name) for entry in entries for name in entry]
            if len(set(names)) != len(names):
                raise InputError(f"{', '.join(names)}: a tracker occurs twice; keep one")
            value = {name: settings for entry in entries for name, settings in entry.items()}
        if isinstance(value, dict):
            return {name: {} if settings is None else settings for name, settings in value.items()}
        if not isinstance(value, Trackers):
            raise InputError(f"{shown(value)} is not a list of trackers; {REMEDY}")
        return value

    @model_serializer(mode="wrap")
    def _only_chosen(self, dump: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Omit trackers that aren't chosen, because a key with null chooses a tracker."""
        return {name: settings for name, settings in dump(self).items() if settings is not None}

    @property
    def chosen(self) -> tuple[str, ...]:
        """Names of the chosen trackers."""
        return tuple(name for name, settings in self if settings is not None)
