from __future__ import annotations

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
from w2s_ray.store.leases import LONGEST_S, Claim, Holder, Leases

SPAWN = multiprocessing.get_context("spawn")
ELSEWHERE = Holder(host="elsewhere/boot/pid:[1]", pid=1, started="1", token="t")

CLAIM = (
    '{"holder": {"host": "elsewhere/b/n", "pid": %s, "started": null, "token": "t"},'
    ' "beat": 0, "ttl_s": %s}'
)
"""A claim's JSON, without its pid and its time-to-live."""


def a_claim(files, name: str, holder: Holder, *, beat: int = 0, ttl_s: float = 60.0) -> None:
    claim = Claim(holder=holder, beat=beat, ttl_s=ttl_s)
    files.write(f"work/claims/{name}.json", claim.to_json())


def hold(uri: str, name: str, ttl_s: float, results, end) -> None:
    """Acquire a lease and report whether that succeeded; after `end`, report whether it is lost."""
    lease = Leases(open_files(uri), ttl_s=ttl_s).acquire(name)
    results.put(lease is not None)
    end.wait(60)
    results.put(lease.lost)


def race(uri: str, names: list[str], barrier, results) -> None:
    leases = Leases(open_files(uri))
    leases.holder("nothing")
    won = []
    for name in names:
        barrier.wait(60)
        if leases.acquire(name) is not None:
            won.append(name)
    results.put(won)
    barrier.wait(60)  # a process that ends would free its leases


@pytest.fixture
def holding():
    """Starts a process that acquires a lease and holds it."""
    started = []

    def start(uri: str, name: str, *, ttl_s: float = 60.0):
        results, end = SPAWN.Queue(), SPAWN.Event()
        process = SPAWN.Process(target=hold, args=(uri, name, ttl_s, results, end))
        process.start()
        started.append(process)
        assert results.get(timeout=60)
        return process, results, end

    yield start
    for process in started:
        process.kill()
        process.join()


def test_a_lease_is_held_until_it_is_released(any_files):
    mine, others = Leases(any_files), Leases(any_files)
    assert mine.holder("fit") is None
    with mine.acquire("fit") as lease:
        assert lease.previous_holder is None
        assert not lease.lost
        assert others.acquire("fit") is None
        assert mine.acquire("fit") is None
        assert others.holder("fit") == lease.holder
        assert others.acquire("other") is not None
    assert others.holder("fit") is None
    assert any_files.find("work/claims") == ["work/claims/other.json"]
    again = others.acquire("fit")
    assert again is not None
    lease.release()
    assert others.holder("fit") == again.holder


def test_renewals_keep_a_lease_beyond_its_time_to_live(any_files):
    lease = Leases(any_files, ttl_s=1.5).acquire("fit")
    watcher = Leases(any_files)
    until = time.monotonic() + 3.5
    while time.monotonic() < until:
        assert watcher.acquire("fit") is None
        time.sleep(0.05)
    assert not lease.lost
    lease.release()


def test_a_lease_of_another_machine_expires_by_the_readers_clock(any_files):
    a_claim(any_files, "fit", ELSEWHERE, ttl_s=0.4)
    leases = Leases(any_files)
    assert leases.acquire("fit") is None
    time.sleep(0.25)
    a_claim(any_files, "fit", ELSEWHERE, ttl_s=0.4, beat=1)
    assert leases.acquire("fit") is None
    time.sleep(0.25)
    assert leases.holder("fit") == ELSEWHERE
    time.sleep(0.2)
    assert leases.holder("fit") is None
    lease = leases.acquire("fit")
    assert lease.previous_holder == ELSEWHERE


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=st.lists(st.tuples(st.floats(0, 50), st.booleans()), max_size=12))
def test_a_lease_is_free_exactly_when_unchanged_for_its_ttl(tmp_path, monkeypatch, steps):
    """Reads after random seconds, with or without a renewal, by a simulated clock."""
    files, now = LocalFiles(tmp_path), 1000.0
    monkeypatch.setattr(module.time, "monotonic", lambda: now)
    leases, beat = Leases(files), 0
    a_claim(files, "fit", ELSEWHERE, beat=0)
    assert leases.holder("fit") == ELSEWHERE
    first_seen = now
    for seconds, beaten in steps:
        now += seconds
        if beaten:
            beat += 1
            a_claim(files, "fit", ELSEWHERE, beat=beat)
            first_seen = now
        assert (leases.holder("fit") is None) == (now - first_seen >= 60.0)


def test_of_racing_processes_exactly_one_wins(any_uri):
    if any_uri.startswith("memory:"):
        pytest.skip("memory is not shared by processes")
    files, rounds = open_files(any_uri), 30
    fresh = [f"fresh-{n}" for n in range(rounds)]
    dead = [f"dead-{n}" for n in range(rounds)]
    ended = Holder.here().model_copy(update={"started": "0"})
    for name in dead:
        a_claim(files, name, ended)
    barrier, results = SPAWN.Barrier(2), SPAWN.Queue()
    racers = [
        SPAWN.Process(target=race, args=(any_uri, fresh + dead, barrier, results)) for _ in range(2)
    ]
    for racer in racers:
        racer.start()
    won = [results.get(timeout=60), results.get(timeout=60)]
    for racer in racers:
        racer.join(60)
    assert sorted(won[0] + won[1]) == sorted(fresh + dead)


