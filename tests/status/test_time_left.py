"""The remaining time for a driver: the estimate of `w2s status`, from the same records."""

from __future__ import annotations

import threading
import time
from pathlib import Path

import pytest

from tests.status.test_join import PLAN, STUDENTS, STUDY, SUPERVISORS, record
from w2s_ray.plan import PlannedFit
from w2s_ray.status.remaining import FitToDo, estimate_remaining, fits_to_do
from w2s_ray.status.run_state import ProgressSnapshot, RunState
from w2s_ray.status.study_overhead import LAST, study_overhead
from w2s_ray.status.time_left import SweepProgress, TimeLeft
from w2s_ray.store import Record, Store


def progress(*done: PlannedFit, snapshot: ProgressSnapshot | None = None) -> SweepProgress:
    ids = frozenset(fit.id for fit in done)
    return SweepProgress(PLAN, ids, frozenset(), snapshot or ProgressSnapshot(), at_once=2)


def estimated(store: Store, *done: PlannedFit, snapshot: ProgressSnapshot | None = None) -> float:
    left = TimeLeft(store)
    left.estimate(progress(*done, snapshot=snapshot))
    seconds = left.seconds()
    assert seconds is not None
    return seconds


def test_there_is_none_before_the_first_fit_has_ended(tmp_path: Path):
    left = TimeLeft(Store.open(tmp_path))
    assert left.seconds() is None
    left.estimate(progress())
    assert left.seconds() is None


def test_it_is_the_estimate_of_the_status_and_includes_reading(tmp_path: Path):
    store, (first, *_) = Store.open(tmp_path), SUPERVISORS
    probe = record(first, seconds=100.0, summary={"setup_seconds": 90.0})
    store.write_run(probe)
    pending = {*PLAN.fits, *PLAN.studies} - {first.id}
    todo = fits_to_do(PLAN, pending=pending, lost=(), ended={STUDY.id: 0})
    expected = estimate_remaining(todo, finished=[probe], running=(), at_once=2)
    assert expected is not None
    assert expected.seconds is not None
    others = {(fit.task, fit.model) for fit in todo} - {(first.task, first.source.name)}
    assert expected.seconds == pytest.approx((10 * len(todo) + 90 * len(others)) / 2)
    assert estimated(store, first) == pytest.approx(expected.seconds, abs=5)


def done(kind: str, start: int, end: int, **about: str) -> Record:
    times = (f"2026-01-01T00:{at // 60:02}:{at % 60:02}Z" for at in (start, end))
    at = dict(zip(("started_at", "ended_at"), times, strict=True))
    return Record.model_validate(
        {
            **{"id": f"{kind}{start}", "kind": kind, "status": "done", "recipe": {}, **at},
            **{"seconds": end - start, "device_seconds": end - start, "identity_version": 1},
            **{"about": {"task": "a", "model": "m", **about}, "summary": {}},
        }
    )


def test_studies_take_time_in_which_nothing_is_trained():
    fits = [done("fit", 0, 10), done("fit", 12, 14), done("fit", 15, 17), done("fit", 40, 42)]
    studies = [done("study", 10, 20), done("study", 15, 30)]
    todo = [FitToDo("a", "m", None)] * 4
    without = estimate_remaining(todo, finished=fits, running=(), at_once=2)
    left = estimate_remaining(todo, finished=[*fits, *studies], running=(), at_once=2, studies=3)
    assert left is not None
    assert without is not None
    of_fits = 4 * 4 / 2
    assert without.seconds == pytest.approx(of_fits)
    each = (2 * (30 - 10) - 2 - 2) / 2  # of two devices, while a study ran
    assert left.seconds == pytest.approx(of_fits + 3 * each / 2)


