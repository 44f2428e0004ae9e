"""A node of the cluster is lost, or its end is announced, and the sweep continues without it."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time

import pytest

from tests.chaos.nodes import two_nodes
from tests.chaos.test_chaos import check_afterwards, started_runs, wait_for_runs, write_sweep
from w2s_ray.store import Store

pytestmark = [pytest.mark.ray, pytest.mark.slow, pytest.mark.chaos, pytest.mark.timeout(600)]


@pytest.mark.parametrize(
    ("announced", "done", "port"), [(False, 3, 6411), (False, 11, 6412), (True, 4, 6413)]
)
def test_a_lost_node_costs_no_run(tmp_path, undisturbed, tally, announced, done, port):
    for name in ("a", "b", "c"):
        shutil.copytree(undisturbed.parent / name, tmp_path / name)
    sweep = write_sweep(tmp_path, execution="{retries: 0, checkpoint_every_s: 0}")
    uri = tmp_path / "results"
    store = Store.open(uri)
    with two_nodes(tmp_path, port=port) as cluster:
        driver = subprocess.Popen(
            [sys.executable, "-m", "w2s_ray", "run", str(sweep), "--store", str(uri)],
            stdout=(tmp_path / "log-0").open("wb"),
            stderr=subprocess.STDOUT,
            env={**os.environ, "RAY_ADDRESS": cluster.address},
        )
        wait_for_runs(store, driver, done=done)
        if announced:
            cluster.announce_end_of_worker(deadline_s=10)
            time.sleep(10)
        cluster.lose_worker()
        assert driver.wait(timeout=300) == 0, (tmp_path / "log-0").read_text()
    before = started_runs(store)
    causes = {cause for record in store.records() for cause in record.retries}
    assert causes <= {"node_lost", "preempted"}, "no other cause may need retries, there are none"
    check_afterwards(tmp_path, uri, undisturbed, tally, before=before, calls=1)
