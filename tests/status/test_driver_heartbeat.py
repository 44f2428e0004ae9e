"""A driver's heartbeat: written while it runs, then removed, harmless where the store fails."""

from __future__ import annotations

import subprocess
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from w2s_ray.status import driver_heartbeat as heartbeat_module
from w2s_ray.status.driver_heartbeat import DriverHeartbeat, driver_state
from w2s_ray.status.run_state import ProgressSnapshot, RunState
from w2s_ray.store import Store
from w2s_ray.store.heartbeats import DriverState, read_driver_states, write_driver_state
from w2s_ray.store.leases import Holder


@pytest.fixture(autouse=True)
def often(monkeypatch):
    monkeypatch.setattr(heartbeat_module, "EVERY_S", 0.05)


def until(true: Callable[[], object]) -> None:
    deadline = time.monotonic() + 10
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_it_writes_the_last_state_and_removes_it_at_the_end(tmp_path: Path):
    store = Store.open(tmp_path)
    with DriverHeartbeat(store, sweep="tiny") as heartbeat:
        until(lambda: read_driver_states(store.files))
        (first,) = read_driver_states(store.files)
        assert (first.about["sweep"], first.about["phase"]) == ("tiny", "starting Ray")
        heartbeat.update({"phase": "running", "watched": ["run"]})
        until(lambda: read_driver_states(store.files)[0].about["phase"] == "running")
        assert read_driver_states(store.files)[0].about["watched"] == ["run"]
        beat = read_driver_states(store.files)[0].beat
        until(lambda: read_driver_states(store.files)[0].beat > beat)
    assert read_driver_states(store.files) == []


def test_errors_of_the_store_are_not_raised(tmp_path: Path):
    (tmp_path / "results").write_text("a file where the store should be")
    with DriverHeartbeat(Store(str(tmp_path / "results")), sweep="tiny") as heartbeat:
        heartbeat.update({"phase": "running"})
        time.sleep(0.2)


def test_a_store_without_replies_delays_the_end_only_briefly(tmp_path, monkeypatch):
    never = threading.Event()
    monkeypatch.setattr(heartbeat_module, "write_driver_state", lambda files, state: never.wait())
    monkeypatch.setattr(heartbeat_module, "END_S", 0.2)
    began = time.monotonic()
    with DriverHeartbeat(Store.open(tmp_path), sweep="tiny") as heartbeat:
        heartbeat.update({"phase": "running"})
    assert time.monotonic() - began < 5
    never.set()


def test_states_of_dead_drivers_are_removed(tmp_path: Path):
    store = Store.open(tmp_path)
    with subprocess.Popen(["true"]) as process:
        process.wait()
    dead = Holder.here().model_copy(update={"pid": process.pid, "started": "1"})
    far = dead.model_copy(update={"host": "another/boot/namespace", "token": "far"})
    now = heartbeat_module.utc_now()
    for holder, said_at in ((dead, now), (far, "2130-01-01T00:00:00Z"), (Holder.here(), now)):
        state = DriverState(holder=holder, beat=1, written_at=said_at, about={"sweep": "other"})
        write_driver_state(store.files, state)
    with DriverHeartbeat(store, sweep="tiny"):
        until(lambda: len({n.about["sweep"] for n in read_driver_states(store.files)}) == 2)
        until(lambda: not {dead.token, "far"} & {n.driver for n in read_driver_states(store.files)})
    assert [n.about["sweep"] for n in read_driver_states(store.files)] == ["other"]


def test_a_drivers_state_has_each_runs_description_and_progress():
    snapshot = ProgressSnapshot(
        run_states={
            "fit": RunState({"task": "words"}, "running", 12.0, "node, GPU 0"),
            "other": RunState({"task": "words"}, "waiting", 13.0),
        },
        steps={"fit": (3, 16)},
    )
    state = driver_state(
        snapshot, monitored={"fit": 1, "other": 2}, failed={"lost": "why"}, at_once=2
    )
    assert (state["watched"], state["failed"], state["at_once"]) == (["fit", "other"], ["lost"], 2)
    fit, other = state["runs"]
    assert (fit["run"], fit["task"], fit["step"], fit["steps"]) == ("fit", "words", 3, 16)
    assert (fit["place"], fit["since"]) == ("node, GPU 0", 12.0)
    assert (other["state"], other["step"]) == ("waiting", None)
