"""The finished fits of a sweep, read from its store again and again: each record is read once.

Owns what is kept between two reads. `remaining` estimates from these records, `join` shows them.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import Any

from w2s_ray.plan import Plan
from w2s_ray.store import Record, Store

Trials = Mapping[str, list[dict[str, Any]]]
"""Study -> its ended trials."""


class FinishedRuns:
    """The records of finished runs, and the trials of studies."""

    def __init__(self, store: Store) -> None:
        self.records: dict[str, Record] = {}
        """Those of done runs, which never change."""
        self._store = store
        self._trials: dict[str, list[dict[str, Any]]] = {}
        """Those of studies that are done."""

    def trials(self, plan: Plan, done: Collection[str]) -> Trials:
        """The ended trials of the plan's studies."""
        return {study: self._trials_of(study, done) for study in plan.studies}

    def read(self, done: Iterable[str]) -> None:
        """Read the records of done runs that are not known yet; damaged ones are left out."""
        new = set(done) - self.records.keys()
        if new:
            self.records.update({record.id: record for record in self._store.records(new)})

    def _trials_of(self, study: str, done: Collection[str]) -> list[dict[str, Any]]:
        if study in self._trials:
            return self._trials[study]
        trials = self._store.trials(study)
        if study in done:
            self._trials[study] = trials
        return trials


def fits_of(trials: Trials) -> set[str]:
    """The fits of all trials."""
    return {fit for found in trials.values() for trial in found for fit in trial["fits"]}
