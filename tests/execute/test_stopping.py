"""Stop requests: a signal, a request in the store; and the drivers that `w2s cancel` stops."""

from __future__ import annotations

import os
import pty
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from tests.support import sweep_text, w2s
from w2s_ray.config import load_sweep
from w2s_ray.execute.stopping import Stop
from w2s_ray.fits.retry import settled
from w2s_ray.status import cancel as cancel_module
from w2s_ray.status import driver_heartbeat as live_module
from w2s_ray.status.cancel import cancel, drivers_of
from w2s_ray.status.driver_heartbeat import DriverHeartbeat
from w2s_ray.store import Store
from w2s_ray.store.heartbeats import read_driver_states


@pytest.fixture
def ctrl_c():
    """Ctrl-C counts; a shell has processes that it starts in the background ignore it."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.parametrize(
    ("number", "reason"),
    [(signal.SIGINT, "Ctrl-C"), (signal.SIGTERM, "SIGTERM"), (signal.SIGHUP, "SIGHUP")],
)
def test_a_signal_requests_a_stop_and_a_second_ctrl_c_does_not_wait(ctrl_c, number, reason):
    before = signal.getsignal(number)
    with Stop() as stop:
        assert stop.reason is None
        signal.raise_signal(number)
        assert stop.reason == reason
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)
    assert signal.getsignal(number) is before


def test_under_nohup_a_hangup_is_ignored():
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with Stop() as stop:
            signal.raise_signal(signal.SIGHUP)
            assert stop.reason is None
        assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGHUP, before)


IN_A_TERMINAL = """
import fcntl, os, signal, sys, termios
from w2s_ray.execute.stopping import Stop
os.setsid()
fcntl.ioctl(0, termios.TIOCSCTTY, 0)
with Stop() as stop:
    print('ready', flush=True)
    while stop.reason is None:
        signal.pause()
    print(stop.reason, flush=True)
    open(sys.argv[1], 'w').write(stop.reason)
"""


def test_after_its_terminal_is_closed_a_process_continues_and_prints_nothing(tmp_path):
    terminal, its_side = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-c", IN_A_TERMINAL, str(tmp_path / "reason")],
        stdin=its_side,
        stdout=its_side,
        stderr=its_side,
    )
    os.close(its_side)
    assert b"ready" in os.read(terminal, 1000)
    os.close(terminal)
    assert process.wait(timeout=60) == 0
    assert (tmp_path / "reason").read_text() == "SIGHUP"


def test_in_a_thread_signals_are_left_alone():
    found = []

    def run() -> None:
        with Stop() as stop:
            stop.request("w2s cancel")
            stop.request("later")
            found.append(stop.reason)

    before = signal.getsignal(signal.SIGINT)
    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    assert found == ["w2s cancel"]
    assert signal.getsignal(signal.SIGINT) is before


def test_a_driver_stops_after_a_request_in_the_store(tmp_path: Path, monkeypatch):
    monkeypatch.setattr(live_module, "EVERY_S", 0.05)
    store, stop = Store.open(tmp_path), Stop()
    with (
        DriverHeartbeat(store, sweep="tiny", stop=stop.request),
        DriverHeartbeat(store, sweep="other"),
    ):
        while len(read_driver_states(store.files)) < 2:
            time.sleep(0.01)
        (driver,) = drivers_of("tiny", store)
        left: list[object] = []
        cancelling = threading.Thread(target=lambda: left.extend(cancel([driver], store)))
        cancelling.start()
        while stop.reason is None:
            time.sleep(0.01)
    cancelling.join(timeout=10)
    assert not cancelling.is_alive()
    assert left == []
    assert stop.reason == "w2s cancel"
    assert store.files.find("work/live") == [], "the request is removed with the driver's state"
    assert drivers_of("tiny", store) == []


def test_a_driver_that_does_not_end_in_time_is_named(tmp_path: Path, monkeypatch):
    from typer.testing import CliRunner

    from w2s_ray.cli import app

    sweep = tmp_path / "sweep.yaml"
    sweep.write_text(sweep_text(tmp_path))
    name, store = load_sweep(sweep).name, Store.open(tmp_path / "results")
    monkeypatch.setattr(cancel_module, "LEAVE_S", -30)
    with DriverHeartbeat(store, sweep=name):
        deadline = time.monotonic() + 10
        while not drivers_of(name, store):
            assert time.monotonic() < deadline
        ended = CliRunner().invoke(app, ["cancel", str(sweep), "--store", store.uri])
    assert ended.exit_code == 2
    line = ended.stderr.splitlines()[-1]
    assert line.startswith(
        f"error: stop requested, and not ended in time: process {os.getpid()} on"
    )
    assert "wait and run the command again" in line


def test_cancel_without_a_driver_is_an_error(tmp_path: Path):
    sweep = tmp_path / "sweep.yaml"
    sweep.write_text(sweep_text(tmp_path))
    ended = w2s("cancel", sweep)
    assert ended.returncode == 2
    assert f"no driver of tiny is running on {tmp_path}/results" in ended.stderr
    ended = w2s("cancel", "a-job")
    assert ended.returncode == 2
    assert "a-job is not a sweep file; to cancel a job, add --address" in ended.stderr


def test_runs_that_end_during_a_stop_have_not_failed(tmp_path: Path):
    from tests.plan.test_plan import SWEEP, inputs
    from w2s_ray.config import parse_sweep
    from w2s_ray.plan import make_plan

    fit = next(iter(make_plan(parse_sweep(SWEEP), inputs()).fits.values()))
    store = Store.open(tmp_path)

    def attempt() -> None:
        raise RuntimeError("killed")

    for is_stopping, status in ((True, "stopped"), (False, "failed")):
        record = settled(
            fit,
            store=store,
            retries=0,
            attempt=attempt,  # type: ignore[arg-type]
            is_stopping=lambda is_stopping=is_stopping: is_stopping,
        )
        assert record.status == status
        assert bool(store.attempts(fit.id)) == (status == "failed")
