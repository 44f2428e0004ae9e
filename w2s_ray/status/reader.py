"""Looking at a sweep: once, or again and again, from any process that reaches its store.

Owns what is read from the store and when: a second look reads only what is new. It writes nothing,
and leaves to `join` what the findings mean.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

from w2s_ray.config import Sweep
from w2s_ray.plan import Plan
from w2s_ray.prepare import plan_sweep
from w2s_ray.status.join import StoreState, status_of
from w2s_ray.status.values import Status
from w2s_ray.store import Record, Store
from w2s_ray.store.heartbeats import DriverState, LivenessMonitor, heard
from w2s_ray.store.leases import Leases

LOOK_AGAIN_S = 1.0


class StatusReader:
    """Looks at one sweep in one store."""

    def __init__(self, sweep: Sweep, store: Store) -> None:
        self._sweep = sweep
        self._store = store
        self._plan: Plan | None = None
        self._studies_done: set[str] = set()
        """Those that the plan has the refits of."""
        self._records: dict[str, Record] = {}
        """Those of done runs, which never change."""
        self._trials: dict[str, list[dict[str, Any]]] = {}
        """Those of studies that are done."""
        self._attempts: dict[str, tuple[set[str], tuple[Record, ...]]] = {}
        """Failed run -> its files when its attempts were read, and those."""
        self._hearts = LivenessMonitor()
        self._leases = Leases(store.files)

    def look(self, *, patient: bool = False) -> Status:
        """How far the sweep is now.

        `patient`: where it can't be told whether a driver on another machine lives, wait until it
        can (half a minute at most); else it is taken for alive.
        """
        drivers = self._drivers(patient)
        files = self._store.run_files()
        done = {id_ for id_, names in files.items() if "record.json" in names}
        plan = self._planned(done)
        trials = {study: self._trials_of(study, done) for study in plan.studies}
        runs = {*plan.fits, *plan.studies}
        of_trials = {fit for found in trials.values() for trial in found for fit in trial["fits"]}
        self._read_records((runs | of_trials) & done)
        done -= (runs | of_trials) - self._records.keys()  # their records are damaged
        return status_of(
            StoreState(
                plan=plan,
                store=self._store.uri,
                known=bool(files.keys() & runs),
                drivers=tuple(drivers),
                done=frozenset(runs & done),
                records=self._records,
                tried=self._tried({id_: files[id_] for id_ in runs & files.keys() - done}),
                trials=trials,
                holder=self._leases.held,
            )
        )

    def _planned(self, done: set[str]) -> Plan:
        """The plan; it grows when a study ends."""
        plan = self._plan
        if plan is None or done & plan.studies.keys() != self._studies_done:
            inputs = plan.inputs if plan is not None else None
            plan = plan_sweep(self._sweep, store=self._store, inputs=inputs)
            self._plan, self._studies_done = plan, done & plan.studies.keys()
        return plan

    def _drivers(self, patient: bool) -> list[tuple[DriverState, bool]]:
        """The sweep's drivers, and whether each lives."""
        while True:
            news = [n for n in heard(self._store.files) if n.about.get("sweep") == self._sweep.name]
            hearts = [self._hearts.heart(each) for each in news]
            if not patient or "unsure" not in hearts:
                return [(n, heart != "silent") for n, heart in zip(news, hearts, strict=True)]
            time.sleep(LOOK_AGAIN_S)

    def _trials_of(self, study: str, done: set[str]) -> list[dict[str, Any]]:
        if study in self._trials:
            return self._trials[study]
        found = self._store.trials(study)
        if study in done:
            self._trials[study] = found
        return found

    def _read_records(self, done: set[str]) -> None:
        new = done - self._records.keys()
        if new:
            self._records.update({record.id: record for record in self._store.records(new)})

    def _tried(self, files: Mapping[str, set[str]]) -> dict[str, tuple[Record, ...]]:
        """The attempts of runs with these files that are not done, where the last one failed."""
        latest = self._store.latest(files) if files else ()
        failed = {record.id for record in latest if record.status == "failed"}
        for id_ in failed:
            known, _ = self._attempts.get(id_, (set(), ()))
            if known != files[id_]:
                self._attempts[id_] = files[id_], tuple(self._store.attempts(id_))
        return {id_: self._attempts[id_][1] for id_ in failed}