def test_of_racing_threads_exactly_one_wins(any_files):
    any_files.exists("x")
    for turn in range(5):
        barrier, won = threading.Barrier(4), []

        def take(name=f"fit-{turn}", barrier=barrier, won=won):
            barrier.wait()
            if (lease := Leases(any_files).acquire(name)) is not None:
                won.append(lease)

        threads = [threading.Thread(target=take) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(won) == 1


def test_the_lease_of_a_killed_process_is_free_at_once_on_its_host(tmp_path, holding):
    process, _, _ = holding(str(tmp_path), "fit")
    leases = Leases(LocalFiles(tmp_path))
    holder = leases.holder("fit")
    assert holder.pid == process.pid
    assert leases.acquire("fit") is None
    process.kill()
    while not holder.is_dead():  # the killed process is a zombie until its parent waits for it
        time.sleep(0.01)
    lease = leases.acquire("fit")
    assert lease.previous_holder == holder


def test_a_suspended_holder_detects_the_loss_of_its_lease(tmp_path, holding):
    process, results, end = holding(str(tmp_path), "fit", ttl_s=1.0)
    leases = Leases(LocalFiles(tmp_path))
    os.kill(process.pid, signal.SIGSTOP)
    assert leases.acquire("fit") is None
    began = time.monotonic()
    while (lease := leases.acquire("fit")) is None:
        time.sleep(0.02)
    assert time.monotonic() - began >= 0.9
    assert lease.previous_holder.pid == process.pid
    os.kill(process.pid, signal.SIGCONT)
    end.set()
    assert results.get(timeout=60) is True
    process.join(60)
    assert leases.holder("fit") == lease.holder


def test_a_renewal_detects_another_holder(any_files):
    lease = Leases(any_files).acquire("fit")
    a_claim(any_files, "fit", ELSEWHERE)
    assert not lease.lost
    lease.renew()
    assert lease.lost
    lease.release()
    assert Leases(any_files).holder("fit") == ELSEWHERE


def test_a_lease_that_cannot_be_renewed_stays_lost(tmp_path, monkeypatch, caplog):
    lease = Leases(LocalFiles(tmp_path), ttl_s=0.4).acquire("fit")

    def away(*_, **__):
        raise OSError("away")

    monkeypatch.setattr(LocalFiles, "read_versioned", away)
    while not lease.lost:
        time.sleep(0.02)
    monkeypatch.undo()
    lease.renew()
    assert lease.lost
    assert "was not renewed: away" in caplog.text


def test_a_process_that_reuses_a_pid_is_another_holder():
    mine = Holder.here()
    assert not mine.is_dead()
    assert mine.model_copy(update={"started": "0"}).is_dead()
    assert not ELSEWHERE.is_dead()
    assert Holder.here() != mine


def test_a_child_does_not_hold_its_parents_lease(tmp_path):
    lease = Leases(LocalFiles(tmp_path), ttl_s=0.4).acquire("fit")
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        os.write(write, str(len(module._RENEWER._leases)).encode())
        os._exit(0)
    os.waitpid(child, 0)
    assert os.read(read, 9) == b"0"
    lease.release()


DAMAGED = {
    "empty": "",
    "cut": '{"holder": {"host": "elsewhere/b',
    "binary": "\x00\x01",
    "a list": "[]",
    "null": "null",
    "deep": "[" * 5000,
    "no holder": '{"beat": 1, "ttl_s": 60}',
    "pid -1": CLAIM % ("-1", "60"),
    "huge pid": CLAIM % ("1" + "0" * 30, "60"),
    "pid a word": CLAIM % ('"one"', "60"),
    "ttl 0": CLAIM % ("1", "0"),
    "ttl below zero": CLAIM % ("1", "-60"),
    "ttl NaN": CLAIM % ("1", "NaN"),
    "ttl null": CLAIM % ("1", "null"),
}


@pytest.mark.parametrize("content", DAMAGED.values(), ids=DAMAGED.keys())
def test_a_damaged_claim_counts_as_free_and_is_logged(any_files, caplog, content):
    any_files.write("work/claims/fit.json", content.encode())
    leases = Leases(any_files)
    assert leases.holder("fit") is None
    with leases.acquire("fit") as lease:
        assert lease.previous_holder is None
        assert Leases(any_files).acquire("fit") is None
        lease.renew()
        assert not lease.lost
    assert "a damaged claim counts as free" in caplog.text
    assert "work/claims/fit.json" in caplog.text


def test_a_claim_that_is_damaged_under_its_holder_is_lost(any_files):
    lease = Leases(any_files).acquire("fit")
    any_files.write("work/claims/fit.json", b"")
    lease.renew()
    assert lease.lost
    lease.release()
    assert any_files.read("work/claims/fit.json") == b""


@pytest.mark.parametrize("ttl", ["1e300", "Infinity", "1e9"])
def test_no_claim_outlives_the_longest_time_to_live(tmp_path, monkeypatch, ttl):
    files, now = LocalFiles(tmp_path), 1000.0
    monkeypatch.setattr(module.time, "monotonic", lambda: now)
    files.write("work/claims/fit.json", (CLAIM % ("1", ttl)).encode())
    leases = Leases(files)
    assert leases.holder("fit") is not None
    now += LONGEST_S - 1
    assert leases.holder("fit") is not None
    now += 1
    assert leases.holder("fit") is None


@pytest.mark.parametrize("ttl_s", [1e300, float("inf"), 7200.0])
def test_a_lease_is_renewed_within_the_longest_time_to_live(tmp_path, ttl_s):
    with Leases(LocalFiles(tmp_path), ttl_s=ttl_s).acquire("fit") as lease:
        assert lease.renewal_s < LONGEST_S
        assert Leases(LocalFiles(tmp_path)).holder("fit") == lease.holder
