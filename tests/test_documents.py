"""The README's tables: what they name exists, and they name all there is."""

from __future__ import annotations

import ast
import re
from functools import cache
from pathlib import Path

import pytest

from w2s_ray.data import TASKS
from w2s_ray.data.tasks import DIGITS, EMBEDDED

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
LINK = re.compile(r"\[`([^`]+)`\]\(([^)]+)\)")


def section(title: str) -> str:
    return README.split(f"\n## {title}\n")[1].split("\n## ")[0]


def rows(title: str, heading: str) -> list[list[str]]:
    """The cells of the table under `heading` in a section."""
    lines = section(title).split(heading)[1].split("\n\n")[0].splitlines()[2:]
    return [[cell.strip() for cell in line.strip("|").split(" | ")] for line in lines]


HEADING = "| method | setting |"
STUDIES = rows("The paper, row by row", "| method or study |")
TRAPS = rows("The paper, row by row", "| trap |")


@cache
def declared_in(file: str) -> dict[str, list[str]]:
    """Names of a file's tests -> their decorators."""
    tree = ast.parse((ROOT / file).read_text(encoding="utf-8"))
    return {
        node.name: [ast.unparse(mark) for mark in node.decorator_list]
        for node in tree.body
        if isinstance(node, ast.FunctionDef) and node.name.startswith("test_")
    }


@pytest.mark.parametrize("row", [*STUDIES, *TRAPS], ids=lambda row: row[0])
def test_a_rows_sweep_file_and_test_are_there_and_the_test_runs(row):
    for name, file in LINK.findall(" ".join(row[:-1])):
        assert file == f"sweeps/{name}.yaml"
        assert (ROOT / file).is_file(), file
    ((name, file),) = LINK.findall(row[-1])
    assert name in declared_in(file), f"{file} has no test {name}"
    marks = " ".join(declared_in(file)[name])
    assert not any(word in marks for word in ("skip", "chaos", "xfail")), marks


def test_a_methods_sweep_file_has_the_method():
    settings = {cells[0]: " | ".join(cells[1:]) for cells in rows("Methods", HEADING)}
    for method, _, file, _ in STUDIES:
        if not method.startswith("study: "):
            words = re.findall(r"kind: \w+|weight_decay_to|patience", settings[method])
            sweep = (ROOT / LINK.findall(file)[0][1]).read_text(encoding="utf-8")
            assert not words or any(word in sweep for word in words), method


def test_every_method_and_every_file_of_the_paper_has_a_row():
    methods = [cells[0] for cells in rows("Methods", HEADING)]
    assert len(methods) > 15
    assert [row[0] for row in STUDIES if not row[0].startswith("study: ")] == methods
    named = {file for row in STUDIES for _, file in LINK.findall(row[2])}
    there = {f"sweeps/paper/{path.name}" for path in (ROOT / "sweeps" / "paper").glob("*.yaml")}
    assert there <= named


def test_every_named_task_is_listed():
    listed = README.split("- **`task`** (or `tasks`, a list).")[1].split("`train` counts both")[0]
    named = set(re.findall(r"`([a-z_0-9]+)`", listed)) - {"columns"}
    assert named == {*TASKS, DIGITS, EMBEDDED}
    only_files = set(re.findall(r"`(\w+)`\s+\(files\s+only\)", listed))
    corpora = {name for name, task in TASKS.items() if task.form == "text"}
    assert only_files | corpora == {name for name, task in TASKS.items() if task.hub is None}
