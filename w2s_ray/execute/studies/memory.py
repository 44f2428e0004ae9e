"""What a study knows while it runs: its ended trials, and the curves of those under way.

Owns the reading of earlier trials from the store, so that a resumed study has every finished one
exactly once, and the writing of each as it ends. It proposes and prunes nothing.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import asdict, fields
from typing import Any

from w2s_ray.execute.causes import Cause
from w2s_ray.execute.fits.carrier import Carrier
from w2s_ray.execute.outcome import outcome_record
from w2s_ray.execute.studies.proposals import Proposal
from w2s_ray.execute.studies.trials import Trial
from w2s_ray.plan import PlannedFit, PlannedStudy

MOST_LOSSES = 3
"""How often a trial is tried again after its fits' own retries were spent."""


class StudyMemory:
    """A study's ended trials, and the curves of those that run."""

    def __init__(self, study: PlannedStudy, carrier: Carrier) -> None:
        self.study = study
        self.carrier = carrier
        self.store = carrier.open_store()
        ended = [_trial(data) for data in self.store.trials(study.id)]
        self.trials = {trial.number: trial for trial in ended if not trial.again}
        self.proposed: dict[str, tuple[int, Proposal]] = {}
        """Tune's trial under way -> its number and what it tries."""
        chosen = [self.store.record(id_).about["settings"] for id_ in study.recipe.warm_start]
        self.first: list[Mapping[str, Any]] = [
            settings for i, settings in enumerate(chosen) if settings not in chosen[:i]
        ]
        """Settings that the first trials try."""
        self.given_up: tuple[Cause, str] | None = None
        """Why the study can't go on: a trial was lost too often, to no fault of what it tried."""
        self._losses: Counter[int] = Counter()
        self._curves: dict[int, dict[int, float]] = {}

    @property
    def remaining(self) -> int:
        """Trials still to be run."""
        return self.study.recipe.trials - len(self.trials)

    def next_number(self) -> int | None:
        """The first trial that has neither ended nor been proposed."""
        taken = {*self.trials, *(number for number, _ in self.proposed.values())}
        return next((n for n in range(self.study.recipe.trials) if n not in taken), None)

    def observe(self, number: int, position: int, value: float) -> tuple[float, ...]:
        """Note a running trial's objective; its curve so far (a restarted trial tells again)."""
        self._curves.setdefault(number, {})[position] = value
        return self.curve(number)[:position]

    def curve(self, number: int) -> tuple[float, ...]:
        """The objective of trial `number` at each position so far."""
        return tuple(value for _, value in sorted(self._curves.get(number, {}).items()))

    def lost(self, number: int, cause: Any, reason: str | None) -> None:
        """A trial ended by what says nothing of its settings: it is proposed once more, the same.

        Later trials wait for it, so that no fault changes what a study proposes.
        """
        self._curves.pop(number, None)
        self._losses[number] += 1
        if self._losses[number] > MOST_LOSSES:
            self.given_up = cause, f"trial {number} was lost {MOST_LOSSES + 1} times: {reason}"

    def note_pruned(self, fits: Iterable[PlannedFit], number: int) -> None:
        """Leave a record of the fits that a pruned trial did not finish."""
        for fit in fits:
            if self.store.find(fit.id) is None:
                reason = f"trial {number} was pruned"
                self.store.write_attempt(outcome_record(fit, status="pruned", reason=reason))

    def ended(self, trial: Trial) -> None:
        """Remember an ended trial, here and in the store."""
        self.trials[trial.number] = trial
        self._curves.pop(trial.number, None)
        self.store.write_trial(self.study.id, trial.number, asdict(trial))
        self.tell_board()

    def tell_board(self) -> None:
        """Show how many trials have ended, and how."""
        states = Counter(trial.state for trial in self.trials.values())
        told = {**states, "to go": self.remaining}
        self.carrier.board.trial_ended.remote(self.study.id, told)


def _trial(data: Mapping[str, Any]) -> Trial:
    known = {field.name: data[field.name] for field in fields(Trial) if field.name in data}
    made = {"intermediate": tuple(data["intermediate"]), "fits": tuple(data["fits"])}
    return Trial(**{**known, **made})
