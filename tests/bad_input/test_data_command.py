"""Bad options of `w2s data`: each gives one line and exit code 2, before any rows are read."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner

from tests.bad_input.data_files import as_csv, table
from w2s_ray.cli import app

MODELS = '[{name: "embedded:xs", label: xs}, {name: "embedded:s", label: s}]'
TASK = (
    "{name: birds, path: d.csv, columns: {text: text, label: label}, train: 20, validation: 4, "
    "test: 8}"
)
DIGITS = "{name: digits, train: 200, validation: 40, test: 100}"
SCIQ = "{name: sciq, train: 20, validation: 4, test: 8}"


def sweep(*tasks: str, models: str = MODELS) -> str:
    return f"name: t\ntasks: [{', '.join(tasks)}]\nmodels: {models}\nmethods: {{naive: {{}}}}\n"


BIRDS = sweep(TASK)
PIXELS = '[{name: "pixels:2", label: p2}, {name: "pixels:4", label: p4}]'
HUB = "[gpt2, gpt2-medium]"
CASES = {
    "another format": (BIRDS, ["--format", "csv"], "--format is 'csv'; choose one of table, mark"),
    "no such task": (BIRDS, ["--task", "bird"], "--task 'bird' is no task of the sweep: birds"),
    "one of two tasks": (BIRDS, ["--task", "birds", "--task", "x"], "--task 'x' is no task of the"),
    "a task's control character": (BIRDS, ["--task", "a\x1bb"], r"--task 'a\x1bb' is no task of"),
    "no such model": (
        BIRDS,
        ["--model", "l"],
        "--model: unknown model 'l'; the sweep's models",
    ),
    "a negative number of rows": (BIRDS, ["--rows", "-1"], "Invalid value for '--rows'"),
    "too many rows": (BIRDS, ["--rows", "100000"], "Invalid value for '--rows'"),
    "no number of rows": (BIRDS, ["--rows", "all"], "Invalid value for '--rows'"),
    "tokens without texts": (
        sweep(DIGITS, models=PIXELS),
        ["--tokens"],
        "--tokens: digits has no texts; remove --tokens",
    ),
    "tokens without a tokenizer": (
        sweep(TASK, models=HUB),
        ["--tokens"],
        "--tokens: the tokenizer of gpt2 is not on this machine as tokenizer.json; remove --tokens",
    ),
    "tokens of one of two models": (
        sweep(TASK, models='[gpt2, {name: "embedded:s", label: s}]'),
        ["--tokens"],
        "is not on this machine as tokenizer.json; give --model s, or remove --tokens",
    ),
    "data that is not here": (sweep(SCIQ), [], "not on this machine: task sciq: "),
    "several that are not here": (
        sweep(SCIQ, SCIQ.replace("sciq", "boolq")),
        [],
        "not on this machine: tasks sciq, boolq: ",
    ),
    "a missing file": (BIRDS.replace("d.csv", "e.csv"), [], "not on this machine: task birds: "),
    "too few rows": (BIRDS.replace("train: 20", "train: 4000"), [], "need 4,012 balanced rows"),
}


@pytest.fixture
def here(tmp_path, monkeypatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("W2S_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hub"))
    (tmp_path / "d.csv").write_text(as_csv(table()))
    return tmp_path


@pytest.mark.parametrize("name", CASES)
def test_it_gives_one_line(here, name):
    text, options, line = CASES[name]
    (here / "s.yaml").write_text(text)
    result = CliRunner().invoke(app, ["data", "s.yaml", *options])
    assert result.exit_code == 2, result.output
    assert result.stdout == ""
    assert line in result.stderr
    assert "Traceback" not in result.stderr
    assert "Aborted" not in result.stderr
    if not line.startswith("Invalid value"):  # typer prints its usage too
        assert len(result.stderr.strip().splitlines()) == 1
    assert not (here / "results").exists()
