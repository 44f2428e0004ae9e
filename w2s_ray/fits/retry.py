"""Retries of a run until it is done, has failed for good, or has no retry left.

Owns the one loop of attempts that fits and studies share. The caller gives the attempt; Ray is
handled elsewhere.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable
from dataclasses import dataclass

from w2s_ray.fits.failures import Retries
from w2s_ray.fits.outcome import failure_record, outcome_record
from w2s_ray.plan import PlannedFit, PlannedStudy
from w2s_ray.store import Record, Store

ELSEWHERE_S = 2.0
"""Seconds between two checks of a run that another process works on."""


STOPPED = "the sweep was stopped"


@dataclass(frozen=True)
class RunningElsewhere:
    """Another process works on this run."""


def settled(
    run: PlannedFit | PlannedStudy,
    *,
    store: Store,
    retries: int,
    attempt: Callable[[], Record | RunningElsewhere],
    failed: Callable[[Record], Record] = lambda record: record,
    changed: Callable[[Record], bool] = lambda record: False,
    is_stopping: Callable[[], bool] = lambda: False,
) -> Record:
    """The record of `run`, which is tried unless the store has it: done, or its last failure.

    `retries` bounds further attempts for each cause. `failed` may correct the record of an attempt
    that raised. `changed` may change how the run is executed, so that a failure does not recur;
    where it returns true, the next attempt counts as no retry. An attempt that raised while
    `is_stopping` is true is recorded as stopped, and is not tried again.
    """
    again, unwritten = Retries(retries), list[Record]()
    while True:
        _write(unwritten, store)
        started = time.time()
        try:
            ended = store.find(run.id) or attempt()
        except Exception as error:  # noqa: BLE001 - a failure becomes a record
            if is_stopping():
                return outcome_record(run, status="stopped", reason=STOPPED, started=started)
            ended = failed(failure_record(run, error, started=started))
        if isinstance(ended, RunningElsewhere):
            time.sleep(ELSEWHERE_S)
            continue
        if ended.status == "done":
            return ended
        unwritten.append(ended)
        _write(unwritten, store)
        if changed(ended):
            continue
        if not again.allow(ended.cause):
            return ended
        time.sleep(again.pause_s(ended.cause))


def _write(attempts: list[Record], store: Store) -> None:
    """Write `attempts` and drop those that were written.

    The failure of an attempt may keep its record from being written, too; the record is written
    with the next attempt's.
    """
    with contextlib.suppress(OSError):
        while attempts:
            store.write_attempt(attempts[0])
            del attempts[0]
