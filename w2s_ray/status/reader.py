"""Reading a sweep's status, once or regularly, from any process with access to its store.

Owns what is read from the store and when: a second read loads only what is new. `join` computes the
status.
"""

from __future__ import annotations

import time
from collections.abc import Mapping

from w2s_ray.config import Sweep
from w2s_ray.plan import Plan
from w2s_ray.prepare import plan_sweep
from w2s_ray.status.finished import FinishedRuns, fits_of
from w2s_ray.status.join import StoreState, status_of
from w2s_ray.status.values import Status
from w2s_ray.store import Record, Store
from w2s_ray.store.heartbeats import DriverState, LivenessMonitor, read_driver_states
from w2s_ray.store.leases import Leases

LIVENESS_POLL_S = 1.0


class StatusReader:
    """Reads the status of one sweep from one store."""

    def __init__(self, sweep: Sweep, store: Store) -> None:
        self._sweep = sweep
        self._store = store
        self._plan: Plan | None = None
        self._studies_done: set[str] = set()
        """Those whose refits the plan has."""
        self._finished = FinishedRuns(store)
        self._attempts: dict[str, tuple[set[str], tuple[Record, ...]]] = {}
        """Failed run -> its files when its attempts were read, and the attempts."""
        self._monitor = LivenessMonitor()
        self._leases = Leases(store.files)

    def look(self, *, patient: bool = False) -> Status:
        """The sweep's present status.

        Whether a driver on another machine is alive can be uncertain for half a minute. `patient`
        waits until it is certain; otherwise such a driver counts as alive.
        """
        drivers = self._drivers(patient)
        files = self._store.run_files()
        done = {id_ for id_, names in files.items() if "record.json" in names}
        plan = self._planned(done)
        trials = self._finished.trials(plan, done)
        runs = {*plan.fits, *plan.studies}
        of_trials, records = fits_of(trials), self._finished.records
        self._finished.read((runs | of_trials) & done)
        done -= (runs | of_trials) - records.keys()  # their records are damaged
        not_done = runs & files.keys() - done
        return status_of(
            StoreState(
                plan=plan,
                store=self._store.uri,
                known=bool(files.keys() & runs),
                drivers=tuple(drivers),
                done=frozenset(runs & done),
                records=records,
                attempts=self._failed_attempts({id_: files[id_] for id_ in not_done}),
                trials=trials,
                holder=self._leases.holder,
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
        """The sweep's drivers, and whether each is alive."""
        while True:
            every = read_driver_states(self._store.files)
            drivers = [driver for driver in every if driver.about.get("sweep") == self._sweep.name]
            states = [self._monitor.liveness(driver) for driver in drivers]
            if not patient or "unknown" not in states:
                return [(d, state != "dead") for d, state in zip(drivers, states, strict=True)]
            time.sleep(LIVENESS_POLL_S)

    def _failed_attempts(self, files: Mapping[str, set[str]]) -> dict[str, tuple[Record, ...]]:
        """The attempts of the runs with these `files` whose last attempt failed."""
        latest = self._store.latest(files) if files else ()
        failed = {record.id for record in latest if record.status == "failed"}
        for id_ in failed:
            known, _ = self._attempts.get(id_, (set(), ()))
            if known != files[id_]:
                self._attempts[id_] = files[id_], tuple(self._store.attempts(id_))
        return {id_: self._attempts[id_][1] for id_ in failed}
