"""The state of a running study: its ended trials, and the curves of its running ones.

Owns the reading of earlier trials from the store, so that a resumed study has every ended one
exactly once, and the writing of each trial as it ends. Proposals and pruning are in `search`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from w2s_ray.execute.run_context import RunContext
from w2s_ray.fits.failures import Cause
from w2s_ray.fits.outcome import outcome_record
from w2s_ray.plan import PlannedFit, PlannedStudy
from w2s_ray.search.proposals import Proposal
from w2s_ray.search.trials import Trial, trial_of

TRIAL_RETRIES = 3
"""How often a trial is run again after all retries of its fits have failed."""


@dataclass(frozen=True)
class ProposedTrial:
    """A trial that has been proposed and has not ended."""

    number: int
    proposal: Proposal
    fits: tuple[PlannedFit, ...] = field(repr=False)

    @property
    def fit_ids(self) -> tuple[str, ...]:
        """The run ids of all fits, in order; trials with the same ones are equal."""
        return tuple(fit.id for fit in self.fits)


class StudyState:
    """A study's ended trials, and the curves of its running ones."""

    def __init__(self, study: PlannedStudy, context: RunContext) -> None:
        self.study = study
        self.context = context
        self.store = context.open_store()
        ended = [trial_of(data) for data in self.store.trials(study.id)]
        self.trials = {trial.number: trial for trial in ended if not trial.again}
        self.proposed: dict[str, ProposedTrial] = {}
        """Tune's trial id -> the trial, while it runs."""
        self._repeats: dict[int, tuple[ProposedTrial, int]] = {}
        """Number of a trial that waits for an equal one -> it, and the equal one's number."""
        chosen = [self.store.record(id_).about["settings"] for id_ in study.recipe.warm_start]
        self.first: list[Mapping[str, Any]] = [
            settings for i, settings in enumerate(chosen) if settings not in chosen[:i]
        ]
        """Settings of the first trials."""
        self.failure: tuple[Cause, str] | None = None
        """Why the study has failed: a trial was lost too often, for a reason outside its
        settings."""
        self._losses: Counter[int] = Counter()
        self._curves: dict[int, dict[int, float]] = {}

    @property
    def remaining(self) -> int:
        """Number of trials that have not ended."""
        return self.study.recipe.trials - len(self.trials)

    def next_number(self) -> int | None:
        """The first trial that has neither ended nor been proposed."""
        taken = {*self.trials, *self._repeats, *(p.number for p in self.proposed.values())}
        return next((n for n in range(self.study.recipe.trials) if n not in taken), None)

    def equal_trial(self, trial: ProposedTrial) -> int | None:
        """The first trial before this one with the same fits, ended or running."""
        fits = {p.number: p.fit_ids for p in self.proposed.values()}
        fits |= {number: ended.fits for number, ended in self.trials.items()}
        equal = (n for n, ids in fits.items() if n < trial.number and ids == trial.fit_ids)
        return min(equal, default=None)

    def repeat(self, trial: ProposedTrial, *, of: int) -> None:
        """Give a trial the result of the equal trial `of`: at once, or when that one ends.

        Equal trials train the same fits to the same metrics, so a second training adds no
        information. This holds for a pruned or failed one too: a repeat that went beyond the point
        where the first was pruned would cost what pruning saves.
        """
        if (ended := self.trials.get(of)) is not None:
            self._add(_repeated(ended, trial))
        else:
            self._repeats[trial.number] = trial, of

    def observe(self, number: int, position: int, value: float) -> tuple[float, ...]:
        """Add a running trial's objective; its curve so far (a restarted trial reports again)."""
        self._curves.setdefault(number, {})[position] = value
        return self.curve(number)[:position]

    def curve(self, number: int) -> tuple[float, ...]:
        """The objective of trial `number` at each position so far."""
        return tuple(value for _, value in sorted(self._curves.get(number, {}).items()))

    def lose(self, number: int, cause: Any, reason: str | None) -> None:
        """A trial ended for a reason outside its settings: the same trial is proposed once more.

        Later trials wait for it, so that no failure changes a study's proposals.
        """
        self._curves.pop(number, None)
        self._losses[number] += 1
        if self._losses[number] > TRIAL_RETRIES:
            self.failure = cause, f"trial {number} was lost {TRIAL_RETRIES + 1} times: {reason}"

    def record_pruned(self, fits: Iterable[PlannedFit], number: int) -> None:
        """Write an attempt's record for each unfinished fit of a pruned trial."""
        for fit in fits:
            if self.store.find(fit.id) is None:
                reason = f"trial {number} was pruned"
                self.store.write_attempt(outcome_record(fit, status="pruned", reason=reason))

    def end(self, trial: Trial) -> None:
        """Add an ended trial and its repeats, here and in the store."""
        self._add(trial)
        for repeat, of in list(self._repeats.values()):
            if of == trial.number:
                del self._repeats[repeat.number]
                self._add(_repeated(trial, repeat))

    def _add(self, trial: Trial) -> None:
        self.trials[trial.number] = trial
        self._curves.pop(trial.number, None)
        self.store.write_trial(self.study.id, trial.number, asdict(trial))
        self.publish_trial_counts()

    def publish_trial_counts(self) -> None:
        """Report the number of trials in each state to the progress tracker."""
        states = Counter(trial.state for trial in self.trials.values())
        counts = {**states, "to go": self.remaining}
        self.context.progress_tracker.trial_ended.remote(self.study.id, counts)


def _repeated(ended: Trial, repeat: ProposedTrial) -> Trial:
    """`repeat` with the result of an equal ended trial."""
    return replace(
        ended,
        number=repeat.number,
        settings=repeat.proposal.settings,
        attrs=repeat.proposal.attrs,
        repeat_of=ended.number,
    )
