"""After a sweep with early stops Ray's resources are free, and only this user had access to it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support import sweep_text

pytestmark = [pytest.mark.ray, pytest.mark.slow]

SCRIPT = """
import contextlib, http.client, json, os, psutil, re, stat, sys, time
from pathlib import Path
from w2s_ray.execute.environment import set_variables
set_variables()
import ray
from ray.util import placement_group_table
from w2s_ray import load_sweep, run_sweep
from w2s_ray.execute.cluster import ray_cluster
with ray_cluster():
    everything = ray.cluster_resources()
    outcome = run_sweep(load_sweep(sys.argv[1]))
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        groups = [g["state"] for g in placement_group_table().values()]
        free = ray.available_resources()
        if set(groups) <= {"REMOVED"} and free.get("CPU") == everything["CPU"]:
            break
        time.sleep(0.5)
    token = Path.home() / ".ray" / "auth_token"
    processes = [psutil.Process(), *psutil.Process().children(recursive=True)]
    from ray._private import worker
    folder = Path(worker._global_node.get_session_dir_path()).parents[1]
    open_ports = []
    named = ""
    listening = []
    for process in processes:
        with contextlib.suppress(psutil.NoSuchProcess):  # an idle worker may end meanwhile
            named += " ".join(process.cmdline()[:1]) + "\\n"
            listening += [
                (
                    process.name(),
                    connection.laddr.ip.removeprefix("::ffff:"),
                    connection.laddr.port,
                )
                for connection in process.net_connections("inet")
                if connection.status == psutil.CONN_LISTEN
            ]
    for _, _, port in listening:
        with contextlib.suppress(OSError, http.client.HTTPException):
            connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
            connection.request("GET", "/metrics")
            if connection.getresponse().status == 200:
                open_ports.append(port)
    print(json.dumps({
        "folder": str(folder),
        "folder_mode": stat.S_IMODE(folder.stat().st_mode),
        "open_ports": open_ports,
        "complete": outcome.complete,
        "groups": groups,
        "free": free.get("CPU"),
        "all": everything["CPU"],
        "listening": listening,
        "dashboard": re.findall("^ray-dashboard-([A-Za-z]+)", named, re.M),
        "mode": os.environ["RAY_AUTH_MODE"],
        "token": stat.S_IMODE(token.stat().st_mode) if token.exists() else None,
    }))
"""


def test_an_early_stop_of_a_sharded_trial_frees_what_its_group_held(tmp_path: Path):

    sweep = tmp_path / "sweep.yaml"
    text = sweep_text(
        tmp_path,
        methods="""confidence:
    loss: {kind: confidence}
    search: {loss.alpha: {uniform: [0.0, 0.9]}}""",
        extra="search: {trials: 6, scheduler: asha, grace_evaluations: 1, reduction_factor: 2}",
        execution="{engine: deepspeed, workers: 2, zero_stage: 2}",
    )
    sweep.write_text(text.replace("seeds: [0, 1]", "seeds: [0]"))
    run = subprocess.run(
        [sys.executable, "-c", SCRIPT, str(sweep)], capture_output=True, text=True, check=False
    )
    assert run.returncode == 0, run.stdout + run.stderr
    found = json.loads(run.stdout.splitlines()[-1])
    assert found["complete"]
    assert found["groups"], "no placement group was ever made"
    assert set(found["groups"]) == {"REMOVED"}
    assert found["free"] == found["all"]
    assert {"gcs_server", "raylet"} <= {name for name, _, _ in found["listening"]}
    assert {address for _, address, _ in found["listening"]} <= {"127.0.0.1", "::1"}
    assert found["open_ports"] == [], "metrics are served without the token"
    assert found["dashboard"] == ["StateHead"], "other parts would be processes for nothing"
    assert found["folder_mode"] == 0o700
    assert not Path(found["folder"]).exists(), "it goes at the end"
    assert found["mode"] == "token"
    assert found["token"] in (0o600, None)
