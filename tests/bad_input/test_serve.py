"""What `w2s serve` says to wrong options: exit code 2 and one line, and it never listens."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest
from typer.testing import CliRunner

from tests.report.stored import cells_of, write_sweep
from w2s_ray.cli import app, serve
from w2s_ray.store import Store


def refused(*arguments: str) -> str:
    run = CliRunner().invoke(app, ["serve", *arguments])
    assert run.exit_code == 2, run.output
    assert "Traceback" not in run.output
    (line,) = run.stderr.splitlines()
    assert run.stdout == ""
    return line


@pytest.fixture
def store(tmp_path: Path) -> str:
    found = Store.open(tmp_path / "results")
    cells = cells_of(tasks=("a",), methods=("naive",), seeds=1)
    write_sweep(found, cells, students={("a", "naive"): 0.7})
    return found.uri


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["--port", "-1"], "--port is -1; give 0 for a free one, or a number up to 65535"),
        (["--port", "65536"], "--port is 65536; give 0 for a free one"),
        (["--every", "0"], "--every is 0; give 0.5 seconds or more"),
        (["--every", "nan"], "--every is nan; give 0.5 seconds or more"),
        (["--every", "inf"], "--every is inf; give 0.5 seconds or more"),
        (["--host", "no host"], "can't listen at --host no host --port 0"),
        (["--host", "no.invalid"], "can't listen at --host no.invalid --port 0"),
        (["--host", "a" * 300], "can't listen at --host aaa"),
        (["--host", "192.0.2.1"], "can't listen at --host 192.0.2.1 --port 0"),
    ],
)
def test_a_wrong_option_gives_its_line(store, arguments, line):
    assert line in refused("--store", store, *arguments)


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["--store", "nothing"], "there are no results at"),
        (["--store", ""], "there are no results at"),
        (["--store", " "], "' ' is an empty path"),
        (["--store", "https://example.org/results"], "can't be written to"),
        (["missing.yaml"], "missing.yaml"),
        (["--store", "nope://bucket/results"], "nope"),
    ],
)
def test_a_wrong_store_gives_its_line(tmp_path, monkeypatch, arguments, line):
    monkeypatch.chdir(tmp_path)
    assert line in refused(*arguments)


def test_a_port_in_use_gives_its_line(store):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        line = refused("--store", store, "--port", port)
    assert f"--port {port}" in line
    assert "choose another, or port 0 for a free one" in line


def test_a_missing_package_gives_its_line(store, monkeypatch):
    monkeypatch.setattr(serve, "find_spec", lambda name: None)
    assert refused("--store", store) == 'error: aiohttp is missing: pip install "w2s_ray[serve]"'
