"""A sweep on a cluster that scales up from its head and down again, with the loss of one node.

Owns the cluster (Ray's autoscaler with its fake node provider: real raylets, all on this machine),
the timeline of nodes and demand, and its figure. It does not check the sweep's table.

    python -m benchmarks.autoscaling docs/figures/autoscaling.svg
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.heads import ray_head

HEAD = "f" * 51 + "00000"
"""The id of the head in the fake provider."""
HEAD_TYPE = "ray.head.default"
"""The node type of the head in the fake provider."""
EVERY_S = 0.5
IDLE_MINUTES = 0.08


@dataclass(frozen=True)
class Moment:
    """Nodes and demand of the cluster at one moment."""

    s: float
    nodes: int
    """Beside the head."""
    cpus_used: float
    cpus_waited_for: float


@dataclass
class Timeline:
    """Moments of a cluster, recorded within the context."""

    address: str
    moments: list[Moment] = field(default_factory=list)

    def __enter__(self) -> Timeline:
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *details: object) -> None:
        self._over.set()
        self._thread.join()

    @property
    def nodes(self) -> int:
        """The current number of nodes."""
        return self.moments[-1].nodes if self.moments else 0

    def _run(self) -> None:
        began = time.monotonic()
        while not self._over.wait(EVERY_S):
            with contextlib.suppress(RuntimeError):
                self.moments.append(moment(self.address, time.monotonic() - began))


def moment(address: str, s: float) -> Moment:
    """The current nodes of the cluster at `address`."""
    from ray.autoscaler.v2.sdk import get_cluster_status

    status = get_cluster_status(address)
    demands = status.resource_demands
    waited_for = sum(
        request.count * request.bundle.get("CPU", 0.0)
        for demand in (*demands.ray_task_actor_demand, *demands.placement_group_demand)
        for request in demand.bundles_by_count
    )
    there = [*status.active_nodes, *status.idle_nodes]
    used = sum(u.used for u in status.cluster_resource_usage if u.resource_name == "CPU")
    nodes = sum(node.ray_node_type_name != HEAD_TYPE for node in there)
    return Moment(s, nodes, used, waited_for)


@dataclass(frozen=True)
class Elastic:
    """A cluster with an autoscaler."""

    address: str
    environment: dict[str, str]

    def lose_node(self) -> None:
        """Remove a node without warning, as a cloud may remove a spot machine."""
        import psutil

        for process in psutil.process_iter(["name", "cmdline"]):
            arguments = process.info["cmdline"] or []
            if process.info["name"] == "raylet" and f"--gcs-address={self.address}" in arguments:
                with contextlib.suppress(psutil.Error):
                    if process.environ().get("RAY_OVERRIDE_NODE_ID_FOR_TESTING") != HEAD:
                        for each in (process, *process.children(recursive=True)):
                            each.kill()
                        return
        raise RuntimeError(f"{self.address} has no node to lose")


@contextlib.contextmanager
def elastic_cluster(folder: Path, *, port: int, most: int) -> Iterator[Elastic]:
    """A head without CPUs and up to `most` nodes with one CPU each, for the time of the context."""
    import ray.util

    from w2s_ray.execute.environment import set_variables

    address = f"{ray.util.get_node_ip_address()}:{port}"
    config = folder / "autoscaling.json"
    config.write_text(json.dumps(_config(address, most)))
    environment = {
        **os.environ,
        **set_variables(),
        "RAY_FAKE_CLUSTER": "1",
        "AUTOSCALER_UPDATE_INTERVAL_S": "1",
        "RAY_enable_autoscaler_v2": "1",
        "RAY_NODE_TYPE_NAME": HEAD_TYPE,
        "RAY_CLOUD_INSTANCE_ID": HEAD,
        "RAY_OVERRIDE_NODE_ID_FOR_TESTING": HEAD,
    }
    options = ("--num-cpus", "0", "--num-gpus", "0", "--resources", '{"w2s_driver": 1}')
    options = (*options, f"--autoscaling-config={config}")
    places = {"port": port, "dashboard": port + 1, "environment": environment}
    try:
        with ray_head(folder / "head.log", *options, **places) as head:
            there = lambda: moment(address, 0.0).nodes == 0  # noqa: E731
            head.until(there, seconds=180, but=(RuntimeError,))
            yield Elastic(address, environment)
    finally:
        _end_nodes(address)


def figure(timeline: Timeline, *, lost_s: float | None = None) -> Any:
    """A figure of nodes and requested CPUs over time; a node has one CPU."""
    import altair as alt

    requested = "CPUs requested (in use and queued)"
    rows = [
        {"s": m.s, "count": count, "what": what}
        for m in timeline.moments
        for what, count in ((requested, m.cpus_used + m.cpus_waited_for), ("nodes", m.nodes))
    ]
    whole = alt.Axis(tickMinStep=1, format="d")
    base = alt.Chart(alt.Data(values=rows)).encode(
        x=alt.X("s:Q", title="seconds since the sweep's start", axis=alt.Axis(grid=False)),
        y=alt.Y("count:Q", title="nodes of one CPU, CPUs", axis=whole, stack=None),
        color=alt.Color(
            "what:N",
            title=None,
            legend=alt.Legend(orient="top", labelLimit=400, symbolType="square"),
            scale=alt.Scale(domain=[requested, "nodes"], range=["#f0b27a", "#1f4e79"]),
        ),
    )
    demand = base.transform_filter(alt.datum.what == requested)
    nodes = base.transform_filter(alt.datum.what == "nodes")
    chart: Any = demand.mark_area(interpolate="step-after", opacity=0.7) + nodes.mark_line(
        interpolate="step-after", strokeWidth=2.5
    )
    if lost_s is not None:
        lost = alt.Chart(alt.Data(values=[{"s": lost_s, "text": "a node is killed"}]))
        chart += lost.mark_rule(strokeDash=[4, 4]).encode(x="s:Q")
        chart += lost.mark_text(align="left", dx=5, baseline="top").encode(
            x="s:Q", y=alt.value(-14), text="text:N"
        )
    return chart.properties(width=640, height=220)


def _config(address: str, most: int) -> dict[str, Any]:
    """The configuration of Ray's autoscaler."""
    provider = {
        "type": "external",
        "module": "ray.autoscaler._private.fake_multi_node.node_provider.FakeMultiNodeProvider",
        "use_node_id_as_ip": True,
        "disable_node_updaters": True,
        "disable_launch_config_check": True,
        "launch_multiple": True,
        "head_node_id": HEAD,
        "gcs_address": address,
    }
    types = {
        HEAD_TYPE: {"resources": {"CPU": 0}, "node_config": {}, "max_workers": 0},
        "one-cpu": {
            "resources": {"CPU": 1},
            "node_config": {},
            "min_workers": 0,
            "max_workers": most,
        },
    }
    commands = ("setup", "head_setup", "worker_setup", "initialization")
    return {
        "cluster_name": "elastic",
        "max_workers": most,
        "idle_timeout_minutes": IDLE_MINUTES,
        "upscaling_speed": 10,
        "provider": provider,
        "available_node_types": types,
        "head_node_type": HEAD_TYPE,
        "auth": {},
        **{f"{name}_commands": [] for name in commands},
        "head_start_ray_commands": [],
        "worker_start_ray_commands": [],
        "file_mounts": {},
        "cluster_synced_files": [],
        "file_mounts_sync_continuously": False,
        "rsync_exclude": [],
        "rsync_filter": [],
        "docker": {},
    }


