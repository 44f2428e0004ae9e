"""`w2s doctor`: a finding for each check, a remedy for each fault, and an exit code."""

from __future__ import annotations

import json
import shutil
import socket
import subprocess
from collections import namedtuple
from importlib.metadata import PackageNotFoundError
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from w2s_ray.cli import app
from w2s_ray.execute import doctor
from w2s_ray.store import Store, marker

CHECKS = ["versions", "Ray", "GPU", "hub", "token", "store", "disk"]


@pytest.fixture(autouse=True)
def _machine(tmp_path: Path, monkeypatch) -> None:
    """No network, no GPU, no token, a cache of its own."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("HF_TOKEN_PATH", str(tmp_path / "token"))
    monkeypatch.delenv("HF_TOKEN", raising=False)
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    monkeypatch.setenv("W2S_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(doctor.subprocess, "run", _no_command)


def _no_command(*_: Any, **__: Any) -> None:
    raise FileNotFoundError


def findings(*arguments: str, code: int) -> dict[str, dict[str, str]]:
    run = CliRunner().invoke(app, ["doctor", "--format", "json", *arguments])
    assert run.exit_code == code, run.output
    found = {one["check"]: one for one in json.loads(run.stdout)}
    assert list(found) == CHECKS
    assert all(one["remedy"] for one in found.values() if one["state"] == "broken")
    return found


def test_a_machine_without_network_and_gpu_is_good_enough_and_nothing_is_left(tmp_path):
    found = findings(code=0)
    states = {name: one["state"] for name, one in found.items()}
    assert {name for name, state in states.items() if state == "ok"} >= {"versions", "store"}
    assert (states["GPU"], states["hub"]) == ("note", "note")
    assert [path.name for path in tmp_path.iterdir()] == ["cache"]


def test_the_lines_have_state_check_and_detail():
    run = CliRunner().invoke(app, ["doctor"])
    assert run.exit_code == 0
    assert [line.split()[1] for line in run.stdout.splitlines()] == CHECKS


def test_the_store_of_the_sweep_file_is_checked(tmp_path):
    (tmp_path / "s.yaml").write_text(
        "name: s\ntask: {name: embedded, train: 40, validation: 10, test: 10}\n"
        "models: ['embedded:xs', 'embedded:s']\nmethods: {naive: {}}\nstore: here\n"
    )
    assert "here can be made" in findings("s.yaml", code=0)["store"]["detail"]
    marker.ensure_marker(Store.open(str(tmp_path / "there")).files)
    assert "there can be written" in findings("s.yaml", "store=there", code=0)["store"]["detail"]


def test_a_store_that_cant_be_written_is_broken():
    store = findings("--store", "/proc/results", code=1)["store"]
    assert store["state"] == "broken"
    assert "name another folder or URI" in store["remedy"]


def test_a_store_without_conditional_writes_is_broken(monkeypatch):
    def overwrites(self: Any, path: str, data: bytes) -> bool:
        self.write(path, data)
        return True

    monkeypatch.setattr("w2s_ray.store.local_files.LocalFiles.create", overwrites)
    store = findings(code=1)["store"]
    assert "ignores conditional writes" in store["detail"]
    assert "use a folder, or an object store" in store["remedy"]


def test_a_full_disk_is_broken(monkeypatch):
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage(2**40, 2**40 - 2**28, 2**28))
    assert findings(code=1)["disk"]["state"] == "broken"


def test_a_missing_package_is_broken(monkeypatch):
    def version(package: str) -> str:
        if package == "deepspeed":
            raise PackageNotFoundError
        return "1"

    monkeypatch.setattr(doctor, "version", version)
    assert findings(code=1)["versions"]["remedy"] == "pip install deepspeed"


def test_a_cluster_that_does_not_answer_is_broken(monkeypatch):
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        monkeypatch.setenv("RAY_ADDRESS", f"127.0.0.1:{port}")
        assert findings(code=0)["Ray"]["state"] == "ok"
    ray = findings(code=1)["Ray"]
    assert "unset RAY_ADDRESS" in ray["remedy"]
    monkeypatch.setenv("RAY_ADDRESS", "http://127.0.0.1:8265")
    assert findings(code=1)["Ray"]["state"] == "broken"


def test_a_gpu_that_torch_cant_use_is_broken(monkeypatch):
    answer = subprocess.CompletedProcess([], 0, stdout="NVIDIA H100, 81559 MiB\n")
    monkeypatch.setattr(doctor.subprocess, "run", lambda *_, **__: answer)
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    assert "install a torch" in findings(code=1)["GPU"]["remedy"]
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    assert findings(code=0)["GPU"]["detail"] == "NVIDIA H100, 81559 MiB"


def test_a_hub_that_cant_be_reached_is_a_note(monkeypatch):
    monkeypatch.delenv("HF_HUB_OFFLINE")
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    hub = findings(code=0)["hub"]
    assert hub["state"] == "note"
    assert "http://127.0.0.1:9 can't be reached" in hub["detail"]
