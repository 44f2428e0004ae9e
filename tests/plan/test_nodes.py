"""Whether a sweep finds a place on kinds of nodes: what is counted, what is refused and how."""

from __future__ import annotations

import pytest

from tests.plan.test_plan import SWEEP
from w2s_ray.config import Execution, parse_sweep
from w2s_ray.plan import NodeKind, Nodes, ResourceError, check_nodes
from w2s_ray.plan.nodes import worker_resources

HEAD = NodeKind("head", {"CPU": 0.0, "w2s_driver": 1.0}, 1, always=True)
SPOT = NodeKind("l4-spot", {"CPU": 8.0, "GPU": 1.0, "accelerator_type:L4": 1.0}, 8)
DEMAND = NodeKind("l4", {"CPU": 8.0, "GPU": 1.0, "accelerator_type:L4": 1.0}, 8)
LARGE = NodeKind("a100-8", {"CPU": 96.0, "GPU": 8.0, "accelerator_type:A100": 1.0}, 2)
CLOUD = Nodes((HEAD, SPOT, DEMAND, LARGE), autoscaled=True, most=11)


def holds(**execution: object) -> int:
    return CLOUD.capacity(worker_resources(Execution.model_validate(execution), gpus=True))


def test_capacity_counts_startable_nodes_up_to_their_limit():
    assert holds() == 2 * 8 + 9, "the large nodes first, then nine of sixteen small ones"
    assert holds(accelerator_type="A100") == 16
    assert holds(accelerator_type="L4") == 11
    assert holds(gpus_per_worker=0.3) == 3 * holds()
    assert holds(gpus_per_worker=0.3, cpus_per_worker=4) == 2 * 24 + 9 * 2
    assert holds(gpus_per_worker=2) == 8
    assert holds(gpus_per_worker=0, cpus_per_worker=9) == 20
    assert CLOUD.total("GPU") == 25


@pytest.mark.parametrize(
    ("execution", "message"),
    [
        (
            "{gpus_per_worker: 16}",
            "execution.gpus_per_worker: model s needs 16 GPU, 1 CPU on one node, but no node "
            "type has that: the nearest, a100-8, has 96 CPU, 8 GPU .A100.; lower gpus_per_worker, "
            "or add one",
        ),
        (
            "{accelerator_type: H100}",
            r"execution.accelerator_type: model s needs 1 CPU, 1 GPU \(H100\) on one node, but "
            r"no node type has that: the nearest, .*; lower accelerator_type, or add one",
        ),
        (
            "{cpus_per_worker: 40, accelerator_type: L4}",
            "execution.cpus_per_worker: model s needs 40 CPU, 1 GPU .L4. on one node, but no "
            "node type has that: the nearest, l4-spot, has 8 CPU, 1 GPU .L4.",
        ),
        (
            "{engine: deepspeed, workers: 24, accelerator_type: A100}",
            "execution.workers: model s needs 24 workers with 1 CPU, 1 GPU .A100. each, but the "
            "cluster can have room for 16; lower workers",
        ),
    ],
)
def test_impossible_resources_are_refused_with_the_nearest_node_type(execution, message):
    sweep = parse_sweep(SWEEP + f"execution: {execution}\n")
    with pytest.raises(ResourceError, match=message):
        check_nodes(sweep, CLOUD, remedy="add one")


def test_nodes_that_can_still_be_started_count():
    sweep = parse_sweep(SWEEP + "execution: {engine: deepspeed, workers: 16, gpus_per_worker: 1}\n")
    check_nodes(sweep, CLOUD, remedy="")
    with pytest.raises(ResourceError, match="the nearest, head, has 0 CPU, 0 GPU"):
        check_nodes(sweep, Nodes((HEAD,)), remedy="")
