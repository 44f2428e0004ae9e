"""The state of the loop between steps, and its files in a checkpoint.

Owns `Progress` and its files beside the engine's state in a checkpoint's folder. The
place in the data is not stored: it follows from the step, since the order of rows is a function of
the seed.
"""

from __future__ import annotations

import json
import math
import shutil
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from safetensors.numpy import load_file, save_file

from w2s_ray.learn.checkpoints import Checkpoints
from w2s_ray.learn.engine import Engine

FILE = "loop.json"
PREDICTED = "predicted.safetensors"
WEIGHTS = "weights"


@dataclass
class Progress:
    """The state of the loop; with the engine's state, all that resuming needs."""

    fit: str
    """Run id of the fit, so that no fit resumes from another's state."""
    step: int = 0
    seconds: float = 0.0
    """Of training so far, as `FitResult.seconds`."""
    tokens: int = 0
    evaluated_tokens: int = 0
    train_loss: float = math.nan
    best_step: int = 0
    best_value: float = -math.inf
    stale: int = 0
    """Evaluations since the best."""
    stopped: bool = False
    stopping_step: int = 0
    """The step after which early stopping fixed the result; 0 = it has not."""
    recent: list[float] = field(default_factory=list)
    """What the loss keeps from step to step."""
    predicted: dict[str, dict[str, np.ndarray]] = field(default_factory=dict)
    """Part -> predictions of its rows by the present weights, where they were made."""
    best_predicted: dict[str, dict[str, np.ndarray]] = field(default_factory=dict)
    """The same by the best weights."""

    def save(self, folder: Path) -> None:
        """Write it as JSON, and the predictions beside it."""
        kept = {"now": self.predicted, "best": self.best_predicted}
        state = {k: v for k, v in vars(self).items() if k not in _ARRAYS and v != -math.inf}
        (folder / FILE).write_text(json.dumps(state, allow_nan=False))
        save_file(
            {
                f"{when}/{part}/{name}": array
                for when, parts in kept.items()
                for part, arrays in parts.items()
                for name, array in arrays.items()
            },
            folder / PREDICTED,
        )

    @classmethod
    def load(cls, folder: Path) -> Progress:
        """Read what `save` wrote."""
        found = cls(**json.loads((folder / FILE).read_text()))
        for place, array in load_file(folder / PREDICTED).items():
            when, part, name = place.split("/")
            parts = found.predicted if when == "now" else found.best_predicted
            parts.setdefault(part, {})[name] = array
        return found


_ARRAYS = frozenset({"predicted", "best_predicted"})


def save(
    progress: Progress, engine: Engine, checkpoints: Checkpoints, *, weights: Path | None = None
) -> None:
    """Write a checkpoint, with what lies in `weights`; all workers call this together."""

    def write(folder: Path) -> None:
        engine.save(folder)
        if engine.rank == 0:
            progress.save(folder)
            if weights is not None and weights.exists():
                shutil.copytree(weights, folder / WEIGHTS)

    checkpoints.save(progress.step, write)


def resume(
    fit: str, engine: Engine, checkpoints: Checkpoints | None, *, weights: Path | None = None
) -> Progress:
    """The newest checkpoint's progress, with the engine's state loaded; or a fresh start.

    Weights that were left along the way are put into `weights`.

    Raises:
        RuntimeError: workers have checkpoints of different steps; every worker raises it.
        ValueError: the checkpoint belongs to another fit.
    """
    folder = checkpoints.latest() if checkpoints is not None else None
    found = Progress(fit=fit) if folder is None else Progress.load(folder)
    _check_equal_steps(found.step, engine)
    if folder is None:
        return found
    if found.fit != fit:
        raise ValueError(
            f"the checkpoint in {folder} belongs to fit {found.fit}, not {fit}; "
            "give each fit a folder of its own"
        )
    engine.load(folder)
    if weights is not None and engine.rank == 0 and (folder / WEIGHTS).exists():
        shutil.copytree(folder / WEIGHTS, weights, dirs_exist_ok=True)
    return found


def _check_equal_steps(step: int, engine: Engine) -> None:
    """Check that all workers of a group resume from the same step."""
    import torch

    differs = torch.tensor([float(engine.agree(step) != step)], device=engine.device)
    if engine.sum_over_workers(differs).item():
        raise RuntimeError(
            f"the workers' newest checkpoints are of different steps (this worker's: {step})"
        )
