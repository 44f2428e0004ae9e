"""Outputs that would replace a file of the store, or the sweep file: one line, none is written."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner

from tests.report.stored import cells_of, write_sweep
from w2s_ray.cli import app
from w2s_ray.store import Store

COMMANDS = {"query": ["query", "select 1"], "report": ["report"], "figures": ["figures"]}
STORE = "is among the files of the store"
OUTPUTS = {
    "the store's format": ("results/store.json", STORE),
    "the store's format by another path": ("./results/runs/../store.json", STORE),
    "a link to the store": ("link/store.json", STORE),
    "beside the runs": ("results/runs/mine.json", STORE),
    "a folder of the store": ("results/catalog", STORE),
    "the sweep file": ("sweep.json", "is the sweep file"),
}
SWEEP = """\
name: grid
task: {name: embedded, train: 16, validation: 4, test: 4}
models: ["embedded:xs", "embedded:s"]
methods: {naive: {}}
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    made = tmp_path_factory.mktemp("outputs")
    cells = cells_of(tasks=("a",), methods=("naive",), seeds=1)
    write_sweep(Store.open(made / "results"), cells, students={("a", "naive"): 0.7})
    (made / "link").symlink_to(made / "results")
    (made / "sweep.json").write_text(SWEEP)
    return made


def files_in(folder: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("command", COMMANDS.values(), ids=COMMANDS)
@pytest.mark.parametrize(("out", "line"), OUTPUTS.values(), ids=OUTPUTS)
def test_no_output_replaces_a_file_of_the_store(folder, monkeypatch, command, out, line) -> None:
    monkeypatch.chdir(folder)
    before = files_in(folder)
    run = CliRunner().invoke(app, [*command, "sweep.json", "--out", out])
    assert run.exit_code == 2, run.output
    assert run.stdout == ""
    (shown,) = run.stderr.splitlines()
    assert line in shown
    assert files_in(folder) == before


def test_a_file_of_another_name_in_the_stores_folder_is_written(folder, monkeypatch) -> None:
    monkeypatch.chdir(folder)
    arguments = ["query", "select 1", "--store", "results", "--out", "results/q.json"]
    run = CliRunner().invoke(app, arguments)
    assert run.exit_code == 0, run.output
    assert (folder / "results" / "q.json").exists()
