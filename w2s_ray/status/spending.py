"""What runs have cost: device seconds by role and model, of retries and of trials.

Owns the sums over a store's records, for the bill afterwards and for a budget while a sweep runs.
Seconds of runs that are done and of attempts that failed are measured, from the moment a fit has
its device (setting up included, waiting for room not) to its end, times its workers. A trial that
was pruned leaves no measured end: it counts by the evaluations that it reached, at the price of the
finished fits of its study. It knows no prices and no estimates.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from statistics import fmean
from typing import TYPE_CHECKING, Any

from w2s_ray.config import FitRecipe
from w2s_ray.store import Record, Store

if TYPE_CHECKING:
    from w2s_ray.plan import Plan

Trials = Mapping[str, Sequence[Mapping[str, Any]]]


@dataclass(frozen=True)
class Spent:
    """What runs of one role and model took."""

    what: str
    """Role, or `trial`, with the method."""
    model: str
    runs: int
    """Done."""
    device_seconds: float
    """Of those that are done."""
    failed_seconds: float
    """Of their attempts, and others', that ended without a result."""
    pruned: int
    pruned_seconds: float
    """Of trials that were pruned, guessed."""

    @property
    def total(self) -> float:
        """All of it."""
        return self.device_seconds + self.failed_seconds + self.pruned_seconds


@dataclass(frozen=True)
class Spending:
    """What a sweep's runs have taken so far; a run that several cells use counts once."""

    rows: tuple[Spent, ...] = ()
    of_runs: Mapping[str, float] = field(default_factory=dict)
    """Fit -> its device seconds, failed attempts included."""
    of_studies: Mapping[str, float] = field(default_factory=dict)
    """Study -> those of its trials' fits."""

    @property
    def device_seconds(self) -> float:
        """All of it."""
        return sum(row.total for row in self.rows)


@dataclass
class SpendingReader:
    """What a store's runs have taken; asked again, it reads only what is new."""

    store: Store
    _done: dict[str, Record] = field(default_factory=dict)
    """Those of done runs, which never change."""
    _tried: dict[str, tuple[frozenset[str], list[Record]]] = field(default_factory=dict)
    """Run -> the names of its attempts when they were read, and those."""

    def of_plan(self, plan: Plan) -> Spending:
        """What a sweep has taken: all fits of its plan, and of its studies' trials."""
        runs = {fit.id: fit.what for fit in plan.fits.values()}
        return self.of(runs, {study.id: study.method for study in plan.studies.values()})

    def of(self, runs: Mapping[str, str], studies: Mapping[str, str]) -> Spending:
        """What `runs` (fit -> what it is) and trials of `studies` (study -> method) have taken."""
        files = self.store.run_files()
        trials = {study: self.store.trials(study) for study in studies if study in files}
        tried = {
            fit: f"trial {studies[study]}"
            for study, of_study in trials.items()
            for trial in of_study
            for fit in trial["fits"]
        }
        known = {**tried, **runs}
        self._read({run: names for run, names in files.items() if run in known})
        latest = {run: record for run in known if (record := self._latest(run)) is not None}
        lost = {run: self._lost(run) for run in latest}
        pruned = _pruned(trials, latest)
        grouped: dict[tuple[str, str], list[Record]] = {}
        for run, record in sorted(latest.items()):
            grouped.setdefault((known[run], str(record.about.get("model"))), []).append(record)
        took = {
            run: lost[run]
            + pruned.get(run, 0.0)
            + (record.device_seconds if record.status == "done" else 0.0)
            for run, record in latest.items()
        }
        return Spending(
            tuple(_spent(*key, some, lost=lost, pruned=pruned) for key, some in grouped.items()),
            of_runs=took,
            of_studies={study: _of_study(found, took) for study, found in trials.items()},
        )

    def _read(self, files: Mapping[str, set[str]]) -> None:
        new = {run for run, names in files.items() if "record.json" in names} - self._done.keys()
        if new:
            self._done.update({record.id: record for record in self.store.records(new)})
        for run, names in files.items():
            attempts = frozenset(name for name in names if name.startswith("attempt-"))
            if attempts and self._tried.get(run, (frozenset(), []))[0] != attempts:
                self._tried[run] = attempts, self.store.attempts(run)

    def _latest(self, run: str) -> Record | None:
        """A run's record if it is done, else its last attempt."""
        attempts = self._tried[run][1] if run in self._tried else []
        return self._done.get(run) or (attempts[-1] if attempts else None)

    def _lost(self, run: str) -> float:
        attempts = self._tried[run][1] if run in self._tried else []
        return sum(attempt.device_seconds for attempt in attempts if attempt.status != "done")


def _of_study(trials: Iterable[Mapping[str, Any]], took: Mapping[str, float]) -> float:
    return sum(took.get(fit, 0.0) for fit in dict.fromkeys(f for t in trials for f in t["fits"]))


def _pruned(trials: Trials, latest: Mapping[str, Record]) -> dict[str, float]:
    """Fit of a pruned trial that isn't done -> the device seconds that it is taken to have had."""
    found: dict[str, float] = {}
    for of_study in trials.values():
        done = [
            latest[fit]
            for trial in of_study
            for fit in trial["fits"]
            if fit in latest and latest[fit].status == "done"
        ]
        price = fmean(_an_evaluation(record) for record in done) if done else 0.0
        for trial in of_study:
            reached = len(trial["intermediate"])
            for fit in trial["fits"] if trial["state"] == "pruned" else ():
                record = latest.get(fit)
                if record is None or record.status == "done":
                    reached -= _evaluations(record) if record else 0
                    continue
                found[fit] = price * max(0, min(reached, _evaluations(record)))
                reached -= _evaluations(record)
    return found


def _an_evaluation(record: Record) -> float:
    return record.device_seconds / _evaluations(record)


def _evaluations(record: Record) -> int:
    return FitRecipe.model_validate(record.recipe).training.evaluations


def _spent(
    what: str,
    model: str,
    records: Sequence[Record],
    *,
    lost: Mapping[str, float],
    pruned: Mapping[str, float],
) -> Spent:
    done = [record for record in records if record.status == "done"]
    return Spent(
        what=what,
        model=model,
        runs=len(done),
        device_seconds=sum(record.device_seconds for record in done),
        failed_seconds=sum(lost[record.id] for record in records),
        pruned=sum(record.id in pruned for record in records),
        pruned_seconds=sum(pruned.get(record.id, 0.0) for record in records),
    )
