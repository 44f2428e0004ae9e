"""Worker groups under faults: a process of one is killed, and the sweep continues."""

from __future__ import annotations

import random
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.chaos.faults import RunningSweep, kill
from tests.chaos.test_chaos import wait_for_runs
from tests.support import SEARCHED, sweep_text, w2s
from w2s_ray.store import Store

pytestmark = [pytest.mark.ray, pytest.mark.slow, pytest.mark.chaos, pytest.mark.timeout(600)]

SHARDED = "{engine: deepspeed, workers: 2, zero_stage: 2, checkpoint_every_s: 0, retries: 2}"
SEARCH = "search: {trials: 4, scheduler: asha, grace_evaluations: 1, concurrent_trials: 2}"
WORKER, GROUP = "ray::RayTrainWorker", "ray::WorkerGroup"


@pytest.mark.parametrize("title", [WORKER, GROUP], ids=["worker", "group"])
def test_a_sharded_sweep_survives_the_loss_of_a_process_of_its_group(tmp_path: Path, title: str):
    sweep = tmp_path / "sweep.yaml"
    text = sweep_text(tmp_path, methods=SEARCHED, extra=SEARCH, execution=SHARDED)
    text = text.replace("seeds: [0, 1]", "seeds: [0]").replace("epochs: 2", "epochs: 6")
    sweep.write_text(text)
    store = Store.open(tmp_path / "results")
    with (tmp_path / "log").open("wb") as log:
        driver = subprocess.Popen(
            [sys.executable, "-m", "w2s_ray", "run", str(sweep)], stdout=log, stderr=log
        )
    wait_for_runs(store, driver, done=3)
    wait_for_a_fit(store, driver)
    kill(title)(RunningSweep(driver.pid, tmp_path, random.Random(0)))
    assert driver.wait(timeout=400) == 0, (tmp_path / "log").read_text()
    retries = [record.retries for record in store.records()]
    assert {"worker_died"} == {cause for counts in retries for cause in counts}
    assert not store.work.fit_ids()
    again = w2s("run", sweep)
    assert "0 fits trained" in again.stderr


def test_the_resources_of_a_lost_group_are_freed_while_another_ray_runs(tmp_path: Path):
    beside = "import ray; ray.init('local', num_cpus=1); print('up', flush=True); input()"
    with subprocess.Popen(
        [sys.executable, "-c", beside], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as other:
        assert other.stdout is not None
        while "up" not in other.stdout.readline():
            assert other.poll() is None
        test_a_sharded_sweep_survives_the_loss_of_a_process_of_its_group(tmp_path, GROUP)
        other.communicate("\n", timeout=60)


def wait_for_a_fit(store: Store, driver: subprocess.Popen[bytes]) -> None:
    """Until one is under way that wasn't before: its first checkpoint is there, its last isn't."""
    before = store.work.fit_ids()
    while driver.poll() is None and not store.work.fit_ids() - before:
        time.sleep(0.02)
