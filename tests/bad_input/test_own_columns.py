"""Malformed declarations of one's own files: each gives its one line and exit code 2."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from typer.testing import CliRunner

from tests.bad_input.data_files import as_csv, jsonl, table, zipped
from w2s_ray.cli import app

TABLE = as_csv(table())
BARE = TABLE.partition("\n")[2].replace("\r", "")
LINES = jsonl(table())
TEXTS = "".join(f"{i},text {i}\n" for i in range(60))
IDS = [{"id": i, "label": i % 2} for i in range(60)]
WITH_ID = as_csv([{"id": i, "text": f"text {i}"} for i in range(60)])
PAIRS = as_csv([{"a": f"one {i}", "b": f"other {i}", "best": "a"} for i in range(60)])
JOIN = "path: texts.csv, join: {path: labels.csv, on: id}, columns: {text: text, label: label}"
TWO = "files: [{path: a.csv, label: 1}, {path: b.csv, label: 0}]"


@dataclass(frozen=True)
class Case:
    """The keys of a task, its files, and the error line."""

    task: str
    line: str
    """Regular expression within the line."""
    files: dict[str, str | bytes] = field(default_factory=dict)


def joined(texts: str = WITH_ID, labels: str | None = None) -> dict[str, str | bytes]:
    return {"texts.csv": texts, "labels.csv": as_csv(IDS) if labels is None else labels}


CASES = (
    # Columns by number.
    Case(
        "path: d.csv, columns: {text: text, label: label}",
        r"no column 'text'; .* columns: text number 0, 0; .* by number from 0, .*text: 0, label: 1",
        {"d.csv": BARE},
    ),
    Case(
        "path: d.tsv, columns: {chosen: a, rejected: b}",
        r"by number from 0, such as \{chosen: 0, rejected: 1\}",
        {"d.tsv": "x\ty\nz\tw\n"},
    ),
    Case(
        "path: d.csv, columns: {text: text, label: label}",
        "2 columns have the name '1'; rename all but one, or, if that line is no header, give `col",
        {"d.csv": "a,1,1\nb,0,0\n"},
    ),
    Case(
        "path: d.csv, columns: {text: 0, label: 2}",
        r"no column 2; the first line has 2 field\(s\), numbered from 0; correct .* in quotes",
        {"d.csv": BARE},
    ),
    Case(
        "path: d.csv, columns: {text: 0, label: 1}",
        r"no column 1; the first line has 1 field\(s\)",
        {"d.csv": BARE.replace(",", ";")},
    ),
    Case(
        "path: d.csv, columns: {text: 2020, label: 1}",
        "no column 2020; .* if it is the name of a column, write it in quotes",
        {"d.csv": TABLE},
    ),
    Case(
        "path: d.csv, columns: {text: 0, label: 1}",
        r"column '1' has 3 distinct .*'label'.*; if the first line is a header, give names",
        {"d.csv": TABLE},
    ),
    Case(
        "path: d.csv, columns: {text: 0, label: 1}",
        "row 2 has 1 fields instead of 2 .0, 1.;",
        {"d.csv": "a,0\nb\n"},
    ),
    Case("path: d.csv, columns: {text: 0, label: 1}", "no rows", {"d.csv": "\n\n"}),
    Case(
        "path: d.csv, columns: {text: 0, label: label}",
        "task.columns: text: 0 by number, but label: label by name; numbers are for files without",
    ),
    Case(
        "path: d.csv, columns: {text: text, label: label, group: 3}",
        "group: 3 by number, but text: text, label: label by name",
    ),
    Case(
        "path: d.jsonl, columns: {text: 0, label: 1}",
        r"d.jsonl: its columns have names; give these .*numbers are for .csv and .tsv files",
        {"d.jsonl": LINES},
    ),
    Case(
        "path: texts, columns: {text: 0, label: 1}",
        "its columns have names",
        {"texts/a.txt": "a", "texts/b.txt": "b"},
    ),
    Case("path: d.csv, columns: {text: -1, label: 0}", "task.columns.text: .*equal to 0"),
    Case("path: d.csv, columns: {text: 1.5, label: 0}", "task.columns.text: .*a whole number"),
    Case("path: d.csv, columns: {text: true, label: 0}", "task.columns.text: .*a whole number"),
    Case("path: d.csv, columns: {text: [0], label: 1}", "task.columns.text: .*a whole number"),
    Case("path: d.csv, columns: {text: 10000, label: 1}", "task.columns.text: .*equal to 9999"),
    # Several files.
    Case(
        "path: data, columns: {text: text, label: label}",
        r"data has files of several kinds \(2 .csv, 1 .jsonl\); give those .* folder/\*.csv",
        {"data/a.csv": TABLE, "data/b.csv": TABLE, "data/c.jsonl": LINES},
    ),
    Case(
        "path: data, columns: {text: text, label: label}",
        r"several kinds \(1 .csv, 1 without extension\)",
        {"data/a.csv": TABLE, "data/LICENSE": "-"},
    ),
    Case(
        "path: 'data/*', columns: {text: text, label: label}",
        r"data/\* has files of several kinds",
        {"data/a.csv": TABLE, "data/c.jsonl": LINES},
    ),
    Case(
        "path: d.zip, columns: {text: text, label: label}",
        r"several kinds \(1 .csv, 1 .jsonl\)",
        {"d.zip": zipped(a__csv=TABLE, b__jsonl=LINES)},
    ),
    Case(
        "path: data, columns: {text: text, label: label}",
        "data has 0 files; give a file or folder",
        {"data/_SUCCESS": "", "data/.hidden": ""},
    ),
    Case(
        "path: data, columns: {text: text, label: label}",
        "data/b.csv: no column 'text'; .* columns: words, label",
        {"data/a.csv": TABLE, "data/b.csv": TABLE.replace("text,", "words,", 1)},
    ),
    Case(
        "path: data, columns: {text: text, label: label}",
        r"data \(2 files\): no rows",
        {"data/a.csv": "text,label\n", "data/b.csv": "text,label\n"},
    ),
    Case(
        "path: data, columns: {text: text, label: label}",
        r"data/a.md: can't read .md; use .csv",
        {"data/a.md": "x", "data/b.md": "y"},
    ),
    # Text files.
    Case(
        "path: d.txt, columns: {text: text, label: folder}",
        "d.txt: a text file is one row; give a folder of text files, or write the texts as rows",
        {"d.txt": "one\ntwo\n"},
    ),
    Case(
        "path: data, columns: {text: text, label: class}",
        "data/neg/1.txt: no column 'class'; .* columns: text, folder, file$",
        {"data/neg/1.txt": "a", "data/pos/1.txt": "b"},
    ),
    Case(
        "path: data, columns: {text: text, label: folder}",
        "data/pos/1.txt: row 1 has no value in column 'text'",
        {"data/neg/1.txt": "a", "data/pos/1.txt": " \n"},
    ),
    Case(
        "path: data, columns: {text: text, label: folder}",
        r"data \(3 files\): column 'folder' has 3 distinct label",
        {"data/neg/1.txt": "a", "data/pos/1.txt": "b", "data/unsup/1.txt": "c"},
    ),
    Case(
        "path: data, columns: {text: text, label: folder}",
        "data/neg/1.txt: not UTF-8",
        {"data/neg/1.txt": b"\xff", "data/pos/1.txt": "b"},
    ),
    # Labels of files.
    Case(
        f"{TWO}, columns: {{text: text, label: label}}",
        "task: `files` has the label of each row, and so has columns.label; remove one of them",
    ),
    Case(
        f"{TWO}, columns: {{chosen: a, rejected: b}}",
        "`files` has the label of each row, and so has columns.chosen",
    ),
    Case(
        f"{TWO}, columns: {{text: text, answer: b}}",
        "`files` has the label of each row, and so has columns.answer",
    ),
    Case(f"path: d.csv, {TWO}, columns: {{text: text}}", "task 't' has path and files; remove one"),
    Case(TWO, "task 't' has files but no columns; name them in `columns`"),
    Case("files: [], columns: {text: text, label: label}", "has columns but no path"),
    Case("files: [{path: a.csv}], columns: {text: text}", r"task.files.0.label: missing; add it"),
    Case("files: [{label: 1}], columns: {text: text}", r"task.files.0.path: missing; add it"),
    Case(
        "files: [{path: a.csv, label: [1]}], columns: {text: text}",
        "task.files.0.label: write text; or",
    ),
    Case("files: [a.csv], columns: {text: text}", "task.files.0: write a mapping"),
    Case("files: {a.csv: 1}, columns: {text: text}", "task.files: write a list"),
    Case(
        "files: [{path: a.csv, label: 1}], columns: {text: text}",
        r"`files` has 1 distinct label\(s\) \('1'\), a task has two",
        {"a.csv": TABLE},
    ),
    Case(
        "files: [{path: a.csv, label: 1}, {path: a.csv, label: '1'}], columns: {text: text}",
        r"`files` has 1 distinct label\(s\)",
        {"a.csv": TABLE},
    ),
    Case(
        f"{TWO}, columns: {{text: text, positive: good}}",
        "`files` doesn't have the label 'good' of `columns.positive`",
        {"a.csv": TABLE, "b.csv": TABLE},
    ),
    Case(
        f"{TWO}, columns: {{text: text}}",
        "b.csv: no column 'text'",
        {"a.csv": TABLE, "b.csv": "words\na\n"},
    ),
    Case(
        "files: [{path: a.csv, label: 1}], columns: {first: a, second: b}",
        r"`files` has one value in all rows \('1'\); if the same side is always better, give it as",
        {"a.csv": PAIRS},
    ),
    # A side that is always better.
    Case(
        "path: d.csv, columns: {first: a, second: b}",
        "first and second need label or preferred; if the same side is always better, write chosen",
    ),
    Case(
        "path: d.csv, columns: {first: a, second: b, preferred: first}",
        "no column 'first'; .* columns: a, b, best; if the same side is always better, give it as",
        {"d.csv": PAIRS},
    ),
    Case(
        "path: d.csv, columns: {first: a, second: b, preferred: a}",
        "first and preferred are the same column 'a'; give each its own, and if the same side",
    ),
    Case(
        "path: d.csv, columns: {first: a, second: b, preferred: best}",
        r"d.csv: column 'best' has one value in all rows \('a'\); if the same side is",
        {"d.csv": PAIRS},
    ),
    Case(
        "path: d.csv, columns: {first: 0, second: 1, label: 2}",
        "column '2' has one value in all rows",
        {"d.csv": PAIRS.partition("\n")[2]},
    ),
    Case(
        "path: d.csv, columns: {chosen: a, rejected: a}", "chosen and rejected are the same column"
    ),
    Case("path: d.csv, columns: {first: 0, second: 0, label: 1}", "first and second are the same"),
    Case(
        "path: d.csv, columns: {chosen: a, rejected: b, label: best}",
        "chosen and rejected are a pair whose better text is known; remove label, or chosen and",
    ),
    Case(
        "path: d.csv, columns: {chosen: a, rejected: b, first: a1, second: b1}",
        "chosen and rejected are a pair .*; remove first, second, or chosen and rejected",
    ),
    Case(
        "path: d.csv, columns: {first: a, second: b, label: c, preferred: d}",
        "label and preferred both say which text is better; remove one of them",
    ),
    # Joins.
    Case("join: {path: b.csv, on: id}", "task 't' has join but no columns"),
    Case("join: {path: b.csv, on: id}, columns: {text: text, label: label}", "columns but no path"),
    Case(
        "path: a.csv, join: {path: b.csv}, columns: {text: text, label: label}",
        "task.join.on: missing; add it",
    ),
    Case(
        "path: a.csv, join: {path: b.csv, on: id, how: left}, columns: {text: t, label: l}",
        "task.join.how: unknown key 'how'; known: path, on",
    ),
    Case("path: a.csv, join: b.csv, columns: {text: text, label: label}", "task.join: write a map"),
    Case(
        "path: a.csv, join: {path: b.csv, on: id}, columns: {text: 0, label: 1}",
        "task 't' has a join and columns by number; write both files with a header line",
    ),
    Case(
        JOIN,
        r"texts.csv: row 61: column 'id' has '7', as .*texts.csv: row 8 has; give each row its own",
        joined(texts=WITH_ID + "7,again\n"),
    ),
    Case(
        JOIN,
        r"labels.csv: row 61: column 'id' has '7.0', as .*labels.csv: row 8 has",
        joined(labels=as_csv(IDS) + "7.0,0\n"),
    ),
    Case(
        JOIN,
        "labels.csv: row 61 has no value in column 'id'; fill it in or remove the row",
        joined(labels=as_csv(IDS) + ",0\n"),
    ),
    Case(
        JOIN,
        "labels.csv: no column 'id'; choose one of its columns: key, label as `join.on`",
        joined(labels=as_csv(IDS).replace("id,", "key,")),
    ),
    Case(
        JOIN,
        "texts.csv: no column 'id'; choose one of its columns: 0, text 0 as `join.on`",
        joined(texts=TEXTS),
    ),
    Case(
        JOIN,
        "no value of column 'id' is in .*texts.csv and in .*labels.csv .they have '0' and 'a'.;",
        joined(labels="id,label\na,0\nb,1\n"),
    ),
    Case(
        JOIN,
        "column 'label' is in .*texts.csv and in .*labels.csv; rename or remove it in one of them",
        joined(texts=as_csv([{"text": f"t {i}", **row} for i, row in enumerate(IDS)])),
    ),
    Case(
        JOIN,
        "texts.csv and .*labels.csv: no column 'label'; .* columns: id, text, verdict",
        joined(labels=as_csv(IDS).replace("label", "verdict")),
    ),
    Case(JOIN, "labels.csv: no rows", joined(labels="id,label\n")),
    Case(
        "path: a.jsonl, join: {path: b.csv, on: id}, columns: {text: text, label: label}",
        "a.jsonl: row 1: column 'id' has a list instead of a text",
        {"a.jsonl": jsonl([{"id": [1], "text": "a"}]), "b.csv": as_csv(IDS)},
    ),
    # Numbers of rows.
    Case(
        "path: d.csv, columns: {text: text, label: label}, train: all",
        "task t: train is all, which is for a corpus; give a number of rows",
    ),
    Case(
        "path: d.csv, columns: {text: text, label: label}, train: every",
        "task.train: .*a whole number; or .*'all'",
    ),
)

ROWS = ", validation: 4, test: 4"


@pytest.fixture(autouse=True)
def own_cache(monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("W2S_CACHE", str(tmp_path_factory.getbasetemp() / "cache"))


def planned(folder: Path, case: Case, monkeypatch: pytest.MonkeyPatch) -> tuple[int, str, str]:
    monkeypatch.chdir(folder)
    for name, content in case.files.items():
        Path(name).parent.mkdir(parents=True, exist_ok=True)
        Path(name).write_bytes(content if isinstance(content, bytes) else content.encode())
    train = "" if "train:" in case.task else ", train: 16"
    Path("sweep.yaml").write_text(
        f"name: t\ntask: {{name: t, {case.task}{train}{ROWS}}}\n"
        'models: ["embedded:xs", "embedded:s"]\nmethods: {naive: {}}\n'
    )
    run = CliRunner().invoke(app, ["plan", "sweep.yaml"])
    return run.exit_code, run.stdout, run.stderr


def called(case: Case) -> str:
    return re.sub("[^a-z0-9]+", "-", f"{case.task[:60]} {case.line}".lower())[:90]


@pytest.mark.parametrize("case", CASES, ids=called)
def test_a_malformed_declaration_gives_its_line(
    tmp_path: Path, case: Case, monkeypatch: pytest.MonkeyPatch
) -> None:
    code, output, errors = planned(tmp_path, case, monkeypatch)
    assert (code, output) == (2, ""), errors
    lines = errors.splitlines()
    assert len(lines) == 1, errors
    assert len(lines[0]) < 700
    assert lines[0].isprintable()
    assert lines[0].startswith("error: ")
    assert re.search(case.line, lines[0].replace(f"{tmp_path}{os.sep}", "")), lines[0]


GOOD = (
    Case("path: d.csv, columns: {text: 0, label: 1}", r"one pool of rows", {"d.csv": BARE}),
    Case(
        "path: 'data/*.csv', columns: {text: text, label: label}",
        r"dropped 60 duplicate",
        {"data/a.csv": TABLE, "data/b.csv": TABLE, "data/README.md": "-"},
    ),
    Case(
        "files: [{path: a.csv, label: 1}, {path: b.csv, label: 0}], columns: {text: 1}",
        "one pool of rows",
        {"a.csv": TEXTS, "b.csv": TEXTS.replace("text", "other")},
    ),
    Case("path: d.csv, columns: {chosen: a, rejected: b}", "one pool of rows", {"d.csv": PAIRS}),
    Case(
        JOIN,
        "dropped 1 without joined row, 3 only in joined table",
        joined(texts=WITH_ID + "99,more\n", labels=as_csv(IDS) + "a,0\nb,1\nc,0\n"),
    ),
)


@pytest.mark.parametrize("case", GOOD, ids=called)
def test_a_good_declaration_is_planned(
    tmp_path: Path, case: Case, monkeypatch: pytest.MonkeyPatch
) -> None:
    code, output, errors = planned(tmp_path, case, monkeypatch)
    assert (code, errors) == (0, "")
    assert re.search(case.line, output), output
