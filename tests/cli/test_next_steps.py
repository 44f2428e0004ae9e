"""The commands after `w2s run`: three of them, with this call's arguments, quoted for a shell."""

from __future__ import annotations

import shlex
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from typer.main import get_command

from w2s_ray.cli import app, next_steps
from w2s_ray.cli.next_steps import RunArguments

CALL = RunArguments(
    Path("my sweep.yaml"), ("seeds=[0, 1]",), "s3://b/r", ("--budget", "3 USD", "--address", "h:1")
)


def steps(call: RunArguments = CALL, **outcome: Any) -> list[list[str]]:
    ended = SimpleNamespace(**{"failed": {}, "stopped": None, **outcome})
    lines = next_steps.next_steps(call, ended, name="mine", store="s3://b/r")  # type: ignore[arg-type]
    return [shlex.split(line, comments=True) for line in lines]


@pytest.fixture(autouse=True)
def _called(monkeypatch) -> None:
    monkeypatch.setattr("sys.argv", ["/bin/w2s"])
    monkeypatch.setattr(next_steps.shutil, "which", lambda _: "/bin/w2s")


SAME = ["my sweep.yaml", "seeds=[0, 1]", "--store", "s3://b/r"]
AGAIN = ["w2s", "run", *SAME, "--budget", "3 USD", "--address", "h:1"]


def test_after_the_end_the_table_the_report_and_the_status():
    assert steps() == [
        ["w2s", "table", *SAME],
        ["w2s", "report", *SAME, "--out", "mine.html"],
        ["w2s", "status", *SAME],
    ]


def test_after_failures_the_traceback_the_status_and_the_same_call():
    assert steps(failed={"12ab": "loss is nan", "34cd": "x"}) == [
        ["w2s", "explain", "12ab", "--store", "s3://b/r"],
        ["w2s", "status", *SAME],
        AGAIN,
    ]


def test_after_a_stop_the_same_call_comes_first():
    assert [line[1] for line in steps(stopped="Ctrl-C")] == ["run", "status", "table"]
    assert steps(stopped="Ctrl-C")[0] == AGAIN


def test_every_option_of_run_is_passed_on():
    parameters = {p.name for p in get_command(app).commands["run"].params}  # type: ignore[attr-defined]
    passed = {"address", "budget", "price_per_hour", "currency", "store", "overrides", "sweep_file"}
    assert parameters - {"help"} == passed


@pytest.mark.parametrize(
    ("called", "found", "program"),
    [
        ("/bin/w2s", "/bin/w2s", "w2s"),
        (".venv/bin/w2s", None, ".venv/bin/w2s"),
        ("/p/w2s_ray/__main__.py", None, "python -m w2s_ray"),
        ("pytest", None, "w2s"),
    ],
)
def test_the_program_is_called_as_it_was(monkeypatch, called, found, program):
    monkeypatch.setattr("sys.argv", [called])
    monkeypatch.setattr(next_steps.shutil, "which", lambda _: found)
    assert RunArguments(Path("s.yaml"), (), None).command("table") == f"{program} table s.yaml"
