"""States of drivers are written, read and removed, and drivers are judged alive or dead by them.

A holder with another host's name stands for a driver on another machine.
"""

from __future__ import annotations

import subprocess
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from w2s_ray.store import Store
from w2s_ray.store import heartbeats as module
from w2s_ray.store.heartbeats import (
    DriverState,
    LivenessMonitor,
    read_driver_states,
    remove_driver_state,
    write_driver_state,
)
from w2s_ray.store.leases import Holder


def a_state(holder: Holder, *, beat: int = 1, age_s: float = 0.0) -> DriverState:
    moment = datetime.now(UTC) - timedelta(seconds=age_s)
    return DriverState(
        holder=holder, beat=beat, written_at=moment.isoformat(), about={"sweep": "tiny"}
    )


def another_machine() -> Holder:
    return Holder.here().model_copy(update={"host": "another/boot/namespace"})


@pytest.fixture
def ended() -> Holder:
    """A process of this machine that has ended."""
    with subprocess.Popen(["true"]) as process:
        process.wait()
    here = Holder.here()
    return here.model_copy(update={"pid": process.pid, "started": "1"})


def test_a_driver_state_is_replaced_and_removed(tmp_path: Path):
    store, me, other = Store.open(tmp_path), Holder.here(), another_machine()
    store.check_writable()
    write_driver_state(store.files, a_state(me, beat=1, age_s=3))
    write_driver_state(store.files, a_state(me, beat=2))
    write_driver_state(store.files, a_state(other, age_s=60))
    assert [(n.driver, n.beat) for n in read_driver_states(store.files)] == [
        (other.token, 1),
        (me.token, 2),
    ]
    assert read_driver_states(store.files)[0].host == "another"
    assert store.work.fit_ids() == set()
    remove_driver_state(store.files, me.token)
    remove_driver_state(store.files, me.token)
    assert [n.driver for n in read_driver_states(store.files)] == [other.token]


def test_driver_states_work_on_an_object_store(s3_store: str):
    store, me = Store.open(s3_store), Holder.here()
    store.check_writable()
    write_driver_state(store.files, a_state(me, beat=1))
    write_driver_state(store.files, a_state(me, beat=2))
    assert [n.beat for n in read_driver_states(Store.open(s3_store).files)] == [2]
    assert store.work.fit_ids() == set()
    remove_driver_state(store.files, me.token)
    assert read_driver_states(store.files) == []


def test_a_state_with_a_future_time_sorts_first(tmp_path: Path):
    store, wrong, right = Store.open(tmp_path), another_machine(), another_machine()
    wrong = wrong.model_copy(update={"token": "wrong"})
    write_driver_state(store.files, a_state(wrong, age_s=-1e9))
    write_driver_state(store.files, a_state(right, age_s=60))
    assert [n.driver for n in read_driver_states(store.files)] == [wrong.token, right.token]


def test_a_file_with_other_content_is_left_out(tmp_path: Path):
    store = Store.open(tmp_path)
    store.files.write("work/live/strange.json", b'{"of": "another version"}')
    assert read_driver_states(store.files) == []


def test_a_process_of_this_machine_is_alive_or_dead(ended: Holder):
    assert LivenessMonitor().liveness(a_state(Holder.here())) == "alive"
    assert LivenessMonitor().liveness(a_state(ended)) == "dead"


def test_a_recent_or_old_state_of_another_machine_is_decisive():
    assert LivenessMonitor().liveness(a_state(another_machine(), age_s=2)) == "alive"
    assert LivenessMonitor().liveness(a_state(another_machine(), age_s=3600)) == "dead"


@pytest.mark.parametrize("age_s", [120, -120])
def test_otherwise_a_driver_with_a_new_state_is_alive(age_s: float):
    monitor, driver = LivenessMonitor(), another_machine()
    assert monitor.liveness(a_state(driver, beat=7, age_s=age_s)) == "unknown"
    assert monitor.liveness(a_state(driver, beat=8, age_s=age_s)) == "alive"


@pytest.mark.parametrize("age_s", [120, -120, 0])
def test_a_driver_without_a_new_state_for_long_is_dead(monkeypatch, age_s: float):
    monitor, last = LivenessMonitor(), a_state(another_machine(), age_s=age_s)
    monitor.liveness(last)
    now = module.time.monotonic()
    monkeypatch.setattr(module.time, "monotonic", lambda: now + module.SILENT_S + 1)
    assert monitor.liveness(last) == "dead"
