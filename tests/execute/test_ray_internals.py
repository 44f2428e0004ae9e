"""Ray's private interfaces: all in one module, and all still in the installed Ray."""

from __future__ import annotations

import inspect
import re
from pathlib import Path

import pytest
import ray

import w2s_ray
from w2s_ray.execute import ray_internals
from w2s_ray.execute.ray_internals import HEAD_NODE, INIT_OPTIONS, INTERNALS, TRIED_ON, internal

PACKAGE = Path(w2s_ray.__file__).parent
PRIVATE = re.compile(r"(from|import) ray\.(_private|_raylet|_common|autoscaler)\b|ray\._private")
METHODS = {
    "ray._private.state.actors": ("actor_id",),
    "ray._private.utils.set_sigterm_handler": ("sigterm_handler",),
    "ray.autoscaler.v2.sdk.get_cluster_status": ("gcs_address",),
    "ray.autoscaler._private.kuberay.autoscaling_config.AutoscalingConfigProducer": (
        "ray_cluster_name",
        "ray_cluster_namespace",
    ),
}
"""Private function or class -> its first parameters."""


@pytest.mark.parametrize("name", INTERNALS)
def test_the_installed_ray_has_every_private_name(name):
    found = internal(name)  # it raises with a sentence that names the use
    if name in METHODS:
        first = tuple(inspect.signature(found).parameters)[: len(METHODS[name])]
        assert first == METHODS[name], (
            f"Ray {ray.__version__} changed the parameters of {name}, tried on {TRIED_ON}"
        )


def test_ray_still_has_the_methods_that_are_called_on_private_objects():
    from ray._private import worker
    from ray._private.node import Node
    from ray._raylet import Config, InnerGcsClient  # pyright: ignore[reportAttributeAccessIssue]

    changed = f"Ray {ray.__version__} moved it; it was tried on {TRIED_ON}"
    assert hasattr(InnerGcsClient, "get_draining_nodes"), changed
    assert hasattr(Config, "initialize"), changed
    assert "worker.gcs_client = " in inspect.getsource(worker.connect), changed
    assert hasattr(Node, "kill_all_processes"), changed
    assert hasattr(Node, "get_session_dir_path"), changed


def test_ray_still_has_the_private_options_and_the_head_nodes_resource():
    from ray._common.constants import HEAD_NODE_RESOURCE_NAME
    from ray._private import worker

    changed = f"Ray {ray.__version__} changed it; it was tried on {TRIED_ON}"
    source = inspect.getsource(worker.init)
    assert all(f'kwargs.pop("{option}"' in source for option in INIT_OPTIONS), changed
    assert HEAD_NODE == HEAD_NODE_RESOURCE_NAME, changed


def test_a_name_that_ray_has_moved_is_reported_in_one_sentence(monkeypatch):
    monkeypatch.setitem(INTERNALS, "ray._private.state.acters", "an example")
    with pytest.raises(RuntimeError, match=r"has no ray\._private\.state\.acters, which w2s_ray"):
        internal("ray._private.state.acters")


def test_no_other_module_uses_private_interfaces_of_ray():
    own = Path(ray_internals.__file__)
    found = [
        f"{path.relative_to(PACKAGE)}: {line.strip()}"
        for path in PACKAGE.rglob("*.py")
        if path != own
        for line in path.read_text(encoding="utf-8").splitlines()
        if PRIVATE.search(line)
    ]
    assert found == [], "use w2s_ray/execute/ray_internals.py"
