"""What the watch over a fit has trackers told, by way of the scribe.

Owns which fits they are told of: those that this very watch had trained, so that none is told
twice. Nothing is waited for, and nothing comes back.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from w2s_ray.plan import PlannedFit
from w2s_ray.scheduling.requests import SWEEP, FitRequest
from w2s_ray.store import Record
from w2s_ray.trackers.tracked import (
    Tracked,
    evaluation_figures,
    final_figures,
    tracked,
)


class Log:
    """What trackers are told of one fit."""

    def __init__(self, fit: Tracked, tracker_actor: Any) -> None:
        self._fit = fit
        self._scribe = tracker_actor
        self._step = 0
        self.ours = False
        """Whether it is this watch that has the fit trained, or had it trained last."""

    @classmethod
    def of(cls, request: FitRequest, fit: PlannedFit, tracker_actor: Any) -> Log | None:
        """None where there are no trackers."""
        if tracker_actor is None:
            return None
        study, trial = (None, None) if request.queue == SWEEP else (request.queue, request.priority)
        return cls(tracked(fit, study=study, trial=trial), tracker_actor)

    def evaluated(self, evaluation: Mapping[str, Any]) -> None:
        """An evaluation of the fit."""
        if self.ours:
            self._step = evaluation["step"]
            number, figures = evaluation["evaluations"], evaluation_figures(evaluation)
            self._scribe.evaluated.remote(self._fit, number, self._step, figures)

    def pruned(self) -> None:
        """The fit's study has given it up."""
        self._scribe.ended.remote(self._fit, "pruned", self._step, {})

    def ended(self, record: Record) -> None:
        """The fit is settled."""
        if self.ours:
            step = int(record.summary.get("steps") or self._step)
            self._scribe.ended.remote(self._fit, record.status, step, final_figures(record.summary))
