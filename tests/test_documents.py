"""The documents: what they name exists, they name all there is, and no generated one is stale."""

from __future__ import annotations

import ast
import importlib.util
import json
import re
import tomllib
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from typer.main import get_command

from w2s_ray.cli import app
from w2s_ray.config import parse_sweep
from w2s_ray.config.yaml_files import load_yaml
from w2s_ray.data import TASKS
from w2s_ray.data.tasks import DIGITS, EMBEDDED

ROOT = Path(__file__).resolve().parents[1]
NAMED = re.compile(r"\[`([^`]+)`\]\(([^)]+)\)")
"""A link whose text is code."""
BLOCK = re.compile(r"```.*?```", re.DOTALL)
CODE = re.compile(r"^    .*$|`[^`\n]+`", re.MULTILINE)
"""A line of code, or code within a line."""


def read(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


def script(name: str) -> ModuleType:
    """A file of scripts/, which is no package."""
    place = importlib.util.spec_from_file_location(name, ROOT / "scripts" / f"{name}.py")
    assert place is not None
    assert place.loader is not None
    module = importlib.util.module_from_spec(place)
    place.loader.exec_module(module)
    return module


PAGES = script("pages")
DOCUMENTS = [str(path.relative_to(ROOT)) for path in PAGES.documents()]


def rows(name: str, heading: str) -> list[list[str]]:
    """The cells of the table under `heading` in a document."""
    lines = read(name).split(heading)[1].split("\n\n")[0].splitlines()[2:]
    return [[cell.strip() for cell in line.strip("|").split(" | ")] for line in lines]


METHODS = rows("docs/methods.md", "| method | setting |")
STUDIES = rows("docs/paper.md", "| method or study |")
TRAPS = rows("docs/paper.md", "| trap |")


@cache
def declared_in(file: str) -> dict[str, list[str]]:
    """Names of a file's tests -> their decorators."""
    tree = ast.parse(read(file))
    return {
        node.name: [ast.unparse(mark) for mark in node.decorator_list]
        for node in tree.body
        if isinstance(node, ast.FunctionDef) and node.name.startswith("test_")
    }


def of_paper(cells: str) -> list[tuple[str, str]]:
    """Names and files of the links in cells of docs/paper.md."""
    return [(name, file.removeprefix("../")) for name, file in NAMED.findall(cells)]


@pytest.mark.parametrize("row", [*STUDIES, *TRAPS], ids=lambda row: row[0])
def test_a_rows_sweep_file_and_test_are_there_and_the_test_runs(row):
    for name, file in of_paper(" ".join(row[:-1])):
        assert file == f"sweeps/{name}.yaml"
        assert (ROOT / file).is_file(), file
    ((name, file),) = of_paper(row[-1])
    assert name in declared_in(file), f"{file} has no test {name}"
    marks = " ".join(declared_in(file)[name])
    assert not any(word in marks for word in ("skip", "chaos", "xfail")), marks


def test_a_methods_sweep_file_has_the_method():
    settings = {cells[0]: " | ".join(cells[1:]) for cells in METHODS}
    for method, _, file, _ in STUDIES:
        if not method.startswith("study: "):
            words = re.findall(r"kind: \w+|weight_decay_to|patience", settings[method])
            sweep = read(of_paper(file)[0][1])
            assert not words or any(word in sweep for word in words), method


def test_every_method_and_every_file_of_the_paper_has_a_row():
    methods = [cells[0] for cells in METHODS]
    assert len(methods) > 15
    assert [row[0] for row in STUDIES if not row[0].startswith("study: ")] == methods
    named = {file for row in STUDIES for _, file in of_paper(row[2])}
    there = {f"sweeps/paper/{path.name}" for path in (ROOT / "sweeps" / "paper").glob("*.yaml")}
    assert there <= named


def test_every_named_task_is_listed():
    listed = read("docs/data.md").split("- The paper's 22 NLP sets:")[1].split("\n## ")[0]
    named = set(re.findall(r"`([a-z_0-9]+)`", listed))
    assert named == {*TASKS, DIGITS, EMBEDDED}
    only_files = set(re.findall(r"`(\w+)`\s+\(files\s+only\)", listed))
    corpora = {name for name, task in TASKS.items() if task.form == "text"}
    assert only_files | corpora == {name for name, task in TASKS.items() if task.hub is None}


def test_every_key_of_the_sweep_file_has_a_meaning():
    assert not re.findall(r"^\| .*\|\s*\|$", read("docs/sweep-file.md"), re.MULTILINE)


def test_the_reference_of_the_sweep_file_is_current():
    assert script("sweep_file").page() == read("docs/sweep-file.md"), (
        "the sweep file's keys have changed; run make reference"
    )


@pytest.mark.parametrize("document", DOCUMENTS)
def test_links_lead_to_files_and_headings(document):
    text = BLOCK.sub("", read(document))
    links = PAGES.LINK.findall(text) + [
        ("", anchor) for anchor in re.findall(r"\]\(#(.+?)\)", text)
    ]
    for target, anchor in links:
        if "://" not in target:
            file = (ROOT / document).parent / target if target else ROOT / document
            assert file.is_file(), f"{document} links to {target}"
            assert not anchor or anchor in anchors(file), f"{document} links to {target}#{anchor}"


def anchors(file: Path) -> set[str]:
    """The anchors of a document's headings, as GitHub and the site make them of plain words."""
    titles = re.findall(r"^#+ (.+)$", BLOCK.sub("", file.read_text(encoding="utf-8")), re.MULTILINE)
    made = [re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles]
    assert len(set(made)) == len(made), f"{file}: two headings have one anchor"
    return set(made)


EXAMPLES = [
    pytest.param(block, id=f"{name}-{number}")
    for name in DOCUMENTS
    for number, block in enumerate(re.findall(r"```yaml\n(.*?)```", read(name), re.DOTALL))
]


@pytest.mark.parametrize("block", EXAMPLES)
def test_an_example_is_a_sweep_file_or_part_of_one(block):
    _, part = load_yaml(block, name="example")
    assert isinstance(part, dict)
    task = {"name": "embedded", "train": 200, "validation": 20, "test": 20}
    whole: dict[str, Any] = {"name": "example", "models": ["a", "b"], "methods": {"naive": {}}}
    whole |= {"task": task} | part
    assert parse_sweep(json.dumps(whole), folder=ROOT / "sweeps").name


def test_the_commands_and_options_of_the_documents_are_there():
    commands = {
        name: {option for parameter in command.params for option in parameter.opts}
        for name, command in get_command(app).commands.items()  # type: ignore[attr-defined]
    }
    assert {row[0].split()[1].strip("`") for row in rows("docs/commands.md", "| command |")} == set(
        commands
    )
    for document in DOCUMENTS:
        for line in CODE.findall(read(document).replace("\\\n", " ")):
            for name, rest in re.findall(r"(?<!\")\bw2s ([a-z]+)\b([^#`]*)", line):
                assert name in commands, f"{document}: {line}"
                options = set(re.findall(r"(?<!\S)\[?(--[a-z-]+)", rest))
                assert options <= commands[name], f"{document}: {line}"


def test_every_environment_variable_has_a_meaning():
    listed = {row[0].strip("`") for row in rows("docs/commands.md", "| variable |")}
    sources = "".join(path.read_text(encoding="utf-8") for path in (ROOT / "w2s_ray").rglob("*.py"))
    assert listed == set(re.findall(r"\bW2S_[A-Z_]+", sources))


def test_the_make_targets_of_the_documents_are_there():
    targets = set(re.findall(r"^([a-z-]+):", read("Makefile"), re.MULTILINE))
    for document in DOCUMENTS:
        for line in CODE.findall(read(document)):
            assert set(re.findall(r"\bmake ([a-z-]+)", line)) <= targets, f"{document}: {line}"


def test_the_site_has_every_document():
    nav = json.dumps(tomllib.loads(read("docs/zensical.toml"))["project"]["nav"])
    notebooks = [f"docs/{file.stem}.md" for file in (ROOT / "docs").glob("*.ipynb")]
    assert sorted(re.findall(r'"([^"]+\.md)"', nav)) == sorted([*DOCUMENTS, *notebooks])


def test_a_notebook_has_no_outputs_and_is_a_page_of_the_site():
    for file in (ROOT / "docs").glob("*.ipynb"):
        cells = json.loads(file.read_text(encoding="utf-8"))["cells"]
        assert not any(cell.get("outputs") or cell.get("execution_count") for cell in cells)
        page = PAGES.notebook_page(file)
        assert page.startswith("# ")
        assert all("".join(cell["source"]) in page for cell in cells)


def test_the_readme_is_short_and_the_changelog_one_outcome_a_line():
    assert len(read("README.md").splitlines()) <= 200
    outcomes = read("CHANGELOG.md").split("## ", 1)[1].splitlines()[2:]
    assert all(line.startswith(("- ", "## ")) for line in outcomes if line)
