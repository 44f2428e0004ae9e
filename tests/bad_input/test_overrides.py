"""Wrong overrides: each gives one line that names it, and exit code 2, before anything is read."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner

from tests.bad_input.test_sweeps import SWEEP
from w2s_ray.cli import app

LINES = {
    "seeds": "'seeds' is not an override; write KEY=VALUE, such as training.lr=1e-3",
    "=1": "'=1' is not an override; write KEY=VALUE",
    "training..lr=1": "'training..lr=1' is not an override",
    "training.=1": "'training.=1' is not an override",
    "seeds=[0": "override seeds=[0: not valid YAML: expected ',' or ']'",
    "seeds=!!python/name:os": "is not an allowed type; remove it",
    "seeds=\x1b[0]": r"override seeds=\x1b[0]: not valid YAML: the character",
    "seeds={{ seeds }}": "an unrendered template",
    f"seeds={'[' * 100}": "nested more than 40 deep",
    "trainng.lr=1": "trainng: unknown key 'trainng'; did you mean 'training'?",
    "training.lrr=1": "training.lrr: unknown key 'lrr'; did you mean 'lr'?",
    "training.lr=abc": "training.lr: write a number (got 'abc')",
    "training.lr=": "training.lr: write a number",
    "training.lr=-1": "training.lr: Input should be greater than 0 (got -1)",
    "training=1": "training: write a mapping",
    "training.lr.x=1": "training.lr is 0.001, which has no keys; override training.lr itself",
    "store.x=1": "store is 'results', which has no keys; override store itself",
    "seeds.7=1": "seeds: unknown entry '7'; known: 0",
    "models.xl.label=t": "models: unknown entry 'xl'; known: xs, s, 0, 1",
    "models.xs.training.lrr=1": "unknown key 'lrr'; did you mean 'lr'?",
    "methods.naiv.training.lr=1": "methods: unknown name 'naiv'; did you mean 'naive'?",
    "methods.other.loss.alfa=1": "alfa: unknown key 'alfa'; did you mean 'alpha'?",
    "methods.other.search.lr={choice: [1]}": "methods.other.search: lr is not a setting",
    "methods.other.search.loss.alpha={uniform: [1, 0]}": "uniform: [1.0, 0.0] is not a range",
    "tasks=[]": "give `task` (one) or `tasks` (a list), not both",
    "pairs=[[xs, x]]": "pairs: unknown model 'x'",
}


def refused(*arguments: str) -> str:
    run = CliRunner().invoke(app, [*arguments])
    assert run.exit_code == 2, run.output
    assert "Traceback" not in run.output
    assert len(run.output.splitlines()) == 1, run.output
    return run.output


@pytest.fixture(autouse=True)
def _file(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("s.yaml").write_text(SWEEP)


@pytest.mark.parametrize(("override", "line"), LINES.items(), ids=map(str, range(len(LINES))))
def test_a_wrong_override_gives_its_line(override, line):
    given = refused("plan", "s.yaml", override)
    assert line in given
    assert given.startswith(("error: override ", "error: '"))


def test_an_override_given_twice_is_refused():
    line = refused("plan", "s.yaml", "seeds=[1]", "training.epochs=1", "seeds=[2]")
    assert line == "error: override seeds=[1]: seeds is given twice; keep one\n"


def test_values_that_contradict_each_other_name_the_overrides_that_they_come_from():
    search = ("methods.naive.search={training.epochs: {choice: [1]}}", "search.seed=4")
    line = refused("plan", "s.yaml", "store=r", "seeds=[4]", *search)
    assert line.startswith("error: overrides seeds=[4] search.seed=4: search.seed 4 is also in")


def test_every_wrong_override_has_a_line():
    run = CliRunner().invoke(app, ["plan", "s.yaml", "training.lr=x", "seeds=3"])
    assert run.exit_code == 2
    assert [line.split(": ")[-2] for line in run.output.splitlines()] == ["seeds", "training.lr"]


def test_the_file_itself_must_be_valid():
    Path("s.yaml").write_text(SWEEP.replace("lr: 1.0e-3", "lr: x"))
    assert "error: s.yaml:9: training.lr: write a number" in refused(
        "plan", "s.yaml", "training.lr=1"
    )


@pytest.mark.parametrize(
    "command",
    ["plan", "run", "status", "cancel", "cost", "table", "compare", "rank", "figures", "report"],
)
def test_every_command_with_a_sweep_file_takes_overrides(command):
    assert "unknown key 'sedes'; did you mean 'seeds'?" in refused(command, "s.yaml", "sedes=[1]")


@pytest.mark.parametrize(
    "arguments",
    [
        ["submit", "s.yaml", "sedes=[1]", "--address", "http://h"],
        ["query", "SELECT 1", "s.yaml", "sedes=[1]"],
    ],
)
def test_submit_and_query_take_overrides(arguments):
    assert "unknown key 'sedes'; did you mean 'seeds'?" in refused(*arguments)
