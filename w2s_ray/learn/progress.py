"""What the loop remembers between steps, and how it is written to and read from a checkpoint.

Owns `Progress` and its files beside the engine's state in a checkpoint's folder. It knows nothing
of data or losses: the place in the data follows from the step, since the order of rows is a
function of the seed.
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from safetensors.numpy import load_file, save_file

from w2s_ray.learn.checkpoints import Checkpoints
from w2s_ray.learn.engine import Engine

FILE = "loop.json"
MARGINS = "margins.safetensors"


@dataclass
class Progress:
    """All that the loop remembers; with the engine's state, all that resuming needs."""

    fit: str
    """Run id of the fit, so that no fit goes on from another's state."""
    step: int = 0
    tokens: int = 0
    evaluated_tokens: int = 0
    train_loss: float = math.nan
    best_step: int = 0
    best_value: float = -math.inf
    stale: int = 0
    """Evaluations since the best."""
    stopped: bool = False
    margins: dict[str, np.ndarray] = field(default_factory=dict)
    """Part -> margins of its rows by the present weights, where they were predicted."""
    best_margins: dict[str, np.ndarray] = field(default_factory=dict)
    """The same by the best weights."""

    def save(self, folder: Path) -> None:
        """Write it as JSON, and the margins beside it."""
        kept = {"now": self.margins, "best": self.best_margins}
        state = {k: v for k, v in vars(self).items() if k not in _ARRAYS and v != -math.inf}
        (folder / FILE).write_text(json.dumps(state, allow_nan=False))
        save_file(
            {f"{when}/{part}": a for when, parts in kept.items() for part, a in parts.items()},
            folder / MARGINS,
        )

    @classmethod
    def load(cls, folder: Path) -> Progress:
        """What `save` wrote."""
        found = cls(**json.loads((folder / FILE).read_text()))
        for name, margins in load_file(folder / MARGINS).items():
            when, _, part = name.partition("/")
            (found.margins if when == "now" else found.best_margins)[part] = margins
        return found


_ARRAYS = frozenset({"margins", "best_margins"})


def save(progress: Progress, engine: Engine, checkpoints: Checkpoints) -> None:
    """Write a checkpoint; all workers call this together."""

    def write(folder: Path) -> None:
        engine.save(folder)
        if engine.rank == 0:
            progress.save(folder)

    checkpoints.save(progress.step, write)


def resume(fit: str, engine: Engine, checkpoints: Checkpoints | None) -> Progress:
    """The newest checkpoint's progress, with the engine's state loaded; or a fresh start.

    Raises:
        ValueError: the checkpoint belongs to another fit.
    """
    folder = checkpoints.latest() if checkpoints is not None else None
    if folder is None:
        return Progress(fit=fit)
    found = Progress.load(folder)
    if found.fit != fit:
        raise ValueError(
            f"the checkpoint in {folder} belongs to fit {found.fit}, not {fit}; "
            "give each fit a folder of its own"
        )
    engine.load(folder)
    return found
