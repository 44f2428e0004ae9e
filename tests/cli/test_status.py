"""`w2s status` of a sweep in another process: untouched, running, killed, failed, finished."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support import sweep_text, w2s
from w2s_ray.config import load_sweep
from w2s_ray.status.reader import StatusReader
from w2s_ray.status.values import Status
from w2s_ray.store import Store
from w2s_ray.store.heartbeats import read_driver_states

pytestmark = pytest.mark.ray

INTERRUPTIBLE = """
import signal
signal.signal(signal.SIGINT, signal.default_int_handler)
from w2s_ray.cli import app
app()
"""
"""The command in a process that handles Ctrl-C even if a shell started it in the background."""
SEARCHED = """naive: {}
  confidence: {loss: {kind: confidence}, search: {loss.alpha: {uniform: [0.0, 0.9]}}}"""
SEARCH = "search: {trials: 3, concurrent_trials: 2}"
WILD = "training: {lr: 1000, weight_decay: 1000, clip_norm: null}"


def write(folder: Path, **options: str) -> Path:
    path = folder / "sweep.yaml"
    text = sweep_text(folder, **options)
    for old, new in (
        ("pairs: [[a, b], [b, c]]", "pairs: [[a, b]]"),
        ("epochs: 2,", "epochs: 300,"),  # longer than a heartbeat, so that its steps are seen
        ("evaluations_per_epoch: 2", "evaluations_per_epoch: 1"),
    ):
        assert old in text
        text = text.replace(old, new)
    path.write_text(text)
    return path


def status_reader(sweep: Path) -> StatusReader:
    loaded = load_sweep(sweep)
    return StatusReader(loaded, Store.open(loaded.store))


def start(*arguments: str | Path) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", INTERRUPTIBLE, *map(str, arguments)]
    pipe = subprocess.PIPE
    return subprocess.Popen(
        command, stdout=pipe, stderr=pipe, text=True, start_new_session=True
    )  # as a shell's job: a signal to its process group is nobody else's


def look_until(true: Callable[[Status], object], look: Callable[[], Status]) -> list[Status]:
    seen = []
    deadline = time.monotonic() + 400
    while not seen or not true(seen[-1]):
        assert time.monotonic() < deadline, seen[-1]
        seen.append(look())
        time.sleep(0.05)
    return seen


@pytest.fixture(scope="module")
def seen(tmp_path_factory) -> tuple[Path, list[Status], list[subprocess.CompletedProcess[str]]]:
    """A sweep's file, its statuses until its end, and the outputs of two `w2s status --watch`.

    The first watcher sees it to its end, the second is interrupted.
    """
    sweep = write(tmp_path_factory.mktemp("seen"), methods=SEARCHED, extra=SEARCH)
    look = status_reader(sweep).look
    statuses = [look()]
    driver = start("run", sweep)
    statuses += look_until(lambda status: status.under_way, look)
    watchers = [
        start("status", sweep, "--watch", "--every", "0.3", "--format", "json"),
        start("status", sweep, "--watch", "--every", "0.3"),
    ]
    statuses += look_until(lambda status: status.left, look)
    watchers[1].send_signal(signal.SIGINT)
    statuses += look_until(lambda status: not status.under_way, look)
    assert driver.wait(timeout=300) == 0
    outputs = [watcher.communicate(timeout=120) for watcher in watchers]
    ended = [
        subprocess.CompletedProcess(watcher.args, watcher.returncode, out, err)
        for watcher, (out, err) in zip(watchers, outputs, strict=True)
    ]
    return sweep, statuses, ended


def test_status_before_and_after_a_sweep(seen):
    sweep, statuses, _ = seen
    assert (statuses[0].state, statuses[0].done, statuses[0].drivers) == ("untouched", 0, ())
    last = statuses[-1]
    assert (last.state, last.drivers, last.running, last.waiting) == ("complete", (), (), ())
    assert last.done == last.total
    assert last.left is None
    store = Store.open(sweep.parent / "results")
    assert store.work.fit_ids() == set()
    assert read_driver_states(store.files) == []
    assert f"{last.total} done of {last.total} runs" in w2s("status", sweep).stdout


def test_running_fits_are_shown_by_another_process(seen):
    sweep, statuses, _ = seen
    fits = {fit.run: fit for status in statuses for fit in status.running}
    results = Store.open(sweep.parent / "results")
    assert fits
    assert fits.keys() <= results.all_done()
    for fit in fits.values():
        record = results.record(fit.run)
        assert (fit.task, fit.model) == (record.about["task"], record.about["model"])
        assert fit.seed == record.recipe["seed"]
        assert fit.place == socket.gethostname()
        assert fit.role == ("trial" if fit.study else "/".join(record.about["roles"]))
    steps = {(fit.step, fit.steps) for s in statuses for fit in s.running if fit.step}
    assert steps
    assert all(0 < step <= total == 1200 for step, total in steps)


def test_waiting_runs_have_a_reason(seen):
    _, statuses, _ = seen
    reasons = {run.why for status in statuses for run in status.waiting}
    assert {"driver", "supervisor", "study"} <= reasons, "others may pass unseen"
    reasons = {run.reason for status in statuses for run in status.waiting}
    assert any(words.startswith("supervisor a on words, seed 0") for words in reasons)


def test_trials_and_remaining_work_are_counted_during_a_sweep(seen):
    _, statuses, _ = seen
    counts = [sum((s.complete, s.pruned, s.failed)) for st in statuses for s in st.studies]
    assert counts == sorted(counts)
    assert counts[-1] == 3
    (study,) = statuses[-1].studies
    assert (study.state, study.trials) == ("done", 3)
    assert study.best is not None
    left = [status.left for status in statuses if status.left is not None]
    assert left[0].fits >= left[-1].fits > 0
    assert all(each.seconds is not None and each.flops > 0 for each in left)


def test_watch_ends_with_the_sweep_or_silently_by_ctrl_c(seen):
    _, statuses, (to_the_end, interrupted) = seen
    assert to_the_end.returncode == 0, to_the_end.stderr
    looks = [json.loads(line) for line in to_the_end.stdout.splitlines()]
    assert [look["state"] for look in looks[:-1]] == ["running"] * (len(looks) - 1)
    assert looks[-1]["state"] == "complete"
    assert looks[-1]["total"] == statuses[-1].total
    assert interrupted.returncode == 0
    assert interrupted.stderr == ""
    assert "running" in interrupted.stdout


def test_a_killed_driver_is_reported_and_the_sweep_can_be_resumed(tmp_path):
    sweep = write(tmp_path)
    driver = start("run", sweep)
    look_until(lambda status: status.running, status_reader(sweep).look)
    os.kill(driver.pid, signal.SIGKILL)
    driver.communicate()
    status = status_reader(sweep).look(patient=True)
    assert [d.alive for d in status.drivers] == [False]
    assert (status.state, status.running) == ("unfinished", ())
    assert {run.why for run in status.waiting} == {"driver", "supervisor"}
    shown = w2s("status", sweep, "--watch")
    assert shown.returncode == 0, shown.stderr
    assert f"process {driver.pid}: gone" in shown.stdout
    assert "no driver is running; `w2s run` resumes the sweep" in shown.stdout


def test_failed_and_blocked_runs_are_shown_with_the_cause(tmp_path):
    sweep = write(tmp_path)
    text = sweep.read_text().replace(f"[{tmp_path}/a,", f"[{{name: {tmp_path}/a, {WILD}}},")
    sweep.write_text(text.replace("seeds: [0, 1]", "seeds: [0]"))
    assert w2s("run", sweep).returncode == 1
    status = status_reader(sweep).look()
    (failed,) = status.failed
    assert (failed.cause, failed.attempts, failed.retries) == ("diverged", 1, {})
    assert "loss is nan at step" in str(failed.reason)
    (blocked,) = status.blocked
    assert (blocked.by, blocked.failed_run) == (failed.run, "supervisor a on words, seed 0")
    assert (status.state, status.done) == ("failed", 1)
    shown = w2s("status", sweep).stdout
    assert "loss is nan at step" in shown
    assert "1 failed, 1 blocked" in shown
