"""Wrong files of a part, and wrong Arrow files: each gives its one line and exit code 2."""

from __future__ import annotations

import io
import re
from collections.abc import Mapping
from pathlib import Path

import pyarrow as pa
import pytest
from typer.testing import CliRunner

from tests.bad_input.data_files import arrow, as_csv, jsonl, parquet, table
from w2s_ray.cli import app

TRAIN = table()
HELD = [{"text": f"held out {i}", "label": i % 2} for i in range(20)]
GOOD = as_csv(HELD)
CLASSES = "columns: {text: text, label: label}"


def twice() -> bytes:
    made, file = pa.Table.from_arrays([pa.array(["a"])] * 2, ["text"] * 2), io.BytesIO()
    with pa.ipc.new_stream(file, made.schema) as writer:
        writer.write_table(made)
    return file.getvalue()


STREAM, FILE = arrow(TRAIN), arrow(TRAIN, stream=False)
NOT_ARROW = "d.arrow: not a complete Arrow file, or it has unreadable values"

PARTS: Mapping[str, tuple[str, str | bytes, str]] = {
    "an unknown key": ("{path: d.csv, row: 4}", GOOD, "test.row: unknown key 'row'; did you mean"),
    "neither path nor split": ("{}", GOOD, "test has no path; give its file, or a number of rows"),
    "a text": ("d.csv", GOOD, r"test: write a whole number \(got 'd.csv'\)"),
    "too few": ("{path: d.csv, rows: 1}", GOOD, "test.rows: Input should be greater than or equal"),
    "the same file": ("{path: train.csv}", GOOD, "test is the file of the training rows"),
    "the same file by another path": (
        "{path: ./train.csv}",
        GOOD,
        r"no training row is left \(rows dropped: 60 shared with test\); give another file",
    ),
    "a folder": (
        "{path: .}",
        GOOD,
        r"task mine: test: . has files of several kinds \(2 .csv, 1 .jsonl, 1 .yaml\); .* pattern",
    ),
    "columns by number": (
        "{path: d.csv, columns: {text: 0, label: 1}}",
        GOOD,
        "d.csv: row 1: column '1' has 'label', but .* and '1'; .*; if the first line is a header,",
    ),
    "a number that is no column": (
        "{path: d.csv, columns: {text: 0, label: 2}}",
        GOOD,
        r"d.csv: no column 2; the first line has 2 field\(s\), numbered from 0",
    ),
    "a URL": ("{path: 'https://x/y.csv'}", GOOD, "is a URL; download it"),
    "no rows": ("{path: d.csv}", "text,label\n", "d.csv: no rows; give a file with rows"),
    "empty": ("{path: d.csv}", "", "d.csv: no rows; give a file with rows"),
    "not UTF-8": ("{path: d.csv}", GOOD.encode("utf-16"), "d.csv: not UTF-8"),
    "an unknown extension": ("{path: d.xlsx}", "PK", r"can't read \.xlsx"),
    "another form": (
        "{path: d.csv}",
        as_csv([{"question": "a", "answer": "b"}]),
        "d.csv: no column 'text'; choose one of its columns: question, answer",
    ),
    "another label": (
        "{path: d.csv}",
        as_csv([*HELD[:3], {"text": "x", "label": 2}]),
        "d.csv: row 4: column 'label' has '2', but the training rows have '0' and '1'; correct it",
    ),
    "no label": (
        "{path: d.csv}",
        as_csv([*HELD[:3], {"text": "x", "label": ""}]),
        "d.csv: row 4 has no value in column 'label'",
    ),
    "too few of a file": (
        "{path: d.csv, rows: 30}",
        GOOD,
        "test.rows needs 30 balanced rows, the test file has 20 .*; lower test.rows$",
    ),
    "one class, balanced": (
        "{path: d.csv, rows: 4}",
        as_csv([{**row, "label": 1} for row in HELD]),
        r"the test file has 0 \(20 of class 1, 0 of class 0\); lower test.rows",
    ),
    "all rows are contradictory": (
        "{path: d.csv}",
        as_csv([{"text": "same", "label": i % 2} for i in range(6)]),
        r"no test row is left \(rows dropped: 6 contradictory\); give another file",
    ),
    "all training rows are in it": (
        "{path: d.csv}",
        as_csv([{**row, "text": f"  {str(row['text']).upper()}"} for row in TRAIN]),
        r"no training row is left \(rows dropped: 60 shared with test\)",
    ),
    "most training rows are in it": (
        "{path: d.csv}",
        as_csv(TRAIN[:50]),
        r"need 20 balanced rows, 10 are available outside the test file \(50 dropped as shared\)",
    ),
    "another kind of columns": (
        "{path: d.csv, columns: {text: text, answer: label}}",
        GOOD,
        "test.columns names answer, text, but the task's columns name label, text; name the same",
    ),
    "wrong columns": (
        "{path: d.csv, columns: {text: words, label: label}}",
        GOOD,
        "d.csv: no column 'words'",
    ),
    "a wrong positive label": (
        "{path: d.csv, columns: {text: text, label: label, positive: 'yes'}}",
        GOOD,
        "doesn't have the label 'yes' of `columns.positive`",
    ),
    "chat messages": (
        "{path: d.jsonl}",
        jsonl([{"text": [{"role": "user", "content": "hi"}], "label": 1}]),
        "has chat messages and row:0 has a text",
    ),
}
TASKS = {
    "a generated task": (
        "name: embedded, train: 16, validation: 4, test: {path: d.csv}",
        "task embedded has no files; give test as a number of rows",
    ),
    "the digits": (
        "name: digits, train: 16, test: 4, validation: {path: d.csv}",
        "task digits has no files; give validation as a number of rows",
    ),
    "another format": (
        "name: sst2, path: sst2.jsonl, train: 16, validation: 4, test: {path: d.csv}",
        "isn't in the task's format|not in the layout",
    ),
    "columns in a part alone": (
        "name: sst2, path: sst2.jsonl, train: 16, validation: 4, "
        "test: {path: d.csv, columns: {text: text, label: label}}",
        "test.columns is for a task with `columns`; remove it, or give `columns`",
    ),
    "a split in a part alone": (
        "name: sst2, train: 16, validation: 4, test: {path: d.csv, split: test}",
        "test.split is for a task with `columns`",
    ),
    "a split of no data set": (
        f"name: mine, path: train.csv, split: train, {CLASSES}, train: 8, validation: 4, test: 4",
        "train.csv is no saved DatasetDict, and has no split 'train'; remove `split`",
    ),
    "a split of the hub": (
        "name: sst2, split: train, train: 8, validation: 4, test: 4",
        "has a split but no columns",
    ),
    "a join": (
        "name: mine, path: train.csv, join: {path: b.csv, on: id}, train: 16, validation: 4, "
        f"test: {{path: d.csv}}, {CLASSES}",
        "test has a path and the task has a join, which is for one pool of rows; give test as a",
    ),
    "labels by file": (
        "name: mine, files: [{path: a.csv, label: 1}], columns: {text: text}, train: 16, "
        "validation: 4, test: {path: d.csv}",
        "test has a path and the task has the labels of its `files`; give test.columns with the",
    ),
    "labels by file and columns without a label": (
        "name: mine, files: [{path: a.csv, label: 1}], columns: {text: text}, train: 16, "
        "validation: 4, test: {path: d.csv, columns: {text: text}}",
        "test.columns names text, but the task's columns name label, text; name the same ones",
    ),
    "one of the labelled files": (
        "name: mine, files: [{path: d.csv, label: 1}], columns: {text: text}, train: 16, "
        f"validation: 4, test: {{path: d.csv, {CLASSES}}}",
        "test is the file of the training rows; give another file",
    ),
    "labels by file that are others": (
        "name: mine, files: [{path: train.csv, label: good}, {path: d.csv, label: bad}], "
        "columns: {text: text}, train: 16, validation: 4, "
        f"test: {{path: ./d.csv, {CLASSES}}}",
        "d.csv: row 1: column 'label' has '0', but the training rows have 'bad' and 'good'",
    ),
    "both parts from one file": (
        f"name: mine, path: train.csv, {CLASSES}, train: 8, validation: {{path: d.csv}}, "
        "test: {path: d.csv}",
        r"no validation row is left \(rows dropped: 20 shared with test\)",
    ),
}
ARROW = {
    "no bytes": (b"", NOT_ARROW),
    "another format": (GOOD.encode(), NOT_ARROW),
    "Parquet": (parquet(TRAIN), NOT_ARROW),
    "half a stream": (STREAM[: len(STREAM) // 2], NOT_ARROW),
    "half a file": (FILE[: len(FILE) // 2], NOT_ARROW),
    "a wrong footer": (FILE[:-20] + bytes(20), NOT_ARROW),
    "no rows": (arrow([]), "d.arrow: no rows; give a file with rows"),
    "an empty text": (arrow([{"text": "", "label": 0}]), "row 1 has no value in column 'text'"),
    "columns with one name": (twice(), "d.arrow: 2 columns have the name 'text'; rename"),
    "a struct": (arrow([{"text": {"a": 1}, "label": 0}]), "row 1: column 'text' has a struct"),
}


def check(task: str, line: str, folder: Path, content: str | bytes = GOOD) -> None:
    name = next(iter(re.findall(r"\bd\.\w+", task)), "d.csv")
    data = content if isinstance(content, bytes) else content.encode()
    (folder / name).write_bytes(data)
    (folder / "train.csv").write_text(as_csv(TRAIN))
    (folder / "sst2.jsonl").write_text(
        jsonl([{"sentence": f"s {i}", "label": i % 2} for i in range(60)])
    )
    (folder / "sweep.yaml").write_text(
        f'name: t\ntask: {{{task}}}\nmodels: ["embedded:xs", "embedded:s"]\n'
        "methods: {naive: {}}\n"
    )
    run = CliRunner().invoke(app, ["plan", "sweep.yaml"])
    assert run.exit_code == 2, run.output
    assert run.stdout == ""
    lines = run.stderr.splitlines()
    assert len(lines) == 1, run.stderr
    assert lines[0].startswith("error: ")
    assert len(lines[0]) < 700
    assert re.search(line, lines[0]), lines[0]


@pytest.fixture(autouse=True)
def offline(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("W2S_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize(("part", "content", "line"), PARTS.values(), ids=PARTS)
def test_a_wrong_file_of_a_part_gives_its_line(tmp_path, part, content, line) -> None:
    task = f"name: mine, path: train.csv, {CLASSES}, train: 16, validation: 4, test: {part}"
    check(task, line, tmp_path, content)


@pytest.mark.parametrize(("task", "line"), TASKS.values(), ids=TASKS)
def test_a_wrong_task_with_files_gives_its_line(tmp_path, task, line) -> None:
    check(task, line, tmp_path)


@pytest.mark.parametrize(("content", "line"), ARROW.values(), ids=ARROW)
def test_a_malformed_arrow_file_gives_its_line(tmp_path, content, line) -> None:
    task = f"name: mine, path: d.arrow, {CLASSES}, train: 16, validation: 4, test: 4"
    check(task, line, tmp_path, content)
