"""The autoscaler's configuration, and the printed wait for nodes."""

from __future__ import annotations

import time

import pytest

from w2s_ray.execute import pending_nodes as pending_module
from w2s_ray.execute.autoscaler import AutoscalerStatus, capacity_of
from w2s_ray.execute.pending_nodes import pending_capacity
from w2s_ray.plan.cluster_file import nodes_of
from w2s_ray.status.run_state import ProgressSnapshot, RunState

CONFIG = {
    "max_workers": 3,
    "head_node_type": "head",
    "available_node_types": {
        "head": {"resources": {"CPU": 4}, "node_config": {}},
        "l4": {
            "resources": {"CPU": 8, "GPU": 1, "memory": 1, "accelerator_type:L4": 1},
            "min_workers": 0,
            "max_workers": 8,
        },
        "cpu": {"resources": {"CPU": 16}},
    },
}


def test_the_nodes_of_a_configuration_are_its_head_as_it_is_and_what_may_be_started():
    nodes = nodes_of(CONFIG, head={"CPU": 0.0})
    assert nodes is not None
    assert nodes.autoscaled
    assert nodes.most == 3
    assert [(kind.name, kind.most) for kind in nodes.kinds] == [("head", 1), ("l4", 3), ("cpu", 3)]
    assert nodes.kinds[0].resources == {"CPU": 0.0}
    assert "memory" not in nodes.kinds[1].resources
    assert capacity_of(nodes) == {"CPU": 3 * 16, "GPU": 3, "accelerator_type:L4": 3}


def test_a_configuration_of_a_head_alone_is_no_cluster_that_autoscales():
    alone = {**CONFIG, "available_node_types": {"head": CONFIG["available_node_types"]["head"]}}
    assert nodes_of(alone, head={"CPU": 4.0}) is None


@pytest.fixture
def status(monkeypatch) -> dict[str, AutoscalerStatus]:
    found = {"now": AutoscalerStatus({"l4": 2}, {}, unplaced=2)}
    monkeypatch.setattr(pending_module, "autoscaler_status", lambda: found["now"])
    return found


def test_a_wait_for_nodes_is_printed_with_resources_and_duration(status):
    now = time.time()
    snapshot = ProgressSnapshot(
        run_states={
            "a": RunState({"asks": "8 CPU, 1 GPU (L4)"}, "starting", now - 75),
            "b": RunState({"asks": "8 CPU, 1 GPU (L4)"}, "starting", now - 70),
            "c": RunState({"asks": "1 CPU"}, "starting", now - 1),
            "d": RunState({}, "running", now - 500),
        }
    )
    found = pending_capacity(snapshot, now)
    assert found is not None
    assert found.text_at(now) == (
        "waiting for nodes for 2 fits (2 of 8 CPU, 1 GPU (L4)); being started: 2 l4, for 1 min 15 s"
    )
    status["now"] = AutoscalerStatus({}, {"l4": "no capacity"}, unplaced=2)
    found = pending_capacity(snapshot, now)
    assert found is not None
    assert found.text.endswith("; unavailable: l4: no capacity")


def test_a_process_that_starts_slowly_on_a_node_that_is_there_is_no_wait_for_nodes(status):
    snapshot = ProgressSnapshot(
        run_states={"a": RunState({"asks": "1 CPU"}, "starting", time.time() - 75)}
    )
    status["now"] = AutoscalerStatus(unplaced=0)
    assert pending_capacity(snapshot, time.time()) is None
