"""What the loop remembers between steps, and how it is written to and read from a checkpoint.

Owns `Progress` and its JSON beside the engine's state in a checkpoint's folder. It knows nothing
of data or losses: the place in the data follows from the step, since the order of rows is a
function of the seed.
"""

from __future__ import annotations

import json
import math
from dataclasses import asdict, dataclass
from pathlib import Path

from w2s_ray.learn.checkpoints import Checkpoints
from w2s_ray.learn.engine import Engine

FILE = "loop.json"


@dataclass
class Progress:
    """All that the loop remembers; with the engine's state, all that resuming needs."""

    fit: str
    """Run id of the fit, so that no fit goes on from another's state."""
    step: int = 0
    tokens: int = 0
    train_loss: float = math.nan
    best_step: int = 0
    best_value: float = -math.inf
    stale: int = 0
    """Evaluations since the best."""
    stopped: bool = False


def save(progress: Progress, engine: Engine, checkpoints: Checkpoints) -> None:
    """Write a checkpoint; all workers call this together."""

    def write(folder: Path) -> None:
        engine.save(folder)
        if engine.rank == 0:
            state = {key: v for key, v in asdict(progress).items() if v != -math.inf}
            (folder / FILE).write_text(json.dumps(state, allow_nan=False))

    checkpoints.save(progress.step, write)


def resume(fit: str, engine: Engine, checkpoints: Checkpoints | None) -> Progress:
    """The newest checkpoint's progress, with the engine's state loaded; or a fresh start.

    Raises:
        ValueError: the checkpoint belongs to another fit.
    """
    folder = checkpoints.latest() if checkpoints is not None else None
    if folder is None:
        return Progress(fit=fit)
    found = Progress(**json.loads((folder / FILE).read_text()))
    if found.fit != fit:
        raise ValueError(
            f"the checkpoint in {folder} belongs to fit {found.fit}, not {fit}; "
            "give each fit a folder of its own"
        )
    engine.load(folder)
    return found
