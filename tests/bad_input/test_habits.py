"""Wrong includes, templates, tables and output files: each gives its line, and exit code 2."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner

from tests.bad_input.test_overrides import refused
from tests.bad_input.test_sweeps import SWEEP
from w2s_ray.cli import app

INCLUDES = {
    "include: 3": "s.yaml:1: include: write the path of a file, or a list of paths (got 3)",
    "include: []": "s.yaml:1: include: write the path of a file, or a list of paths (got [])",
    "include: [base.yaml, 1]": "s.yaml:1: include: write the path of a file, or a list",
    "include: {a: 1}": "s.yaml:1: include: write the path of a file, or a list of paths",
    "include: null": "s.yaml:1: include: write the path of a file",
    "include: ''": "s.yaml:1: include: '' is an empty path",
    "include: https://h/x.yaml": "s.yaml:1: include: 'https://h/x.yaml' is a URL; download it",
    "include: nowhere.yaml": "s.yaml:1: include: no included file at nowhere.yaml",
    "include: ../up/nowhere.yaml": "s.yaml:1: include: no included file at ../up/nowhere.yaml",
    "include: .": "s.yaml:1: include: . is a folder; give the path of the included file",
    "include: s.yaml": "s.yaml:1: include: s.yaml → s.yaml is a cycle; remove one of these",
    "include: cycle.yaml": "cycle.yaml:1: include: s.yaml → cycle.yaml → s.yaml is a cycle",
    "include: list.yaml": "list.yaml:1: an included file is a mapping with keys of a sweep file",
    "include: empty.yaml": "empty.yaml:1: an included file is a mapping",
    "include: broken.yaml": "broken.yaml:3: not valid YAML",
    "include: latin.yaml": "s.yaml:1: include: latin.yaml: byte 6 is not UTF-8",
    "include: many.yaml": "a7.yaml:1: include: more than 50 files are included; include fewer",
    "include: lr.yaml": "lr.yaml:3: training.lr: write a number (got 'x')",
    "include: key.yaml": "key.yaml:2: trainng: unknown key 'trainng'; did you mean 'training'?",
    "include: model.yaml": "model.yaml:2: models.b.training: unknown key 'lrr'",
    "include: base.yaml\nincludes: x": "s.yaml:2: includes: unknown key 'includes'; did you mean "
    "'include'?",
    "include: base.yaml\ntraining: {lr: y}": "s.yaml:2: training.lr: write a number (got 'y')",
    "include: base.yaml\nseeds: [0, 0]": "s.yaml:2: seeds: seeds [0, 0] repeat a seed",
    "include: pairs.yaml": "pairs.yaml:2: pairs: unknown model 'x'",
}
FILES = {
    "base.yaml": SWEEP,
    "cycle.yaml": "include: s.yaml\n",
    "list.yaml": "- 1\n",
    "empty.yaml": "# nothing\n",
    "broken.yaml": "a: 1\nb: [\n",
    "many.yaml": "include: [a0.yaml, a0.yaml]\n",
    **{f"a{i}.yaml": f"include: [a{i + 1}.yaml, a{i + 1}.yaml]\n" for i in range(8)},
    "a8.yaml": SWEEP,
    "lr.yaml": "include: base.yaml\ntraining:\n  lr: x\n",
    "key.yaml": "include: base.yaml\ntrainng: {}\n",
    "model.yaml": "include: base.yaml\nmodels: [a, {name: b, training: {lrr: 1}}]\n",
    "pairs.yaml": "include: base.yaml\npairs: [[xs, x]]\n",
}


@pytest.fixture(autouse=True)
def _folder(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("W2S_CACHE", str(tmp_path / "cache"))


@pytest.mark.parametrize(("text", "line"), INCLUDES.items(), ids=map(str, range(len(INCLUDES))))
def test_a_wrong_include_gives_its_line(text, line):
    for name, content in FILES.items():
        Path(name).write_text(content)
    Path("latin.yaml").write_bytes("name: ä".encode("latin-1"))
    Path("s.yaml").write_text(f"{text}\n")
    given = refused("plan", "s.yaml")
    assert given.startswith(f"error: {line}"[:20])
    assert line in given


def test_an_override_includes_nothing():
    Path("s.yaml").write_text(SWEEP)
    line = refused("plan", "s.yaml", "include=base.yaml")
    assert line.startswith("error: override include=base.yaml: only a file includes others")


ROWS = "text,label\n" + "".join(f"text number {i} of them,{i % 2}\n" for i in range(100))
TABLES: dict[str, tuple[str, str]] = {
    "missing.csv": ("", "--path: no such file or folder: missing.csv"),
    "folder/": ("", "--path: folder/ has 0 files; give one table"),
    "a.txt": ("text", "a.txt: can't read .txt; use .csv, .tsv"),
    "empty.csv": ("", "empty.csv: no rows; give a file with rows"),
    "header.csv": ("text,label\n", "header.csv: no rows; give a file with rows"),
    "numbers.csv": ("a,b\n1,0\n2,1\n", "numbers.csv: no column has texts; its columns are"),
    "stars.csv": (
        "text,stars\n" + "".join(f"a text of words {i},{i % 25}\n" for i in range(50)),
        "stars.csv: no column has 2 to 20 values, as labels have; add such a column, or name the",
    ),
    "few.csv": (ROWS[: ROWS.index("text number 20")], "few.csv has 20 usable rows, too few"),
    "hole.csv": (
        ROWS.replace("number 7 of them,1", "number 7 of them,"),
        "hole.csv: row 8 has no value in column 'label', which seems to be the label",
    ),
    "no-text.csv": (
        ROWS.replace("text number 7 of them", ""),
        "no-text.csv: row 8 has no value in column 'text'; fill it in or remove the row",
    ),
    "minus.csv": (
        ROWS.replace(",0\n", ",-1\n").replace(",1\n", ",0\n"),
        "minus.csv: column 'label' has the labels -1 and 0",
    ),
    "ragged.csv": (ROWS + "a,b,c\n", "ragged.csv: row 101 has 3 fields instead of 2"),
    "control.csv": (
        ROWS.replace("text,", "te\x1bxt,", 1),
        "control.csv: text 'te\\x1bxt' has a character that a sweep file can't have; rename it",
    ),
    "f\x1b.csv": (ROWS, "'f\\x1b.csv' has control characters; give a path without them"),
    "s.csv": ("text;label\na;1\n", "its columns seem to be separated by a semicolon"),
}


@pytest.mark.parametrize("name", TABLES)
def test_a_table_that_gives_no_task_is_refused_and_nothing_is_written(name):
    content, line = TABLES[name]
    if name.endswith("/"):
        Path(name).mkdir()
    elif name != "missing.csv":
        Path(name).write_text(content)
    assert line in refused("init", "csv", "--path", name)
    assert not Path("sweep.yaml").exists()


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["init", "cvs"], "unknown template 'cvs'; did you mean 'csv'?"),
        (["init", "chess", "--path", "a.csv"], "--path is for the templates csv and pairs, not"),
        (["init", "chess", "--out", "no/s.yaml"], "--out no/s.yaml is not a file in an existing"),
        (["init", "chess", "--out", "."], "--out . is not a file in an existing folder"),
        (
            ["init", "chess", "--force", "--out", "/dev/zero"],
            "/dev/zero is not a file in an existing",
        ),
        (
            ["init", "chess", "--out", "there.yaml"],
            "there.yaml is there already; name another",
        ),
        (["init", "pairs", "--path", "d.csv"], "d.csv: no two columns have texts to compare"),
        (["diff", "nowhere.yaml"], "no sweep file at nowhere.yaml"),
        (["diff", "there.yaml", "nowhere.yaml"], "no sweep file at nowhere.yaml"),
        (["diff", "there.yaml"], "results"),
        (["diff", "there.yaml", "sedes=[1]"], "unknown key 'sedes'; did you mean 'seeds'?"),
        (["diff", "there.yaml", "there.yaml", "seeds=x"], "override seeds=x: seeds: write a list"),
        (["diff", "there.yaml", "--format", "csv"], "--format is 'csv'; choose one of table, json"),
        (["query", "x", "--out", "x.xlsx"], "--out x.xlsx: no format has the extension '.xlsx'"),
        (
            ["query", "x", "--format", "json", "--out", "x.csv"],
            "--format is 'json', and x.csv has the extension of csv; leave out one",
        ),
        (["query", "x", "--format", "xml", "--out", "x.csv"], "--format is 'xml'; choose one of"),
    ],
)
def test_wrong_arguments_give_their_line(arguments, line):
    Path("d.csv").write_text(ROWS)
    Path("there.yaml").write_text(SWEEP)
    assert line in refused(*arguments)
    assert Path("there.yaml").read_text() == SWEEP


def test_names_of_columns_that_yaml_reads_otherwise_are_quoted():
    Path("no: #1 [x].csv").write_text(ROWS.replace("text,label", '"yes","on: #{[ \'a"" "'))
    run = CliRunner().invoke(app, ["init", "csv", "--path", "no: #1 [x].csv"])
    assert run.exit_code == 0, run.output
    planned = CliRunner().invoke(app, ["plan", "sweep.yaml", 'models=["embedded:xs","embedded:s"]'])
    assert planned.exit_code == 0, planned.output
