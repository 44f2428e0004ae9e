"""Retries of a run until it is done or has failed, with every attempt in the store."""

from __future__ import annotations

import errno
from pathlib import Path

import pytest

from tests.learn.tiny import recipe_of, source_of
from w2s_ray.config import Execution
from w2s_ray.fits import retry
from w2s_ray.fits.outcome import outcome_record
from w2s_ray.plan import PlannedFit
from w2s_ray.store import Record, Store


def a_fit() -> PlannedFit:
    recipe = recipe_of()
    return PlannedFit(
        id=recipe.run_id,
        recipe=recipe,
        source=source_of(Path("nowhere"), "tiny"),
        execution=Execution(),
        task="task",
        roles=("student",),
    )


def full() -> OSError:
    return OSError(errno.ENOSPC, "disk full")


@pytest.mark.parametrize("full_writes", [0, 1, 3])
def test_an_attempt_that_could_not_be_written_is_counted_once_there_is_room(
    tmp_path, monkeypatch, full_writes
):
    monkeypatch.setattr(retry.time, "sleep", lambda seconds: None)
    store, fit, writes = Store.open(tmp_path), a_fit(), iter(range(100))
    write = Store.write_attempt

    def write_if_there_is_room(self: Store, record: Record) -> None:
        if next(writes) < full_writes:
            raise full()
        write(self, record)

    monkeypatch.setattr(Store, "write_attempt", write_if_there_is_room)
    left = [full(), full()]

    def attempt() -> Record:
        if left:
            raise left.pop()
        return outcome_record(fit, status="done", earlier=store.attempts(fit.id))

    ended = retry.settled(fit, store=store, retries=2, attempt=attempt)
    assert (ended.status, ended.attempts, ended.retries) == ("done", 3, {"disk_full": 2})


def test_failures_that_would_repeat_are_not_retried(tmp_path):
    store, fit, tried = Store.open(tmp_path), a_fit(), []

    def attempt() -> Record:
        tried.append(1)
        raise KeyError("a bug")

    ended = retry.settled(fit, store=store, retries=5, attempt=attempt)
    assert (ended.cause, len(tried)) == ("error", 1)
    assert [a.cause for a in store.attempts(fit.id)] == ["error"]
