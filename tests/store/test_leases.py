from __future__ import annotations

import json
import multiprocessing
import os
import signal
import threading
import time

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from w2s_ray.store import leases as module
from w2s_ray.store.files import LocalFiles, open_files
from w2s_ray.store.leases import Claim, Holder, Leases

SPAWN = multiprocessing.get_context("spawn")
ELSEWHERE = Holder(host="elsewhere/boot/pid:[1]", pid=1, started="1", token="t")


def a_claim(files, name: str, holder: Holder, *, beat: int = 0, ttl_s: float = 60.0) -> None:
    claim = Claim(holder=holder, beat=beat, ttl_s=ttl_s)
    files.write(f"work/claims/{name}.json", claim.to_json())


def hold(uri: str, name: str, ttl_s: float, told, end) -> None:
    """Take a lease, say so, and once told to go on, say whether it is lost."""
    lease = Leases(open_files(uri), ttl_s=ttl_s).take(name)
    told.put(lease is not None)
    end.wait(60)
    told.put(lease.lost)


def race(uri: str, names: list[str], barrier, told) -> None:
    leases = Leases(open_files(uri))
    leases.held("nothing")
    won = []
    for name in names:
        barrier.wait(60)
        if leases.take(name) is not None:
            won.append(name)
    told.put(won)
    barrier.wait(60)  # whoever ends first would free its leases


@pytest.fixture
def holding():
    """Starts a process that takes a lease and holds it."""
    started = []

    def start(uri: str, name: str, *, ttl_s: float = 60.0):
        told, end = SPAWN.Queue(), SPAWN.Event()
        process = SPAWN.Process(target=hold, args=(uri, name, ttl_s, told, end))
        process.start()
        started.append(process)
        assert told.get(timeout=60)
        return process, told, end

    yield start
    for process in started:
        process.kill()
        process.join()


def test_a_lease_is_held_until_it_is_released(any_files):
    mine, others = Leases(any_files), Leases(any_files)
    assert mine.held("fit") is None
    with mine.take("fit") as lease:
        assert lease.taken_over is None
        assert not lease.lost
        assert others.take("fit") is None
        assert mine.take("fit") is None
        assert others.held("fit") == lease.holder
        assert others.take("other") is not None
    assert others.held("fit") is None
    assert any_files.find("work/claims") == ["work/claims/other.json"]
    again = others.take("fit")
    assert again is not None
    lease.release()
    assert others.held("fit") == again.holder


def test_beats_keep_a_lease_beyond_its_time_to_live(any_files):
    lease = Leases(any_files, ttl_s=1.5).take("fit")
    watcher = Leases(any_files)
    until = time.monotonic() + 3.5
    while time.monotonic() < until:
        assert watcher.take("fit") is None
        time.sleep(0.05)
    assert not lease.lost
    lease.release()


def test_a_holder_elsewhere_is_waited_for_by_our_own_clock(any_files):
    a_claim(any_files, "fit", ELSEWHERE, ttl_s=0.4)
    leases = Leases(any_files)
    assert leases.take("fit") is None
    time.sleep(0.25)
    a_claim(any_files, "fit", ELSEWHERE, ttl_s=0.4, beat=1)
    assert leases.take("fit") is None
    time.sleep(0.25)
    assert leases.held("fit") == ELSEWHERE
    time.sleep(0.2)
    assert leases.held("fit") is None
    lease = leases.take("fit")
    assert lease.taken_over == ELSEWHERE


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=st.lists(st.tuples(st.floats(0, 50), st.booleans()), max_size=12))
def test_a_lease_is_free_exactly_when_unchanged_for_its_ttl(tmp_path, monkeypatch, steps):
    """Whatever the looks (after some seconds, after a beat or without): by a simulated clock."""
    files, now = LocalFiles(tmp_path), 1000.0
    monkeypatch.setattr(module.time, "monotonic", lambda: now)
    leases, beat = Leases(files), 0
    a_claim(files, "fit", ELSEWHERE, beat=0)
    assert leases.held("fit") == ELSEWHERE
    first_seen = now
    for seconds, beaten in steps:
        now += seconds
        if beaten:
            beat += 1
            a_claim(files, "fit", ELSEWHERE, beat=beat)
            first_seen = now
        assert (leases.held("fit") is None) == (now - first_seen >= 60.0)


