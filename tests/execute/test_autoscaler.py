"""What is read out of an autoscaler's configuration, and how a wait for nodes is told."""

from __future__ import annotations

import time

import pytest

from w2s_ray.execute import pending_nodes as wanted_module
from w2s_ray.execute.autoscaler import Starting, room_of
from w2s_ray.execute.pending_nodes import wanted
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
    assert room_of(nodes) == {"CPU": 3 * 16, "GPU": 3, "accelerator_type:L4": 3}


def test_a_configuration_of_a_head_alone_is_no_cluster_that_autoscales():
    alone = {**CONFIG, "available_node_types": {"head": CONFIG["available_node_types"]["head"]}}
    assert nodes_of(alone, head={"CPU": 4.0}) is None


@pytest.fixture
def doing(monkeypatch) -> dict[str, Starting]:
    found = {"now": Starting({"l4": 2}, {}, unplaced=2)}
    monkeypatch.setattr(wanted_module, "starting", lambda: found["now"])
    return found


def test_a_wait_for_nodes_says_for_what_and_for_how_long(doing):
    now = time.time()
    seen = ProgressSnapshot(
        run_states={
            "a": RunState({"asks": "8 CPU, 1 GPU (L4)"}, "starting", now - 75),
            "b": RunState({"asks": "8 CPU, 1 GPU (L4)"}, "starting", now - 70),
            "c": RunState({"asks": "1 CPU"}, "starting", now - 1),
            "d": RunState({}, "running", now - 500),
        }
    )
    found = wanted(seen, now)
    assert found is not None
    assert found.said_at(now) == (
        "waiting for nodes for 2 fits (2 of 8 CPU, 1 GPU (L4)); being started: 2 l4, for 1 min 15 s"
    )
    doing["now"] = Starting({}, {"l4": "no capacity"}, unplaced=2)
    found = wanted(seen, now)
    assert found is not None
    assert found.said.endswith("; not to be had: l4: no capacity")


def test_a_process_that_starts_slowly_on_a_node_that_is_there_is_no_wait_for_nodes(doing):
    seen = ProgressSnapshot(
        run_states={"a": RunState({"asks": "1 CPU"}, "starting", time.time() - 75)}
    )
    doing["now"] = Starting(unplaced=0)
    assert wanted(seen, time.time()) is None
