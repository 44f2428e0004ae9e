"""Every file in cluster/: readable by what it is for, priced from zero, closed to strangers."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[2]
CLUSTER = ROOT / "cluster"
CLOUDS = ("aws", "gcp", "azure")
KUBERAY = ("kuberay-raycluster", "kuberay-rayjob")
OURS = ("head", "gpu-1-spot", "gpu-1-ondemand", "gpu-8-spot", "gpu-8-ondemand")


def load(name: str) -> dict[str, Any]:
    return yaml.safe_load((CLUSTER / f"{name}.yaml").read_text(encoding="utf-8"))


def prepared(name: str) -> dict[str, Any]:
    from ray.autoscaler._private.util import prepare_config

    return prepare_config(load(name))


def ray_cluster_of(name: str) -> dict[str, Any]:
    """The RayCluster of a KubeRay file, as the operator makes it."""
    declared = next(yaml.safe_load_all((CLUSTER / f"{name}.yaml").read_text(encoding="utf-8")))
    spec = declared["spec"].get("rayClusterSpec", declared["spec"])
    return {"metadata": {**declared["metadata"], "namespace": "default"}, "spec": spec}


def locked(package: str) -> str:
    text = (ROOT / "requirements.lock").read_text(encoding="utf-8")
    return re.search(rf"^{package}==(\S+)$", text, re.M)[1]  # pyright: ignore


@pytest.mark.parametrize("name", [*CLOUDS, "local"])
def test_ray_up_takes_the_file(name):
    from ray.autoscaler._private.util import validate_config

    config = prepared(name)
    validate_config(config)
    assert not config["setup_commands"], "the default ones install a nightly Ray"


@pytest.mark.parametrize("name", CLOUDS)
def test_a_head_installs_its_clouds_client(name):
    """By the packages that Ray's defaults install there, or by the lock's."""
    from ray.autoscaler._private.providers import _get_default_config

    requested = " ".join(load(name)["head_setup_commands"])
    if name == "aws":
        assert not requested
        assert locked("boto3")
    else:
        assert requested == " ".join(_get_default_config({"type": name})["head_setup_commands"])


@pytest.mark.parametrize("name", CLOUDS)
def test_machines_of_a_cloud_scale_from_zero_and_back(name):
    config = prepared(name)
    types = config["available_node_types"]
    assert tuple(types) == OURS
    assert {types[worker]["min_workers"] for worker in OURS[1:]} == {0}
    assert config["idle_timeout_minutes"] <= 10
    assert types["head"]["resources"] == {"CPU": 0, "w2s_driver": 1}
    assert config["provider"].get("cache_stopped_nodes", False) is False


def _is_spot(node_config: dict[str, Any]) -> bool:
    azure = node_config.get("azure_arm_parameters", {})
    return (
        node_config.get("InstanceMarketOptions", {}).get("MarketType") == "spot"
        or node_config.get("scheduling", {}).get("provisioningModel") == "SPOT"
        or azure.get("priority") == "Spot"
    )


@pytest.mark.parametrize("name", CLOUDS)
def test_only_workers_are_spot_and_each_has_a_twin_on_demand(name):
    types = load(name)["available_node_types"]
    assert [kind for kind in OURS if _is_spot(types[kind]["node_config"])] == [
        "gpu-1-spot",
        "gpu-8-spot",
    ]
    for size in ("gpu-1", "gpu-8"):
        spot, twin = types[f"{size}-spot"], types[f"{size}-ondemand"]
        assert spot["resources"] == twin["resources"]
        assert spot["priority"] > twin["priority"]


@pytest.mark.parametrize("name", CLOUDS)
@pytest.mark.parametrize(
    ("requested", "refused", "started"),
    [
        ({"CPU": 1, "GPU": 1}, None, "gpu-1-spot"),
        ({"CPU": 1, "GPU": 1}, "gpu-1-spot", "gpu-1-ondemand"),
        ({"CPU": 8, "GPU": 8}, None, "gpu-8-spot"),
        ({"CPU": 8, "GPU": 8}, "gpu-8-spot", "gpu-8-ondemand"),
    ],
)
def test_rays_autoscaler_starts_spot_first_and_on_demand_where_that_was_refused(
    name, requested, refused, started
):
    """Decided by the autoscaler's own scheduler."""
    from ray.autoscaler.v2.instance_manager.config import AutoscalingConfig
    from ray.autoscaler.v2.scheduler import ResourceDemandScheduler, SchedulingRequest
    from ray.autoscaler.v2.utils import ResourceRequestUtil

    config = {**prepared(name), "auth": {}}  # key pairs are no part of this
    types = AutoscalingConfig(config, skip_content_hash=True).get_node_type_configs()
    reply = ResourceDemandScheduler(event_logger=None).schedule(
        SchedulingRequest(
            disable_launch_config_check=True,
            node_type_configs={k: v for k, v in types.items() if k != "head"},
            max_num_nodes=10,
            resource_requests=ResourceRequestUtil.group_by_count(
                [ResourceRequestUtil.make(requested)]
            ),
            recoverable_resource_availabilities={refused: 0.0} if refused else {},
        )
    )
    assert [(launch.instance_type, launch.count) for launch in reply.to_launch] == [(started, 1)]


