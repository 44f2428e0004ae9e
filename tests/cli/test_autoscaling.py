"""A sweep on a cluster without worker nodes: nodes are started, one is lost, all are removed."""

from __future__ import annotations

import subprocess
import sys

import pytest

from benchmarks.autoscaling import elastic_cluster, figure, run_on
from tests.support import sweep_text
from w2s_ray.config import load_sweep
from w2s_ray.store import Store

pytestmark = [pytest.mark.ray, pytest.mark.timeout(600)]


def test_a_node_is_started_for_a_sweep_and_removed_afterwards(tmp_path):
    sweep = tmp_path / "sweep.yaml"
    text = sweep_text(tmp_path).replace("seeds: [0, 1]", "seeds: [0]")
    sweep.write_text(text.replace("pairs: [[a, b], [b, c]]", "pairs: [[a, b]]"))
    with elastic_cluster(tmp_path, port=6411, most=1) as cluster:
        timeline, _ = run_on(cluster, sweep, lose=False, log=tmp_path / "log")
    counts = [moment.nodes for moment in timeline.moments]
    assert (counts[0], max(counts), counts[-1]) == (0, 1, 0)
    assert len(Store.open(tmp_path / "results").all_done()) == 3
    assert "student" in (tmp_path / "log").read_text(), "the table"


@pytest.mark.slow
@pytest.mark.chaos
def test_the_loss_of_an_autoscaled_node_loses_no_run(tmp_path):
    sweep = tmp_path / "sweep.yaml"
    text = sweep_text(tmp_path, execution="{checkpoint_every_s: 0, retries: 0}")
    sweep.write_text(text.replace("pairs: [[a, b], [b, c]]", "pairs: [[a, b]]"))
    with elastic_cluster(tmp_path, port=6421, most=2) as cluster:
        refused = tmp_path / "refused.yaml"
        refused.write_text(text.replace("retries: 0", "cpus_per_worker: 2"))
        ended = w2s_run(refused, cluster.address)
        assert ended.returncode == 2
        assert "no node type has that: the nearest, one-cpu, has 1 CPU" in ended.stderr
        timeline, lost_s = run_on(cluster, sweep, lose=True, log=tmp_path / "log")
    log = (tmp_path / "log").read_text()
    assert "waiting for nodes for" in log, log
    assert "one-cpu" in log
    counts = [moment.nodes for moment in timeline.moments]
    assert (counts[0], max(counts), counts[-1]) == (0, 2, 0)
    assert timeline.moments[-1].cpus_waited_for == 0
    store = Store.open(tmp_path / "results")
    records = list(store.records())
    assert len(records) == 6
    assert lost_s is not None
    causes = {cause for record in records for cause in record.retries}
    assert causes <= {"node_lost"}, "retries is 0: any other cause would have failed its run"
    calm = tmp_path / "calm"
    ended = w2s_run(sweep, None, "--store", str(calm))
    assert ended.returncode == 0, ended.stderr
    assert ended.stdout in log, "the table is that of a sweep that nothing happened to"
    figure(timeline, lost_s=lost_s).save(tmp_path / "timeline.svg")
    assert load_sweep(sweep).store


def w2s_run(sweep, address, *more) -> subprocess.CompletedProcess[str]:
    where = ["--address", address] if address else []
    return subprocess.run(
        [sys.executable, "-m", "w2s_ray", "run", str(sweep), *where, *more],
        capture_output=True,
        text=True,
        check=False,
        timeout=550,
    )
