"""A sweep on Ray that is stopped in the middle of a fit: what it keeps, and how it resumes."""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Callable
from pathlib import Path
from subprocess import Popen

import psutil
import pytest

from tests.cli.test_status import look_until, start, write
from tests.support import w2s
from w2s_ray.config import load_sweep
from w2s_ray.status.reader import StatusReader
from w2s_ray.store import Store

pytestmark = [pytest.mark.ray, pytest.mark.slow, pytest.mark.chaos, pytest.mark.timeout(900)]


def by_ctrl_c(driver: Popen[str], sweep: Path, store: Store) -> str:
    driver.send_signal(signal.SIGINT)
    return "Ctrl-C"


def by_sigterm(driver: Popen[str], sweep: Path, store: Store) -> str:
    driver.terminate()
    return "SIGTERM"


def by_sighup(driver: Popen[str], sweep: Path, store: Store) -> str:
    driver.send_signal(signal.SIGHUP)
    return "SIGHUP"


def by_sigterm_to_its_group(driver: Popen[str], sweep: Path, store: Store) -> str:
    """As `timeout` does."""
    os.killpg(driver.pid, signal.SIGTERM)
    return "SIGTERM"


def by_sigterm_to_every_process(driver: Popen[str], sweep: Path, store: Store) -> str:
    """As Slurm and systemd do."""
    for process in [psutil.Process(driver.pid), *psutil.Process(driver.pid).children(True)]:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.terminate()
    return "SIGTERM"


def by_cancel(driver: Popen[str], sweep: Path, store: Store) -> str:
    ended = w2s("cancel", sweep, "--store", store.uri)
    assert ended.returncode == 0, ended.stderr
    assert f"stop requested: process {driver.pid}" in ended.stderr
    return "w2s cancel"


@pytest.fixture(scope="module")
def calm(tmp_path_factory) -> tuple[Path, str]:
    """A sweep's file, and its table after an undisturbed run."""
    sweep = write(tmp_path_factory.mktemp("calm"), execution="{checkpoint_every_s: 3600}")
    sweep.write_text(
        sweep.read_text().replace("epochs: 100,", "epochs: 400,")
    )  # seen on any machine
    ended = w2s("run", sweep)
    assert ended.returncode == 0, ended.stderr
    return sweep, ended.stdout


@pytest.mark.parametrize(
    "stop",
    [
        by_ctrl_c,
        by_sigterm,
        by_sighup,
        by_sigterm_to_its_group,
        by_sigterm_to_every_process,
        by_cancel,
    ],
)
def test_a_stopped_sweep_keeps_results_and_checkpoints_and_can_be_resumed(
    calm, tmp_path, stop: Callable[[Popen[str], Path, Store], str]
):
    sweep, table = calm
    store = Store.open(tmp_path / "results")
    command = ("run", sweep, "--store", store.uri)
    driver = start(*command)
    looker = StatusReader(load_sweep(sweep), store)
    look_until(lambda s: s.done and any(fit.step for fit in s.running), looker.look)
    processes = psutil.Process(driver.pid).children(recursive=True)
    why = stop(driver, sweep, store)
    _, stderr = driver.communicate(timeout=200)
    assert driver.returncode == 130, stderr
    assert f"stopped by {why}" in stderr
    before, _, below = stderr.partition("\nnext:\n")
    first_words = {line.split()[0] for line in before.splitlines()}
    steps = {"reading", "preparing", "checking", "starting", "training", "ending"}
    assert first_words <= {*steps, "done", "stopping", "stopped"}, stderr
    assert f" run {sweep} --store {store.uri} " in below.splitlines()[0]
    assert psutil.wait_procs(processes, timeout=10)[1] == []
    done = {record.id: record.started_at for record in store.latest()}
    assert done.keys() == store.all_done(), "nothing has failed"
    left = store.work.fit_ids()
    assert left, "a checkpoint of what was under way"
    ended = w2s(*command)
    assert ended.returncode == 0, ended.stderr
    assert ended.stdout == table, "to the bit what an undisturbed sweep gives"
    after = {record.id: record.started_at for record in store.latest()}
    assert {run: after[run] for run in done} == done
    assert left <= after.keys() - done.keys()
    assert store.work.fit_ids() == set()
