"""Sweep files and cluster files: the resources that one needs, the other has."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.cluster.test_files import CLOUDS, CLUSTER, KUBERAY, ROOT, prepared, ray_cluster_of
from tests.support import sweep_text, w2s
from w2s_ray.config import load_sweep, parse_sweep
from w2s_ray.plan import ResourceError, check_nodes
from w2s_ray.plan.cluster_file import read_cluster_file

SWEEPS = sorted((ROOT / "sweeps").rglob("*.yaml"))
ALL = (*(f"{name}.yaml" for name in (*CLOUDS, *KUBERAY, "local")), "slurm.sbatch")


def named(sweep: Path) -> list[Path]:
    """The cluster files that a sweep file says it runs on, in its first comment."""
    comment = re.match(r"(#.*\n)+", sweep.read_text(encoding="utf-8"))
    patterns = re.findall(r"\bcluster/([\w*-]+\.\w+)", comment[0]) if comment else []
    return [path for pattern in patterns for path in sorted(CLUSTER.glob(pattern))]


@pytest.mark.parametrize("sweep", SWEEPS, ids=lambda path: path.name)
def test_every_cluster_that_a_sweep_names_has_its_resources(sweep):
    assert named(sweep), f"{sweep.name} doesn't say on which file of cluster/ it runs"
    for path in named(sweep):
        check_nodes(load_sweep(sweep), read_cluster_file(path), remedy="edit the file")


@pytest.mark.parametrize("name", CLOUDS)
def test_the_nodes_of_a_cloud_are_those_that_ray_would_start(name):
    nodes = read_cluster_file(CLUSTER / f"{name}.yaml")
    types = prepared(name)["available_node_types"]
    assert {kind.name: dict(kind.resources) for kind in nodes.kinds} == {
        kind: declared["resources"] for kind, declared in types.items()
    }
    assert nodes.most == 10
    assert nodes.autoscaled


@pytest.mark.parametrize("name", KUBERAY)
def test_the_nodes_of_a_kuberay_file_match_rays_autoscaler(name):
    from ray.autoscaler._private.kuberay.autoscaling_config import (
        _derive_autoscaling_config_from_ray_cr,
    )

    config = _derive_autoscaling_config_from_ray_cr(ray_cluster_of(name))
    nodes = read_cluster_file(CLUSTER / f"{name}.yaml")
    for kind in nodes.kinds:
        seen = config["available_node_types"][kind.name]
        ours = {resource: n for resource, n in seen["resources"].items() if resource != "memory"}
        assert {"GPU": 0, **ours} == dict(kind.resources)
        assert kind.most == (seen["max_workers"] or 1)


def test_machines_and_allocations_have_the_resources_given_to_ray_start():
    local = read_cluster_file(CLUSTER / "local.yaml")
    assert [(kind.name, kind.most) for kind in local.kinds] == [("head", 1), ("worker", 2)]
    assert local.kinds[0].resources == {"CPU": 0, "GPU": 0, "w2s_driver": 1}
    assert local.kinds[1].resources == {"CPU": 16, "GPU": 2}
    slurm = read_cluster_file(CLUSTER / "slurm.sbatch")
    assert [(kind.resources, kind.most) for kind in slurm.kinds] == [({"CPU": 64, "GPU": 8}, 2)]


@pytest.mark.parametrize("file", ALL)
@pytest.mark.parametrize(
    ("execution", "message"),
    [
        ("{gpus_per_worker: 16}", "gpus_per_worker: model a needs 16 GPU.*the nearest, "),
        ("{cpus_per_worker: 512}", "cpus_per_worker: model a needs 512 CPU.*the nearest, "),
        ("{accelerator_type: B300}", "accelerator_type: model a needs .*B300"),
        ("{engine: deepspeed, workers: 400, gpus_per_worker: 1}", "workers: model a .*room for"),
    ],
)
def test_a_fit_that_fits_no_node_of_a_file_is_refused(tmp_path, file, execution, message):
    sweep = parse_sweep(sweep_text(tmp_path, execution=execution))
    with pytest.raises(ResourceError, match=message):
        check_nodes(sweep, read_cluster_file(CLUSTER / file), remedy="take another file")


def test_the_nearest_node_type_lacks_the_least(tmp_path):
    sweep = parse_sweep(sweep_text(tmp_path, execution="{gpus_per_worker: 2, cpus_per_worker: 97}"))
    with pytest.raises(ResourceError, match="the nearest, gpu-8-"):
        check_nodes(sweep, read_cluster_file(CLUSTER / "aws.yaml"), remedy="-")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("name: x\n", "is not a cluster file of Ray"),
        ("available_node_types: {a: {}}\nhead_node_type: a\n", "missing or invalid: 'resources'"),
        ("a: [", "not valid YAML"),
    ],
)
def test_a_malformed_file_is_an_error(tmp_path, text, message):
    (tmp_path / "cluster.yaml").write_text(text)
    with pytest.raises(ValueError, match=message):
        read_cluster_file(tmp_path / "cluster.yaml")


def test_w2s_plan_shows_the_capacity_of_a_cluster_file(tmp_path):
    sweep = tmp_path / "sweep.yaml"
    for execution, fits in (("{gpus_per_worker: 1}", 38), ("{}", 432)):
        sweep.write_text(sweep_text(tmp_path, execution=execution))
        shown = w2s("plan", sweep, "--cluster", CLUSTER / "aws.yaml")
        assert shown.returncode == 0, shown.stderr
        assert f"aws.yaml has room for {fits} fits of a at once" in shown.stdout, shown.stdout
    sweep.write_text(sweep_text(tmp_path, execution="{gpus_per_worker: 16}"))
    refused = w2s("plan", sweep, "--cluster", CLUSTER / "aws.yaml")
    assert refused.returncode == 2
    assert "the nearest, gpu-8-" in refused.stderr
