"""`ray up cluster/aws.yaml` against an imitation of AWS: what it makes and must be allowed."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from tests.cluster.test_files import CLUSTER, load

IMPLIED = {"ec2:CreateTags", "iam:PassRole"}
"""Further permissions that AWS requires to start a machine with tags and a role."""


@pytest.fixture
def aws(monkeypatch, tmp_path):
    """An account with a network, a group that lets in one address, and two roles."""
    import boto3
    import moto

    monkeypatch.setenv("HOME", str(tmp_path))
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "testing")
    monkeypatch.delenv("AWS_ENDPOINT_URL", raising=False)
    with moto.mock_aws():
        ec2, iam = boto3.client("ec2", "us-east-1"), boto3.client("iam")
        vpc = ec2.create_vpc(CidrBlock="10.0.0.0/16")["Vpc"]["VpcId"]
        subnet = ec2.create_subnet(VpcId=vpc, CidrBlock="10.0.0.0/24")["Subnet"]["SubnetId"]
        ec2.modify_subnet_attribute(SubnetId=subnet, MapPublicIpOnLaunch={"Value": True})
        group = ec2.create_security_group(GroupName="w2s", VpcId=vpc, Description="-")["GroupId"]
        for role in ("w2s-head", "w2s-worker"):
            iam.create_instance_profile(InstanceProfileName=role)
        image = ec2.describe_images()["Images"][0]["ImageId"]
        yield {"ami-EDIT": image, "subnet-EDIT": subnet, "sg-EDIT": group}


def edited(value: Any, edits: dict[str, str]) -> Any:
    """A file as its user has edited it."""
    if isinstance(value, dict):
        return {key: edited(entry, edits) for key, entry in value.items()}
    if isinstance(value, list):
        return [edited(entry, edits) for entry in value]
    return edits.get(value, value) if isinstance(value, str) else value


def test_ray_up_makes_machines_in_the_named_network_and_no_group_or_role(aws, monkeypatch):
    import boto3
    import botocore.client
    from ray.autoscaler._private.aws.config import bootstrap_aws
    from ray.autoscaler._private.aws.node_provider import AWSNodeProvider
    from ray.autoscaler._private.util import prepare_config

    ec2 = boto3.client("ec2", "us-east-1")
    before = ec2.describe_security_groups()["SecurityGroups"]
    called, really = set[str](), botocore.client.BaseClient._make_api_call

    def call(client, operation, arguments):
        called.add(f"{client.meta.service_model.service_name}:{operation}")
        return really(client, operation, arguments)

    monkeypatch.setattr(botocore.client.BaseClient, "_make_api_call", call)
    config = AWSNodeProvider.fillout_available_node_types_resources(
        bootstrap_aws(prepare_config(edited(load("aws"), aws)))
    )
    provider = AWSNodeProvider(config["provider"], config["cluster_name"])
    for kind in ("head", "gpu-1-spot", "gpu-8-ondemand"):
        tags = {"ray-node-type": "head" if kind == "head" else "worker", "ray-node-name": kind}
        node_config = config["available_node_types"][kind]["node_config"]
        provider.create_node(node_config, {**tags, "ray-user-node-type": kind}, 1)
    workers = provider.non_terminated_nodes({"ray-node-type": "worker"})
    provider.terminate_nodes(workers)
    monkeypatch.undo()

    assert ec2.describe_security_groups()["SecurityGroups"] == before
    made = [
        machine
        for reservation in ec2.describe_instances()["Reservations"]
        for machine in reservation["Instances"]
    ]
    kinds = {
        next(t["Value"] for t in machine["Tags"] if t["Key"] == "ray-user-node-type"): machine
        for machine in made
    }
    assert {kind: m["InstanceType"] for kind, m in kinds.items()} == {
        "head": "m7i.xlarge",
        "gpu-1-spot": "g6.2xlarge",
        "gpu-8-ondemand": "p4d.24xlarge",
    }
    assert [k for k, m in kinds.items() if m.get("InstanceLifecycle") == "spot"] == ["gpu-1-spot"]
    assert [k for k, m in kinds.items() if m["State"]["Name"] == "running"] == ["head"]
    assert {g["GroupId"] for m in made for g in m["SecurityGroups"]} == {aws["sg-EDIT"]}
    assert {m["SubnetId"] for m in made} == {aws["subnet-EDIT"]}
    assert called | IMPLIED == _allowed()


def _allowed() -> set[str]:
    """The actions that cluster/README.md says to allow."""
    text = Path(CLUSTER / "README.md").read_text(encoding="utf-8")
    return set(re.findall(r"`((?:ec2|iam):\w+)`", text))
