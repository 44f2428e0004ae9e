"""A sweep on several machines: a fit on two of them resumes when one is lost."""

from __future__ import annotations

import re
import secrets
import sys
import tempfile
import time
from pathlib import Path

import pytest
import s3fs

from tests.cluster.machines import PORT, RAY, WIRE, room, start_node, wait_for_nodes, why_not
from tests.faulty_s3 import S3Server
from tests.support import sweep_text
from w2s_ray.execute.environment import VARIABLES
from w2s_ray.store import Store

pytestmark = [pytest.mark.ray, pytest.mark.slow, pytest.mark.timeout(800)]

SHARDED = "{engine: deepspeed, workers: 2, zero_stage: 3, checkpoint_every_s: 0, retries: 0}"
WORKER = "ray::RayTrainWorker"
WRONG = {"RAY_AUTH_TOKEN": "0" * 64}
MARKER = re.compile(r"/step-(\d+)/rank-(\d+)\.done$")


@pytest.fixture
def short_folder():
    """A folder of Ray's: names of sockets have a limit."""
    with tempfile.TemporaryDirectory(prefix="w2s-", ignore_cleanup_errors=True) as folder:
        yield Path(folder)


def test_a_fit_on_two_machines_resumes_after_the_loss_of_one(
    tmp_path: Path, short_folder: Path, monkeypatch
):
    if reason := why_not():
        pytest.skip(reason)
    token = tmp_path / "token"
    token.write_text(secrets.token_hex(32))
    variables = {
        **VARIABLES,
        "RAY_AUTH_MODE": "token",
        "RAY_AUTH_TOKEN_PATH": str(token),
        "RAY_TMPDIR": str(short_folder),
        "GLOO_SOCKET_IFNAME": WIRE,  # the machines share a host name, which says 127.0.0.1
    }
    with room("head", "one", "two", "three", environment=variables) as there:
        head, one, two, three = there.machines.values()
        with S3Server(there.here) as server:
            for name, value in server.environment.items():
                monkeypatch.setenv(name, value)
            s3fs.S3FileSystem.clear_instance_cache()  # they remember the endpoint of earlier tests
            uri = f"{server.new_bucket()}/results"
            log = tmp_path / "nodes.log"
            # One after the other: nodes that share a disk may take each other's names.
            for count, machine in enumerate((head, one, two), start=1):
                start_node(machine, head=head, log=log, cpus=0 if machine is head else 1)
                wait_for_nodes(head, count)
            sweep = tmp_path / "sweep.yaml"
            sweep.write_text(_sweep(tmp_path))
            driver = head.start(
                *("env", f"RAY_ADDRESS={head.address}:{PORT}", sys.executable, "-m", "w2s_ray"),
                *("run", str(sweep), "--store", uri),
                log=tmp_path / "driver.log",
            )
            store = Store.open(uri)
            fit, steps = _in_the_middle(store, driver)
            assert [sum(WORKER in t for t in m.titles()) for m in (one, two)] == [1, 1]
            two.lose()
            start_node(three, head=head, log=log, cpus=1)
            written = _steps_until_done(store, fit, driver)
            assert any(WORKER in title for title in three.titles())
            assert min(written) > min(steps), "it began anew"
            assert driver.wait(timeout=300) == 0, (tmp_path / "driver.log").read_text()
            records = {record.id: record for record in store.records()}
            assert records[fit].retries == {"node_lost": 1}
            assert all(record.status == "done" for record in records.values())
            assert len(records) == 3
            refused = head.run(RAY, "status", "--address", f"{head.address}:{PORT}", **WRONG)
            assert refused.returncode != 0


def _sweep(folder: Path) -> str:
    text = sweep_text(folder, execution=SHARDED)
    text = text.replace("pairs: [[a, b], [b, c]]", "pairs: [[a, b]]").replace("[0, 1]", "[0]")
    return text.replace("epochs: 2", "epochs: 8")


def _steps(store: Store, fit: str) -> set[int]:
    """Steps of a fit whose checkpoint both workers have written."""
    found = [MARKER.search(path) for path in store.files.find(f"work/{fit}")]
    marks = {(int(m[1]), int(m[2])) for m in found if m}
    return {step for step, rank in marks if rank == 0 and (step, 1) in marks}


def _in_the_middle(store: Store, driver) -> tuple[str, set[int]]:
    """The first fit that was seen with four checkpoints, and their steps.

    One that was replaced may lie there for another moment: only the first is sure to be gone.
    """
    deadline, seen = time.monotonic() + 300, dict[str, set[int]]()
    while time.monotonic() < deadline and driver.poll() is None:
        for fit in store.work.fit_ids():
            steps = seen.setdefault(fit, set())
            steps |= _steps(store, fit)
            if len(steps) >= 4:
                return fit, steps
        time.sleep(0.2)
    raise TimeoutError(f"no fit was seen in its middle: {seen}")


def _steps_until_done(store: Store, fit: str, driver) -> set[int]:
    """Steps of the checkpoints that were seen until the fit was done."""
    deadline, seen = time.monotonic() + 300, set[int]()
    while time.monotonic() < deadline and driver.poll() is None and fit not in store.all_done():
        seen |= _steps(store, fit)
        time.sleep(0.2)
    return seen