def test_the_time_of_a_study_is_that_of_the_last_ones():
    """The first ones waited for one fit that read the rows, which filled both devices."""
    fits = [done("fit", 0, 600), done("fit", 1, 600)]
    studies = [done("study", 0, 600 + n) for n in range(5)]
    later = [done("study", 604 + 10 * n, 614 + 10 * n) for n in range(LAST)]
    of_later = [done("fit", study_at, study_at + 2) for study_at in range(604, 804, 10)]
    assert study_overhead(studies, fits, at_once=2) == pytest.approx(2 * 4 / 5, abs=0.5)
    found = study_overhead([*studies, *later], [*fits, *of_later], at_once=2)
    assert found == pytest.approx(2 * 10 - 2)


def test_a_method_that_always_prepares_itself_longer_is_expected_to():
    """The setup of each fit takes 5 s with the method `slow`, and none with `fast`."""
    slow = [done("fit", at, at + 6, method="slow") for at in range(0, 36, 6)]
    slow = [each.model_copy(update={"summary": {"setup_seconds": 5.0}}) for each in slow]
    fast = [done("fit", at, at + 1, method="fast") for at in range(40, 60)]
    for method, seconds in (("slow", 6.0), ("fast", 1.0)):
        todo = [FitToDo("a", "m", method)] * 4
        left = estimate_remaining(todo, finished=[*slow, *fast], running=(), at_once=2)
        assert left is not None
        assert left.seconds == pytest.approx(4 * seconds / 2)


def test_steps_of_running_fits_and_ended_trials_count(tmp_path: Path):
    store, (first, *_) = Store.open(tmp_path), SUPERVISORS
    store.write_run(record(first, seconds=1000.0))
    whole = estimated(store, first)
    student = STUDENTS[0]
    method = "/".join(student.methods)
    about = {"task": student.task, "model": student.source.name, "method": method}
    snapshot = ProgressSnapshot(
        run_states={student.id: RunState(about, "running", 0.0)}, steps={student.id: (5, 10)}
    )
    assert whole - estimated(store, first, snapshot=snapshot) == pytest.approx(250, abs=5)
    store.write_trial(STUDY.id, 0, {"number": 0, "state": "pruned", "value": None, "fits": []})
    assert whole - estimated(store, first) == pytest.approx(500, abs=5)


def test_it_counts_down_and_ends_at_zero(tmp_path: Path, monkeypatch):
    store, (first, *_) = Store.open(tmp_path), SUPERVISORS
    store.write_run(record(first, seconds=10.0))
    left = TimeLeft(store)
    left.estimate(progress(first))
    before = left.seconds()
    assert before is not None
    clock = time.monotonic() + 7
    monkeypatch.setattr("w2s_ray.status.time_left.time.monotonic", lambda: clock)
    assert left.seconds() == pytest.approx(before - 7, abs=2)
    monkeypatch.setattr("w2s_ray.status.time_left.time.monotonic", lambda: clock + 1e6)
    assert left.seconds() == 0.0


def test_records_are_read_once(tmp_path: Path, monkeypatch):
    store, (first, second, *_) = Store.open(tmp_path), SUPERVISORS
    for fit in (first, second):
        store.write_run(record(fit))
    read: list[set[str]] = []
    records = Store.records

    def counted(store: Store, ids: set[str]):
        read.append(set(ids))
        return records(store, ids)

    monkeypatch.setattr(Store, "records", counted)
    left = TimeLeft(store)
    left.estimate(progress(first))
    left.estimate(progress(first, second))
    left.estimate(progress(first, second))
    assert read == [{first.id}, {second.id}]


def test_a_thread_estimates_while_the_sweep_runs(tmp_path: Path, monkeypatch):
    monkeypatch.setattr("w2s_ray.status.time_left.MIN_INTERVAL_S", 0.01)
    store, (first, *_) = Store.open(tmp_path), SUPERVISORS
    store.write_run(record(first))
    left, twice = TimeLeft(store), threading.Semaphore(0)

    def seen() -> SweepProgress:
        twice.release()
        return progress(first)

    with left.following(seen):
        for _ in range(2):
            assert twice.acquire(timeout=60)
        assert left.seconds() is not None
