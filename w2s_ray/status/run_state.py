"""The state of running fits, as the progress tracker reports it: values alone.

Owns the names of states and the snapshot that displays, budgets and heartbeats read. It measures
nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

State = Literal["waiting", "held", "starting", "running"]
"""Of a monitored fit or study: it waits for free resources, another driver holds its lease, its
worker or node is being started, or it is running."""
STATES: tuple[State, ...] = ("running", "starting", "held", "waiting")
"""The furthest first."""


@dataclass(frozen=True)
class RunState:
    """The state of a monitored run."""

    about: Mapping[str, Any]
    """Its description: task, model, method, role."""
    state: State
    since: float
    """The start of this state, in seconds since the epoch."""
    place: str = ""
    """Machine and GPUs of a running fit."""


@dataclass(frozen=True)
class ProgressSnapshot:
    """What the progress tracker held when it was last read."""

    run_states: dict[str, RunState] = field(default_factory=dict)
    """Monitored run -> its state."""
    steps: dict[str, tuple[int, int]] = field(default_factory=dict)
    """Running fit -> (step, of steps)."""
    fetched: dict[str, tuple[int, int]] = field(default_factory=dict)
    """Fit whose model is downloaded -> (bytes, of bytes)."""
    trials: dict[str, dict[str, int]] = field(default_factory=dict)
    """Study -> trials by state; `to go` are those not ended."""

    def fetched_text(self, run_id: str) -> str | None:
        """The progress of the download of a fit's model, if it is being downloaded."""
        if run_id not in self.fetched:
            return None
        done, total = self.fetched[run_id]
        return f"downloading its model, {done / 1e9:.1f} of {total / 1e9:.1f} GB"

    def ended_trials(self, study: str) -> int:
        """The number of ended trials of a study."""
        return sum(n for state, n in self.trials.get(study, {}).items() if state != "to go")