def test_azures_machines_have_only_parameters_of_rays_template():
    import ray.autoscaler._private as private

    template = Path(private.__file__).parent / "_azure/azure-vm-template.json"
    known = set(json.loads(template.read_text(encoding="utf-8"))["parameters"])
    for kind in load("azure")["available_node_types"].values():
        assert set(kind["node_config"]["azure_arm_parameters"]) <= known


@pytest.mark.parametrize("name", KUBERAY)
def test_a_kuberay_file_has_the_shape_of_its_resource(name):
    import jsonschema

    schema = yaml.safe_load((Path(__file__).parent / "kuberay.yaml").read_text(encoding="utf-8"))
    declared = next(yaml.safe_load_all((CLUSTER / f"{name}.yaml").read_text(encoding="utf-8")))
    shape = {"$defs": schema["$defs"], **schema[declared["kind"]]}
    jsonschema.validate(declared, shape)
    misspelt = json.loads(json.dumps(declared).replace("minReplicas", "minReplica"))
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(misspelt, shape)


@pytest.mark.parametrize("name", KUBERAY)
def test_rays_autoscaler_reads_the_groups_of_a_kuberay_file(name):
    from ray.autoscaler._private.kuberay.autoscaling_config import (
        _derive_autoscaling_config_from_ray_cr,
    )

    cluster = ray_cluster_of(name)
    config = _derive_autoscaling_config_from_ray_cr(cluster)
    types = config["available_node_types"]
    assert {n: t["resources"].get("GPU", 0) for n, t in types.items()} == {
        "headgroup": 0,
        "gpu-1": 1,
        "gpu-8": 8,
    }
    assert types["headgroup"]["resources"]["CPU"] == 0
    assert types["headgroup"]["resources"]["w2s_driver"] == 1
    assert {types[group]["min_workers"] for group in ("gpu-1", "gpu-8")} == {0}
    assert cluster["spec"]["authOptions"] == {"mode": "token"}
    assert cluster["spec"]["rayVersion"] == locked("ray")


@pytest.mark.parametrize("name", KUBERAY)
def test_pods_of_workers_prefer_the_spot_machines_that_the_head_avoids(name):
    spec = ray_cluster_of(name)["spec"]
    head, *workers = (
        group["template"]["spec"]["affinity"]["nodeAffinity"]
        for group in (spec["headGroupSpec"], *spec["workerGroupSpecs"])
    )
    (term,) = head["requiredDuringSchedulingIgnoredDuringExecution"]["nodeSelectorTerms"]
    avoided = {(e["key"], e["operator"], *e["values"]) for e in term["matchExpressions"]}
    for worker in workers:
        preferred = worker["preferredDuringSchedulingIgnoredDuringExecution"]
        (wanted,) = zip(
            *(term["preference"]["matchExpressions"] for term in preferred), strict=True
        )
        assert {(e["key"], "NotIn", *e["values"]) for e in wanted} == avoided
        assert {e["operator"] for e in wanted} == {"In"}


