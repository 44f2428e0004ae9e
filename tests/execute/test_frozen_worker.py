"""A killed worker's process ends, also where Ray's own kill has no effect."""

from __future__ import annotations

import subprocess
import sys

import pytest

pytestmark = [pytest.mark.ray, pytest.mark.slow]

SCRIPT = """
import asyncio, os, signal, sys
from w2s_ray.execute.environment import set_variables
set_variables()
import psutil
from w2s_ray.execute import warm_workers
from w2s_ray.execute.cluster import ray_cluster
from w2s_ray.execute.ray_internals import process_of
from w2s_ray.scheduling.requests import WorkerSpec

warm_workers.KILL_S = 1.0
warm_workers.ray.kill = lambda actor: None

async def scenario(cluster):
    workers = warm_workers.WarmWorkers({"CPU": 2.0}, cluster, on_change=lambda: None)
    spec = WorkerSpec(engine="torch", workers=1, cpus=1.0, gpus=0.0)
    frozen, other = workers.take(spec), workers.take(spec)
    for worker in (frozen, other):
        await worker.wait_until_idle()
    ended, kept = (process_of(worker.actor)[1] for worker in (frozen, other))
    os.kill(ended, signal.SIGSTOP)
    workers.end(frozen)
    while psutil.pid_exists(ended) and psutil.Process(ended).status() != psutil.STATUS_ZOMBIE:
        await asyncio.sleep(0.2)
    assert process_of(other.actor)[1] == kept
    print("ended")

with ray_cluster() as cluster:
    asyncio.run(asyncio.wait_for(scenario(cluster), 100))
"""


def test_a_frozen_process_that_ray_does_not_end_is_ended_by_a_signal():
    ran = subprocess.run(
        [sys.executable, "-c", SCRIPT], capture_output=True, text=True, timeout=200, check=False
    )
    assert ran.stdout.splitlines()[-1:] == ["ended"], ran.stderr
