"""What a study knows while it runs: its ended trials, and the curves of those under way.

Owns the reading of earlier trials from the store, so that a resumed study has every finished one
exactly once, and the writing of each as it ends. It proposes and prunes nothing.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from typing import Any

from w2s_ray.execute.run_context import RunContext
from w2s_ray.fits.failures import Cause
from w2s_ray.fits.outcome import outcome_record
from w2s_ray.plan import PlannedFit, PlannedStudy
from w2s_ray.search.proposals import Proposal
from w2s_ray.search.trials import Trial

MOST_LOSSES = 3
"""How often a trial is tried again after its fits' own retries were spent."""


@dataclass(frozen=True)
class Proposed:
    """A trial that is proposed and has not ended."""

    number: int
    proposal: Proposal
    fits: tuple[PlannedFit, ...] = field(repr=False)

    @property
    def fit_ids(self) -> tuple[str, ...]:
        """What two equal trials have in common: the run ids of all fits, in order."""
        return tuple(fit.id for fit in self.fits)


class StudyState:
    """A study's ended trials, and the curves of those that run."""

    def __init__(self, study: PlannedStudy, context: RunContext) -> None:
        self.study = study
        self.context = context
        self.store = context.open_store()
        ended = [_trial(data) for data in self.store.trials(study.id)]
        self.trials = {trial.number: trial for trial in ended if not trial.again}
        self.proposed: dict[str, Proposed] = {}
        """Tune's trial -> what it tries, while it is under way."""
        self._repeats: dict[int, tuple[Proposed, int]] = {}
        """Number of a trial that waits for an equal one -> it, and that one's number."""
        chosen = [self.store.record(id_).about["settings"] for id_ in study.recipe.warm_start]
        self.first: list[Mapping[str, Any]] = [
            settings for i, settings in enumerate(chosen) if settings not in chosen[:i]
        ]
        """Settings that the first trials try."""
        self.failure: tuple[Cause, str] | None = None
        """Why the study can't go on: a trial was lost too often, to no fault of what it tried."""
        self._losses: Counter[int] = Counter()
        self._curves: dict[int, dict[int, float]] = {}

    @property
    def remaining(self) -> int:
        """Trials still to be run."""
        return self.study.recipe.trials - len(self.trials)

    def next_number(self) -> int | None:
        """The first trial that has neither ended nor been proposed."""
        taken = {*self.trials, *self._repeats, *(p.number for p in self.proposed.values())}
        return next((n for n in range(self.study.recipe.trials) if n not in taken), None)

    def equal_trial(self, trial: Proposed) -> int | None:
        """The first trial before this one with the same fits, ended or under way."""
        fits = {p.number: p.fit_ids for p in self.proposed.values()}
        fits |= {number: ended.fits for number, ended in self.trials.items()}
        equal = (n for n, ids in fits.items() if n < trial.number and ids == trial.fit_ids)
        return min(equal, default=None)

    def repeat(self, trial: Proposed, *, of: int) -> None:
        """Have a trial end as the equal trial `of`: at once, or when that one ends.

        Equal trials train the same fits to the same figures, so a second training would tell
        nothing. That holds for one that was pruned or failed, too: what it trained is the same, and
        a repeat that went on where the first was stopped would cost what pruning is to save.
        """
        if (ended := self.trials.get(of)) is not None:
            self._remember(_as(ended, trial))
        else:
            self._repeats[trial.number] = trial, of

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
            self.failure = cause, f"trial {number} was lost {MOST_LOSSES + 1} times: {reason}"

    def record_pruned(self, fits: Iterable[PlannedFit], number: int) -> None:
        """Leave a record of the fits that a pruned trial did not finish."""
        for fit in fits:
            if self.store.find(fit.id) is None:
                reason = f"trial {number} was pruned"
                self.store.write_attempt(outcome_record(fit, status="pruned", reason=reason))

    def ended(self, trial: Trial) -> None:
        """Remember an ended trial and its repeats, here and in the store."""
        self._remember(trial)
        for repeat, of in list(self._repeats.values()):
            if of == trial.number:
                del self._repeats[repeat.number]
                self._remember(_as(trial, repeat))

    def _remember(self, trial: Trial) -> None:
        self.trials[trial.number] = trial
        self._curves.pop(trial.number, None)
        self.store.write_trial(self.study.id, trial.number, asdict(trial))
        self.publish_trial_counts()

    def publish_trial_counts(self) -> None:
        """Show how many trials have ended, and how."""
        states = Counter(trial.state for trial in self.trials.values())
        told = {**states, "to go": self.remaining}
        self.context.progress_tracker.trial_ended.remote(self.study.id, told)


def _as(ended: Trial, repeat: Proposed) -> Trial:
    """A repeat of an ended trial."""
    return replace(
        ended,
        number=repeat.number,
        settings=repeat.proposal.settings,
        attrs=repeat.proposal.attrs,
        repeat_of=ended.number,
    )


def _trial(data: Mapping[str, Any]) -> Trial:
    known = {field.name: data[field.name] for field in fields(Trial) if field.name in data}
    made = {"intermediate": tuple(data["intermediate"]), "fits": tuple(data["fits"])}
    return Trial(**{**known, **made})
