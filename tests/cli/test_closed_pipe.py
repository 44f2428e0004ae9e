"""A reader that closes the pipe, as `head` does, ends every command that prints, silently."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.report.figures.stores import Sweep, make_store
from tests.support import make_model, make_task
from w2s_ray.cli.standard_streams import CLOSED

LARGE = "select a.range as x, repeat('abc', 30) as y from range({}) a"
"""More bytes than a pipe's buffer has."""
QUERY = ("query", LARGE.format(20_000), "--store", "{store}", "--format")
COMMANDS = {
    "help": ("--help",),
    "columns as json": ("query", "--columns", "--format", "json"),
    "query": ("query", LARGE.format(3000), "--store", "{store}", "--limit", "3000"),
    "query as csv": (*QUERY, "csv"),
    "query as json": (*QUERY, "json"),
    "query to a pipe": (*QUERY, "csv", "--out", "/dev/stdout"),
    "table": ("table", "--store", "{store}"),
    "table as json": ("table", "--store", "{store}", "--format", "json"),
    "compare": ("compare", "--store", "{store}", "--against", "naive"),
    "plan": ("plan", "{sweep}", "--runs"),
    "status": ("status", "{sweep}", "--store", "{store}"),
    "cost": ("cost", "{sweep}", "--store", "{store}"),
    "figures": ("figures", "--store", "{store}", "--out", "{place}/figures"),
}
FOLLOWED = ("query", "query as csv", "query to a pipe")


@pytest.fixture(scope="module")
def place(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("pipes")
    make_store(folder / "store", Sweep())
    make_task(folder / "task.csv", rows=200)
    model = make_model(folder / "model")
    (folder / "sweep.yaml").write_text(
        f"""
name: t
training: {{epochs: 1, batch_size: 8, max_tokens: 32}}
task: {{name: words, path: {folder}/task.csv, train: 40, validation: 8, test: 8,
        columns: {{text: text, label: label}}}}
models: ["embedded:xs", {{name: {model}, label: strong}}]
methods: {{naive: {{}}}}
seeds: [0]
store: {folder}/store
"""
    )
    return folder


def ended(arguments: Sequence[str], place: Path, *, first: bool, both: bool = False) -> tuple:
    """Exit code and standard error of a command whose reader closes the pipe, at once or later.

    `both` is for standard error into the same pipe.
    """
    given = {"store": place / "store", "sweep": place / "sweep.yaml", "place": place}
    read, write = os.pipe()
    if not first:
        os.close(read)
    process = subprocess.Popen(
        [sys.executable, "-m", "w2s_ray", *(a.format(**given) for a in arguments)],
        stdout=write,
        stderr=write if both else subprocess.PIPE,
        env={**os.environ, "W2S_CACHE": str(place / "cache")},
    )
    os.close(write)
    if first:
        os.read(read, 10)
        os.close(read)
    _, error = process.communicate(timeout=120)
    return process.returncode, None if error is None else error.decode()


@pytest.mark.parametrize("name", COMMANDS)
def test_a_reader_that_closed_the_pipe_before(name, place):
    assert ended(COMMANDS[name], place, first=False) == (CLOSED, "")


@pytest.mark.parametrize("name", FOLLOWED)
def test_a_reader_that_closes_the_pipe_after_the_first_line(name, place):
    assert ended(COMMANDS[name], place, first=True) == (CLOSED, "")


@pytest.mark.parametrize("name", ["query as csv", "table"])
def test_both_streams_into_one_pipe(name, place):
    assert ended(COMMANDS[name], place, first=False, both=True) == (CLOSED, None)


def test_an_error_without_a_reader_is_silent(place):
    assert ended(("table", "--store", "{place}/none"), place, first=False, both=True)[0] == CLOSED
    assert ended(("table", "--store", "{place}/none"), place, first=False)[0] == 2


def test_a_link_to_a_file_stays_a_link(place):
    (place / "link.csv").symlink_to(place / "target.csv")
    query = [sys.executable, "-m", "w2s_ray", "query", "select 1 as x", "--format", "csv"]
    query += ["--store", str(place / "store"), "--out", str(place / "link.csv")]
    subprocess.run(query, check=True, capture_output=True)
    assert (place / "link.csv").is_symlink()
    assert (place / "target.csv").read_text() == "x\n1\n"
