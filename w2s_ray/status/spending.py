"""Device seconds of runs: by role and model, of retries and of trials.

Owns the sums over a store's records, for the cost report and for the budget of a running sweep.
The seconds of done runs and failed attempts are measured, from the assignment of a worker (setup
included, queue time not) to the end, times the number of workers. A pruned trial has no measured
end: it counts by its evaluations, each at the mean of its study's finished fits.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from statistics import fmean
from typing import TYPE_CHECKING, Any

from w2s_ray.config import Training
from w2s_ray.store import Record, Store

if TYPE_CHECKING:
    from w2s_ray.plan import Plan

Trials = Mapping[str, Sequence[Mapping[str, Any]]]


@dataclass(frozen=True)
class Spent:
    """Device seconds of the runs of one role and model."""

    role: str
    """Role with the method, or `trial` with the method or role."""
    model: str
    runs: int
    """Number of done runs."""
    device_seconds: float
    """Of done runs."""
    failed_seconds: float
    """Of attempts without a result, also of done runs."""
    pruned: int
    pruned_seconds: float
    """Of pruned trials, estimated."""

    @property
    def total(self) -> float:
        """The sum of all three."""
        return self.device_seconds + self.failed_seconds + self.pruned_seconds


@dataclass(frozen=True)
class Spending:
    """Device seconds of a sweep's runs so far; a run that several cells use counts once."""

    rows: tuple[Spent, ...] = ()
    of_runs: Mapping[str, float] = field(default_factory=dict)
    """Fit -> its device seconds, failed attempts included."""
    of_studies: Mapping[str, float] = field(default_factory=dict)
    """Study -> device seconds of its trials' fits."""

    @property
    def device_seconds(self) -> float:
        """The sum over all rows."""
        return sum(row.total for row in self.rows)


@dataclass
class SpendingReader:
    """Reads device seconds from a store; a second read loads only what is new."""

    store: Store
    _done: dict[str, Record] = field(default_factory=dict)
    """Records of done runs, which never change."""
    _attempts: dict[str, tuple[frozenset[str], list[Record]]] = field(default_factory=dict)
    """Run -> the names of its attempts when they were read, and their records."""

    def of_plan(self, plan: Plan) -> Spending:
        """The spending of a sweep: all fits of its plan, and of its studies' trials."""
        runs = {fit.id: fit.role_and_method for fit in plan.fits.values()}
        return self.of(runs, {study.id: study.subject for study in plan.studies.values()})

    def of(self, runs: Mapping[str, str], studies: Mapping[str, str]) -> Spending:
        """The spending of `runs` (fit -> role) and of trials of `studies` (study -> subject)."""
        files = self.store.run_files()
        trials = {study: self.store.trials(study) for study in studies if study in files}
        of_trials = {
            fit: f"trial {studies[study]}"
            for study, of_study in trials.items()
            for trial in of_study
            for fit in trial["fits"]
        }
        roles = {**of_trials, **runs}
        self._read({run: names for run, names in files.items() if run in roles})
        latest = {run: record for run in roles if (record := self._latest(run)) is not None}
        failed = {run: self._failed_s(run) for run in latest}
        pruned = _pruned_s(trials, latest)
        grouped: dict[tuple[str, str], list[Record]] = {}
        for run, record in sorted(latest.items()):
            grouped.setdefault((roles[run], str(record.about.get("model"))), []).append(record)
        totals = {
            run: failed[run]
            + pruned.get(run, 0.0)
            + (record.device_seconds if record.status == "done" else 0.0)
            for run, record in latest.items()
        }
        return Spending(
            tuple(
                _spent(*key, some, failed=failed, pruned=pruned) for key, some in grouped.items()
            ),
            of_runs=totals,
            of_studies={study: _study_s(of_study, totals) for study, of_study in trials.items()},
        )

    def done_records(self) -> list[Record]:
        """Records of the done runs that were read so far."""
        return list(self._done.values())

    def _read(self, files: Mapping[str, set[str]]) -> None:
        new = {run for run, names in files.items() if "record.json" in names} - self._done.keys()
        if new:
            self._done.update({record.id: record for record in self.store.records(new)})
        for run, names in files.items():
            attempts = frozenset(name for name in names if name.startswith("attempt-"))
            if attempts and self._attempts.get(run, (frozenset(), []))[0] != attempts:
                self._attempts[run] = attempts, self.store.attempts(run)

    def _latest(self, run: str) -> Record | None:
        """A run's record if it is done, else its last attempt."""
        attempts = self._attempts[run][1] if run in self._attempts else []
        return self._done.get(run) or (attempts[-1] if attempts else None)

    def _failed_s(self, run: str) -> float:
        attempts = self._attempts[run][1] if run in self._attempts else []
        return sum(attempt.device_seconds for attempt in attempts if attempt.status != "done")


def _study_s(trials: Iterable[Mapping[str, Any]], totals: Mapping[str, float]) -> float:
    return sum(totals.get(fit, 0.0) for fit in dict.fromkeys(f for t in trials for f in t["fits"]))


def _pruned_s(trials: Trials, latest: Mapping[str, Record]) -> dict[str, float]:
    """Unfinished fit of a pruned trial -> its estimated device seconds."""
    seconds: dict[str, float] = {}
    for of_study in trials.values():
        done = [
            latest[fit]
            for trial in of_study
            for fit in trial["fits"]
            if fit in latest and latest[fit].status == "done"
        ]
        mean_s = fmean(_seconds_per_evaluation(record) for record in done) if done else 0.0
        for trial in of_study:
            evaluations = len(trial["intermediate"])
            for fit in trial["fits"] if trial["state"] == "pruned" else ():
                record = latest.get(fit)
                if record is None or record.status == "done":
                    evaluations -= _evaluations(record) if record else 0
                    continue
                seconds[fit] = mean_s * max(0, min(evaluations, _evaluations(record)))
                evaluations -= _evaluations(record)
    return seconds


def _seconds_per_evaluation(record: Record) -> float:
    return record.device_seconds / _evaluations(record)


def _evaluations(record: Record) -> int:
    """Largest number of evaluations of a fit; its recipe may be of another version."""
    return Training.model_construct(**(record.recipe.get("training") or {})).evaluations


def _spent(
    role: str,
    model: str,
    records: Sequence[Record],
    *,
    failed: Mapping[str, float],
    pruned: Mapping[str, float],
) -> Spent:
    done = [record for record in records if record.status == "done"]
    return Spent(
        role=role,
        model=model,
        runs=len(done),
        device_seconds=sum(record.device_seconds for record in done),
        failed_seconds=sum(failed[record.id] for record in records),
        pruned=sum(record.id in pruned for record in records),
        pruned_seconds=sum(pruned.get(record.id, 0.0) for record in records),
    )
