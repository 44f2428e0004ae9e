"""`w2s submit` from a process with only the address and the token; `w2s cancel`."""

from __future__ import annotations

import contextlib
import os
import re
import secrets
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import ray.util
import requests

from benchmarks.heads import BIN, ray_head
from tests.support import sweep_text
from w2s_ray.store import Store

pytestmark = [pytest.mark.ray, pytest.mark.timeout(600)]

PORT, DASHBOARD = 6441, 8441
URL = f"http://127.0.0.1:{DASHBOARD}"


@pytest.fixture(scope="module")
def token(tmp_path_factory) -> Iterator[str]:
    """The token of a cluster on this machine with token authentication."""
    secret = secrets.token_hex(32)
    environment = {
        **os.environ,
        "RAY_AUTH_MODE": "token",
        "RAY_AUTH_TOKEN": secret,
        "PATH": f"{BIN}:{os.environ['PATH']}",
    }
    environment.pop("PYTHONPATH", None)  # the package must come with the job
    log = tmp_path_factory.mktemp("head") / "log"
    places = {"port": PORT, "dashboard": DASHBOARD, "environment": environment}
    with ray_head(log, "--num-cpus", "2", "--num-gpus", "0", **places) as head:
        asks = lambda: requests.get(f"{URL}/api/version", timeout=5).status_code == 401  # noqa: E731
        head.until(asks, seconds=180, but=(requests.RequestException,))
        head.until(head.accepts_jobs, seconds=180)
        yield secret


def until(true: Callable[[], object], seconds: float = 120) -> None:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        with contextlib.suppress(requests.RequestException):
            if true():
                return
        time.sleep(0.3)
    raise TimeoutError


def w2s(home: Path, *arguments: str | Path, token: str | None) -> subprocess.CompletedProcess[str]:
    """The command in a process without any other token than `token`."""
    environment = {name: os.environ[name] for name in ("PATH", "PYTHONPATH") if name in os.environ}
    environment["HOME"] = str(home)
    if token is not None:
        path = home / ".ray" / "auth_token"
        path.parent.mkdir(exist_ok=True)
        path.write_text(token)
    return subprocess.run(
        [sys.executable, "-m", "w2s_ray", *map(str, arguments)],
        capture_output=True,
        text=True,
        check=False,
        timeout=550,
        env=environment,
        cwd=home,
    )


def write(folder: Path, *, epochs: int = 2, execution: str = "{}") -> Path:
    path = folder / "sweep.yaml"
    text = sweep_text(folder, execution=execution, name=folder.name.replace("_", "-"))
    for old, new in (
        ("pairs: [[a, b], [b, c]]", "pairs: [[a, b]]"),
        ("seeds: [0, 1]", "seeds: [0]"),
        ("epochs: 2,", f"epochs: {epochs},"),
    ):
        assert old in text
        text = text.replace(old, new)
    path.write_text(text)
    return path


def test_no_token_and_a_wrong_one_are_refused_in_one_line(token, tmp_path):
    sweep = write(tmp_path)
    for wrong, message in ((None, "needs a token; put its token"), ("f" * 64, "refuses the token")):
        ended = w2s(tmp_path, "submit", sweep, "--address", URL, "--shared", token=wrong)
        assert ended.returncode == 2, ended.stderr
        assert message in ended.stderr
        assert len(ended.stderr.strip().splitlines()) == 1
    assert not (tmp_path / "results").exists()


def test_a_driver_beside_the_cluster_needs_the_token_too(token, tmp_path):
    sweep = write(tmp_path)
    for wrong in (None, "f" * 64):
        address = f"{ray.util.get_node_ip_address()}:{PORT}"
        ended = w2s(tmp_path, "run", sweep, "--address", address, token=wrong)
        assert ended.returncode == 2, ended.stderr
        assert f"can't reach Ray at {address}" in ended.stderr
        assert "~/.ray/auth_token holds its token" in ended.stderr


def test_a_job_trains_the_sweep_and_its_log_is_printed(token, tmp_path):
    sweep = write(tmp_path)
    ended = w2s(tmp_path, "submit", sweep, "--address", URL, "--shared", token=token)
    assert ended.returncode == 0, ended.stderr + ended.stdout
    assert "student" in ended.stdout, "the table"
    assert len(Store.open(tmp_path / "results").all_done()) == 3


@pytest.mark.chaos
def test_a_job_that_is_refused_on_the_cluster_ends_with_its_exit_code(token, tmp_path):
    refused = write(tmp_path, execution="{cpus_per_worker: 64}", epochs=3)
    ended = w2s(tmp_path, "submit", refused, "--address", URL, "--shared", token=token)
    assert ended.returncode == 2, ended.stderr + ended.stdout
    assert "needs 64 CPU" in ended.stdout


@pytest.mark.slow
@pytest.mark.chaos
def test_a_job_is_followed_again_and_stopped_with_checkpoints(token, tmp_path):
    sweep = write(tmp_path, epochs=100_000, execution="{checkpoint_every_s: 3600}")
    store = Store.open(tmp_path / "results")
    command = ("submit", sweep, "--address", URL, "--shared", "--detach")
    started = w2s(tmp_path, *command, token=token)
    assert started.returncode == 0, started.stderr
    assert "w2s cancel" in started.stderr
    again = w2s(tmp_path, *command, token=token)
    assert "runs this sweep already" in again.stderr
    until(lambda: any(store.files.find("work/live")))
    status = ("status", sweep, "--format", "json")
    until(lambda: re.search('"step": [0-9]', w2s(tmp_path, *status, token=None).stdout))
    ended = w2s(tmp_path, "cancel", sweep, "--address", URL, token=token)
    assert ended.returncode == 0, ended.stderr
    assert ended.stderr.splitlines()[-1].endswith("stopped")
    assert store.work.fit_ids(), "a checkpoint of what was under way"
    assert not store.all_done()
    assert not list(store.latest(store.run_files())), "nothing failed"
    ended = w2s(tmp_path, "cancel", sweep, "--address", URL, token=token)
    assert (ended.returncode, "is running" in ended.stderr) == (2, True)
