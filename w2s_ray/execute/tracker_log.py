"""What the process that monitors a fit sends to the tracker actor.

Owns which fits are sent: those whose attempt this process has started, so that no fit is sent
twice. It waits for no reply.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from w2s_ray.plan import PlannedFit
from w2s_ray.scheduling.requests import SWEEP, FitRequest
from w2s_ray.store import Record
from w2s_ray.trackers.tracked import (
    TrackedFit,
    evaluation_metrics,
    final_metrics,
    tracked_fit,
)


class FitLog:
    """Sends one fit's evaluations and end to the tracker actor."""

    def __init__(self, fit: TrackedFit, tracker_actor: Any) -> None:
        self._fit = fit
        self._tracker_actor = tracker_actor
        self._step = 0
        self.owner = False
        """Whether this process started the fit's newest attempt."""

    @classmethod
    def of(cls, request: FitRequest, fit: PlannedFit, tracker_actor: Any) -> FitLog | None:
        """None where the sweep has no trackers."""
        if tracker_actor is None:
            return None
        study, trial = (None, None) if request.queue == SWEEP else (request.queue, request.priority)
        return cls(tracked_fit(fit, study=study, trial=trial), tracker_actor)

    def evaluated(self, evaluation: Mapping[str, Any]) -> None:
        """Send an evaluation."""
        if self.owner:
            self._step = evaluation["step"]
            number, metrics = evaluation["evaluations"], evaluation_metrics(evaluation)
            self._tracker_actor.evaluated.remote(self._fit, number, self._step, metrics)

    def pruned(self) -> None:
        """Send that the fit's trial was pruned."""
        self._tracker_actor.ended.remote(self._fit, "pruned", self._step, {})

    def ended(self, record: Record) -> None:
        """Send how the fit ended."""
        if self.owner:
            step = int(record.summary.get("steps") or self._step)
            metrics = final_metrics(record.summary)
            self._tracker_actor.ended.remote(self._fit, record.status, step, metrics)