def run_on(
    cluster: Elastic, sweep: Path, *, lose: bool, log: Path
) -> tuple[Timeline, float | None]:
    """Run the sweep until its nodes are removed; the timeline, and when a node was lost."""
    lost_s: float | None = None
    with Timeline(cluster.address) as timeline:
        began = time.monotonic()
        with log.open("wb") as out:
            driver = subprocess.Popen(
                [sys.executable, "-m", "w2s_ray", "run", sweep, "--address", cluster.address],
                stdout=out,
                stderr=subprocess.STDOUT,
            )
        if lose:
            store = sweep.parent / "results"
            _until(lambda: driver.poll() is not None or _done(store) >= 2, seconds=240)
            if driver.poll() is None:
                lost_s = time.monotonic() - began
                cluster.lose_node()
        if driver.wait(timeout=400) != 0:
            raise RuntimeError(log.read_text())
        _until(lambda: timeline.nodes == 0, seconds=120)
        time.sleep(2 * EVERY_S)
    return timeline, lost_s


def _done(store: Path) -> int:
    return len(list(store.glob("runs/*/record.json")))


def _until(true: Callable[[], bool], *, seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        with contextlib.suppress(RuntimeError):
            if true():
                return
        time.sleep(EVERY_S)
    raise TimeoutError(f"it took longer than {seconds:g} s")


def _end_nodes(address: str) -> None:
    """End the processes that the autoscaler started and has not ended."""
    import psutil

    for process in psutil.process_iter(["cmdline"]):
        if any(address in argument for argument in process.info["cmdline"] or []):
            with contextlib.suppress(psutil.Error):
                process.kill()


def main() -> None:
    """Run the sweep, and write the figure and its numbers."""
    from tests.support import sweep_text

    out = Path(sys.argv[1])
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        sweep = folder / "sweep.yaml"
        text = sweep_text(folder, execution="{checkpoint_every_s: 0}")
        sweep.write_text(text.replace("epochs: 2,", "epochs: 40,"))
        with elastic_cluster(folder, port=6431, most=3) as cluster:
            timeline, lost_s = run_on(cluster, sweep, lose=True, log=folder / "log")
        print((folder / "log").read_text())
    moments = [dataclasses.asdict(each) for each in timeline.moments]
    out.with_suffix(".json").write_text(json.dumps({"lost_s": lost_s, "moments": moments}))
    figure(timeline, lost_s=lost_s).save(out)


if __name__ == "__main__":
    main()