@pytest.mark.parametrize("name", KUBERAY)
def test_only_pods_of_the_cluster_and_the_operator_reach_its_pods(name):
    text = (CLUSTER / f"{name}.yaml").read_text(encoding="utf-8")
    _, policy = yaml.safe_load_all(text)
    assert policy["kind"] == "NetworkPolicy"
    assert policy["spec"]["policyTypes"] == ["Ingress"]
    (rule,) = policy["spec"]["ingress"]
    assert all(set(source) <= {"podSelector", "namespaceSelector"} for source in rule["from"])
    assert all(selector["matchLabels"] for source in rule["from"] for selector in source.values())


def test_both_kuberay_files_describe_the_same_cluster():
    there, job = (ray_cluster_of(name)["spec"] for name in KUBERAY)
    pod = job["headGroupSpec"]["template"]["spec"]
    assert pod.pop("volumes") == [{"name": "sweep", "configMap": {"name": "w2s-sweep"}}]
    del pod["containers"][0]["volumeMounts"]
    assert there == job


def test_shellcheck_accepts_the_slurm_script():
    shellcheck = Path(sys.executable).with_name("shellcheck")
    checked = subprocess.run(
        [shellcheck, "--severity=style", CLUSTER / "slurm.sbatch"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert checked.returncode == 0, checked.stdout


STAND_INS = {
    "scontrol": "echo one; echo two",
    "sleep": "",
    "srun": 'case "$*" in *ip-address) echo 10.0.0.1 ;; *) echo "$@" >> "$HOME/nodes" ;; esac',
    "w2s": """trap 'echo told >> "$HOME/driver"; exit 130' TERM
echo "$RAY_ADDRESS" "$@" >> "$HOME/driver"
until [ -e "$HOME/finish" ]; do /bin/sleep 0.05; done; exit 1""",
}
"""Commands of Slurm's, and ours, as the script of a job sees them."""


@pytest.mark.parametrize(("ended_by", "code"), [("SIGTERM", 130), ("itself", 1)])
def test_the_slurm_script_starts_and_stops_a_driver_and_returns_its_exit_code(
    tmp_path: Path, ended_by: str, code: int
):
    for name, text in STAND_INS.items():
        (tmp_path / name).write_text(f"#!/bin/bash\n{text}\n")
        (tmp_path / name).chmod(0o755)
    (tmp_path / "python").symlink_to(sys.executable)
    environment = {
        **{"PATH": f"{tmp_path}:{os.environ['PATH']}", "HOME": str(tmp_path), "W2S": str(tmp_path)},
        **{"SLURM_JOB_ID": "7", "SLURM_JOB_NODELIST": "one,two", "SLURM_JOB_NUM_NODES": "2"},
        **{"SLURM_CPUS_PER_TASK": "4", "SLURM_GPUS_ON_NODE": "1"},
    }
    with subprocess.Popen(
        ["bash", CLUSTER / "slurm.sbatch", "sweep.yaml"], env=environment
    ) as script:
        driver, deadline = tmp_path / "driver", time.monotonic() + 60
        while not driver.exists():
            assert script.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.05)
        if ended_by == "SIGTERM":
            script.terminate()
        else:
            (tmp_path / "finish").touch()
        assert script.wait(timeout=60) == code
    started = f"10.0.0.1:6379 run sweep.yaml --store {tmp_path}/w2s-results"
    assert driver.read_text().splitlines() == [started, "told"][: 1 + (ended_by == "SIGTERM")]
    nodes = (tmp_path / "nodes").read_text()
    assert nodes.count("ray start --head") == 1
    assert nodes.count("ray start --address=10.0.0.1:6379") == 1
    assert not list(tmp_path.glob(".w2s-token*")), "the token is gone with the job"


FILES = sorted(path for path in CLUSTER.iterdir() if path.suffix != ".md")
SECRETS = {
    "a key of AWS": r"\b(AKIA|ASIA)[0-9A-Z]{16}\b",
    "a private key": r"-----BEGIN",
    "a token or key, by its length": r"\b(?=[A-Za-z]*[0-9])[A-Za-z0-9+/_]{32,}\b",
    "a value of what should be secret": r"(?i)(password|secret_?key|auth_token)\s*[:=]\s*['\"]?\w",
}
OPEN = {
    "every address": r"0\.0\.0\.0|::/0",
    "the host's network": r"hostPort|hostNetwork|--net(work)?[= ]host|-p\s*\d+:\d+",
    "a service for outside": r"NodePort|LoadBalancer|enableIngress",
    "a dashboard beyond localhost": r"dashboard-host[=: ]+(?!127\.0\.0\.1)",
}


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_no_file_holds_a_secret_or_opens_a_port(path):
    text = path.read_text(encoding="utf-8")
    for what, pattern in {**SECRETS, **OPEN}.items():
        found = re.search(pattern, text)
        assert found is None, f"{what}: {found[0]!r}" if found else ""


@pytest.mark.parametrize("name", [*CLOUDS, "local", "slurm.sbatch"])
def test_every_node_requires_the_token(name):
    path = CLUSTER / (name if "." in name else f"{name}.yaml")
    text = path.read_text(encoding="utf-8")
    starts = len(re.findall(r"\bray\"? start ", text))
    assert starts == 2
    if name == "slurm.sbatch":
        assert "export RAY_AUTH_MODE=token RAY_AUTH_TOKEN_PATH" in text
    else:
        assert text.count("RAY_AUTH_MODE=token ray start") == starts
        assert load(name)["file_mounts"]["/home/ray/.ray/auth_token"] == "~/.ray/auth_token"


@pytest.mark.parametrize("name", CLOUDS)
def test_no_machine_of_a_cloud_is_open_to_the_internet(name):
    """Left to itself, Ray lets in SSH from everywhere."""
    config = load(name)
    types = config["available_node_types"].values()
    match name:
        case "aws":
            assert all(kind["node_config"]["SecurityGroupIds"] for kind in types)
            assert all(kind["node_config"]["IamInstanceProfile"] for kind in types)
        case "gcp":
            assert all("networkInterfaces" in kind["node_config"] for kind in types)
        case "azure":
            assert config["provider"]["use_internal_ips"] is True


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_images_are_pinned(path):
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    text = re.sub(r"#.*", "", path.read_text(encoding="utf-8"))
    for name, value in re.findall(r"^ARG (\w+)=(\S+)", text, re.M):
        text = text.replace(f"${{{name}}}", value)
    for image in re.findall(r"^\s*(?:- )?image: *(\S+)|^FROM (\S+:\S+)", text, re.M):
        name = image[0] or image[1]
        assert not name.endswith(":latest")
        if image[0]:
            assert name.endswith(f"/w2s-ray:{version}-cuda")
        else:
            assert re.search(r":\d+\.\d+\.\d+", name), name


def test_the_image_copies_what_there_is_and_the_builder_gets():
    text = (CLUSTER / "Dockerfile").read_text(encoding="utf-8")
    ignored = (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()
    given = {line[1:] for line in ignored if line.startswith("!")}
    copied = {
        source
        for line in re.findall(r"^COPY (?:--\S+ )*(.+)$", text, re.M)
        for source in line.split()[:-1]
    }
    assert copied == given
    assert all((ROOT / source).exists() for source in copied)
    assert "requirements.lock" in copied
