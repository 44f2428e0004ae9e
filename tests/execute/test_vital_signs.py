"""The watch over Ray's own processes: it tells which died, once, and leaves a joined Ray alone."""

from __future__ import annotations

import subprocess
import sys
import time
from types import SimpleNamespace

import pytest

from w2s_ray.execute import cluster


@pytest.fixture
def node(monkeypatch):
    """Ray's node of this process, with real processes in the places of its own."""
    from ray._private import worker
    from ray._private.node import Node

    kinds = ("gcs_server", "raylet", "log_monitor")
    processes = {
        kind: [
            SimpleNamespace(
                process=subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
            )
        ]
        for kind in kinds
    }

    class Fake:
        all_processes = processes
        dead_processes = Node.dead_processes
        ended = 0

        def kill_all_processes(self, **options) -> None:
            self.ended += 1
            for kind in list(self.all_processes):
                for info in self.all_processes.pop(kind):
                    info.process.kill()
                    info.process.wait()

    fake = Fake()
    monkeypatch.setattr(worker, "_global_node", fake)
    monkeypatch.setattr(cluster, "LOOK_S", 0.05)
    yield fake
    fake.kill_all_processes()


def end(node, kind: str) -> None:
    node.all_processes[kind][0].process.kill()
    node.all_processes[kind][0].process.wait()


@pytest.mark.parametrize("kind", ["gcs_server", "raylet"])
def test_a_vital_process_that_dies_is_told_and_the_others_are_ended(node, kind):
    told: list[str] = []
    with cluster.vital_signs(told.append):
        end(node, kind)
        deadline = time.monotonic() + 10
        while not told and time.monotonic() < deadline:
            time.sleep(0.02)
        assert told == [kind]
        assert not node.all_processes
    assert told == [kind]


def test_what_ended_the_context_is_found_on_the_way_out(node, monkeypatch):
    monkeypatch.setattr(cluster, "LOOK_S", 60.0)
    told: list[str] = []
    with cluster.vital_signs(told.append):
        end(node, "gcs_server")
    assert told == ["gcs_server"]


def test_other_processes_are_not_vital(node):
    told: list[str] = []
    with cluster.vital_signs(told.append):
        end(node, "log_monitor")
        time.sleep(0.3)
    assert told == []
    assert node.ended == 0


def test_where_no_ray_was_started_there_is_nothing_to_watch(monkeypatch):
    from ray._private import worker

    monkeypatch.setattr(worker, "_global_node", None)
    told: list[str] = []
    with cluster.vital_signs(told.append):
        pass
    assert told == []
