"""Completion: the offers for each argument, without heavy imports and from current lists."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from w2s_ray.cli import completion
from w2s_ray.report.table_docs import sql_schemas

ROOT = Path(__file__).parents[2]
SWEEP = """\
name: s
models:
  - {name: "embedded:xs", label: xs, training: {lr: 1.0e-2}}
  - {name: "embedded:s"}
seeds: [0, 1]
training: {lr: 1.0e-3, epochs: 2}
methods: {naive: {}, confidence: {loss: {kind: confidence}}}
store: here
"""


class Context:
    def __init__(self, **params: object) -> None:
        self.params = params


@pytest.fixture(autouse=True)
def _folder(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("s.yaml").write_text(SWEEP)
    Path("sweeps/paper").mkdir(parents=True)
    for name in ("a.yaml", "paper/b.yml", "paper/c.json", ".hidden.yaml"):
        (Path("sweeps") / name).touch()
    for store, run in (("results", "12ab"), ("here", "34cd")):
        (Path(store) / "runs" / run).mkdir(parents=True)


def test_sweep_files_are_found_in_folders():
    assert completion.complete_sweep_file("") == ["s.yaml", "sweeps/a.yaml", "sweeps/paper/b.yml"]
    assert completion.complete_sweep_file("sweeps/p") == ["sweeps/paper/b.yml"]
    assert completion.complete_sweep_file(f"{Path.cwd()}/s.") == [f"{Path.cwd()}/s.yaml"]
    assert completion.complete_sweep_file("nowhere/") == []


def test_overrides_have_the_files_keys_and_values():
    context = Context(sweep_file=Path("s.yaml"))
    assert completion.complete_override(context, "training.") == [
        "training.lr=0.001",
        "training.epochs=2",
    ]
    assert completion.complete_override(context, "models.xs.t") == ["models.xs.training.lr=0.01"]
    assert completion.complete_override(context, "see") == ["seeds="]
    assert completion.complete_override(Context(), "see") == []
    assert completion.complete_override(Context(sweep_file=Path("nowhere")), "see") == []
    Path("s.yaml").write_text("a: [")
    assert completion.complete_override(context, "") == []


def test_methods_are_those_of_the_file_or_of_the_store():
    context = Context(sweep_file=Path("s.yaml"))
    assert completion.complete_method(context, "") == ["naive", "confidence"]
    folder = Path("results/sweeps/s")
    folder.mkdir(parents=True)
    (folder / "x.json").write_text(json.dumps({"cells": [{"method": "kl"}, {"method": "kl"}]}))
    (Path("results/sweeps/t")).mkdir()
    assert completion.complete_method(Context(), "") == ["kl"]


def test_runs_are_those_of_the_store():
    assert completion.complete_run(Context(), "") == ["12ab"]
    assert completion.complete_run(Context(store="here"), "3") == ["34cd"]
    assert completion.complete_run(Context(store="s3://bucket/results"), "") == []


def test_sql_is_completed_to_tables_and_their_columns():
    assert completion.complete_sql("select * from pgr_by") == [
        "select * from pgr_by_seed",
        "select * from pgr_by_method",
    ]
    assert completion.complete_sql("from splits where near") == ["from splits where near_copies"]
    assert completion.complete_sql("select pgr_l")[0] == "select pgr_low"
    assert completion.complete_sql("select ") == []


def test_the_columns_are_current():
    known = json.loads((ROOT / "w2s_ray/cli/sql_names.json").read_text())
    assert known == {table: schema.names for table, schema in sql_schemas().items()}, (
        "the columns of w2s query have changed; run make reference"
    )


def test_the_names_of_figures_are_current():
    sources = "".join(path.read_text() for path in (ROOT / "w2s_ray/report/figures").glob("*.py"))
    drawn = re.findall(r'\bFigure\(\s*"([a-z-]+)"', sources)
    assert sorted(completion.FIGURES) == sorted(set(drawn))
    assert completion.complete_figure("pgr-g") == ["pgr-grid", "pgr-grid-median"]


def completed(words: str, number: int) -> list[str]:
    """What bash is offered for a word of the line `words`."""
    code = (
        "import sys\n"
        "from w2s_ray.cli import app\n"
        "sys.argv[0] = 'w2s'\n"
        "try:\n    app(prog_name='w2s')\n"
        "finally:\n    heavy = {'w2s_ray.config', 'w2s_ray.store', 'pyarrow', 'pandas', 'ray'}\n"
        "    print(*heavy.intersection(sys.modules), file=sys.stderr)\n"
    )
    shell = {"_W2S_COMPLETE": "complete_bash", "COMP_WORDS": words, "COMP_CWORD": str(number)}
    run = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, **shell},
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.stderr.split() == [], "heavy imports"
    return run.stdout.splitlines()


def test_the_shell_gets_offers_without_heavy_imports():
    assert completed("w2s run s", 2) == ["s.yaml", "sweeps/a.yaml", "sweeps/paper/b.yml"]
    assert completed("w2s run s.yaml training.e", 3) == ["training.epochs=2"]
    assert completed("w2s explain --store here ", 4) == ["34cd"]
