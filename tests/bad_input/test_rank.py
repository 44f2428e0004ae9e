"""What `w2s rank` says where there is nothing to rank: exit code 2 and one line."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner

from tests.report.stored import cells_of, write_sweep
from w2s_ray.cli.app import app
from w2s_ray.store import Store


def one_method(folder: Path) -> list[str]:
    store = Store.open(folder)
    write_sweep(store, cells_of(tasks=("a",), methods=("naive",)), students={("a", "naive"): 0.7})
    return ["--store", str(folder)]


def no_common_row(folder: Path) -> list[str]:
    store = Store.open(folder)
    cells = cells_of(tasks=("a", "b"), methods=("one", "two"))
    write_sweep(store, cells, students={("a", "one"): 0.7, ("b", "two"): 0.7})
    return ["--store", str(folder)]


def wrong_format(folder: Path) -> list[str]:
    return [*one_method(folder), "--format", "xml"]


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (
            one_method,
            "nothing to rank: sweep sweep has fewer than two methods that can be ranked",
        ),
        (
            no_common_row,
            "nothing to rank: sweep sweep has no row with a seed that is complete in all its "
            "methods",
        ),
        (wrong_format, "--format is 'xml'; choose one of table, markdown, csv, json, latex"),
        (
            lambda folder: [*one_method(folder), "--pairs", "--over-tasks"],
            "--over-tasks is about mean ranks, and --pairs counts wins in single rows",
        ),
        (lambda folder: ["--store", str(folder / "none")], "there are no results at"),
    ],
)
def test_nothing_to_rank_is_one_line(tmp_path, arguments, line):
    result = CliRunner().invoke(app, ["rank", *arguments(tmp_path)])
    assert result.exit_code == 2
    assert line in " ".join(result.output.split())
    assert "Traceback" not in result.output