def test_of_racing_processes_exactly_one_wins(any_uri):
    if any_uri.startswith("memory:"):
        pytest.skip("memory is not shared by processes")
    files, rounds = open_files(any_uri), 30
    fresh = [f"fresh-{n}" for n in range(rounds)]
    dead = [f"dead-{n}" for n in range(rounds)]
    ended = Holder.here().model_copy(update={"started": "0"})
    for name in dead:
        a_claim(files, name, ended)
    barrier, told = SPAWN.Barrier(2), SPAWN.Queue()
    racers = [
        SPAWN.Process(target=race, args=(any_uri, fresh + dead, barrier, told)) for _ in range(2)
    ]
    for racer in racers:
        racer.start()
    won = [told.get(timeout=60), told.get(timeout=60)]
    for racer in racers:
        racer.join(60)
    assert sorted(won[0] + won[1]) == sorted(fresh + dead)


def test_of_racing_threads_exactly_one_wins(any_files):
    any_files.exists("x")
    for turn in range(5):
        barrier, won = threading.Barrier(4), []

        def take(name=f"fit-{turn}", barrier=barrier, won=won):
            barrier.wait()
            if (lease := Leases(any_files).take(name)) is not None:
                won.append(lease)

        threads = [threading.Thread(target=take) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(won) == 1


def test_a_killed_holder_frees_at_once_on_its_host(tmp_path, holding):
    process, _, _ = holding(str(tmp_path), "fit")
    leases = Leases(LocalFiles(tmp_path))
    holder = leases.held("fit")
    assert holder.pid == process.pid
    assert leases.take("fit") is None
    process.kill()
    while not holder.is_dead():  # its parent has not noticed: it is a zombie now
        time.sleep(0.01)
    lease = leases.take("fit")
    assert lease.taken_over == holder


def test_a_suspended_holder_loses_its_lease_and_sees_it(tmp_path, holding):
    process, told, end = holding(str(tmp_path), "fit", ttl_s=1.0)
    leases = Leases(LocalFiles(tmp_path))
    os.kill(process.pid, signal.SIGSTOP)
    assert leases.take("fit") is None
    began = time.monotonic()
    while (lease := leases.take("fit")) is None:
        time.sleep(0.02)
    assert time.monotonic() - began >= 0.9
    assert lease.taken_over.pid == process.pid
    os.kill(process.pid, signal.SIGCONT)
    end.set()
    assert told.get(timeout=60) is True
    process.join(60)
    assert leases.held("fit") == lease.holder


def test_a_beat_sees_that_somebody_else_has_it(any_files):
    lease = Leases(any_files).take("fit")
    a_claim(any_files, "fit", ELSEWHERE)
    assert not lease.lost
    lease.beat()
    assert lease.lost
    lease.release()
    assert Leases(any_files).held("fit") == ELSEWHERE


def test_what_cannot_be_renewed_is_lost_and_stays_so(tmp_path, monkeypatch, caplog):
    lease = Leases(LocalFiles(tmp_path), ttl_s=0.4).take("fit")

    def away(*_, **__):
        raise OSError("away")

    monkeypatch.setattr(LocalFiles, "read_versioned", away)
    while not lease.lost:
        time.sleep(0.02)
    monkeypatch.undo()
    lease.beat()
    assert lease.lost
    assert "was not renewed: away" in caplog.text


def test_a_process_that_reuses_a_pid_is_another_holder():
    mine = Holder.here()
    assert not mine.is_dead()
    assert mine.model_copy(update={"started": "0"}).is_dead()
    assert not ELSEWHERE.is_dead()
    assert Holder.here() != mine


def test_a_child_does_not_hold_its_parents_lease(tmp_path):
    lease = Leases(LocalFiles(tmp_path), ttl_s=0.4).take("fit")
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        os.write(write, str(len(module._HEART._leases)).encode())
        os._exit(0)
    os.waitpid(child, 0)
    assert os.read(read, 9) == b"0"
    lease.release()


def test_a_damaged_claim_is_named(tmp_path):
    files = LocalFiles(tmp_path)
    files.write("work/claims/fit.json", json.dumps({"holder": 1}).encode())
    with pytest.raises(ValueError, match=r"fit\.json .*no claim"):
        Leases(files).take("fit")
