"""Malformed data files: each gives its one line and exit code 2, never a traceback."""

from __future__ import annotations

import bz2
import gzip
import json
import lzma
import os
import re
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

from tests.bad_input.data_files import (
    as_csv,
    flipped,
    jsonl,
    locked,
    npz,
    parquet,
    table,
    tarred,
    zipped,
)
from w2s_ray.cli import app

Content = bytes | str | Callable[[Path], object]
"""The content of a file, or a function that writes it."""

CLASSES = "{text: text, label: label}"
PAIRS = "{first: a, second: b, label: label}"
CHOSEN = "{text: prompt, chosen: chosen, rejected: rejected}"
ANSWERS = "{text: text, answer: answer}"
GROUPED = "{text: text, label: label, group: group}"
HARD = "{text: text, label: label, difficulty: hard}"
CATEGORY = "{category: label, image: image}"


@dataclass(frozen=True)
class Case:
    """A data file and the error line for it."""

    name: str
    content: Content
    line: str
    """Regular expression within the line."""
    columns: str | None = CLASSES
    task: str = "mine"
    path: str | None = None
    """The task's `path`; None = the file."""


def pipe(path: Path) -> None:
    os.mkfifo(path)


def listening(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as made:
        made.bind(os.path.relpath(path))


def turn(role: str, content: Any = "Something.", **more: Any) -> dict[str, Any]:
    return {"role": role, "content": content, **more}


def preferences(**changed: Any) -> str:
    prompt = [turn("user", "How was the bird?")]
    rows = [
        {
            "prompt": prompt,
            "chosen": [turn("assistant", f"It was loud on day {i}.")],
            "rejected": [turn("assistant", f"It was calm on day {i}.")],
        }
        for i in range(60)
    ]
    return jsonl(table(rows, **changed))


GOOD = as_csv(table())
LINES = jsonl(table())
COLUMNAR = {name: {str(i): row[name] for i, row in enumerate(table())} for name in table()[0]}
LISTS = {name: [row[name] for row in table()] for name in table()[0]}
SPLIT = {"columns": ["text", "label"], "index": [0], "data": [["a", 1]]}
NAN = float("nan")
VIRTUE = "ethics_virtue"
DEEP = "[" * 20_000 + "]" * 20_000
TWICE = pa.Table.from_arrays(
    [pa.array(["a", "b"])] * 2 + [pa.array([0, 1])], ["text"] * 2 + ["label"]
)
DAMAGED = "damaged, truncated or not of its extension's format"
NO_TEXT = "row 3: column 'text' has"
EMPTY = "row 3 has no value in column"
SEPARATED = "seem to be separated by"


def write_twice(path: Path) -> None:
    pq.write_table(TWICE, path)


def images(path: Path) -> None:
    path.write_text(as_csv([{"label": "ab"[i % 2], "image": "i.png"} for i in range(60)]))


CASES = (
    # A missing or an empty file.
    Case("d.csv", "", "no rows; give a file with rows"),
    Case("d.csv", "\n\n", "no column 'text'|no rows"),
    Case("d.csv", "text,label\n", "no rows; give a file with rows"),
    Case("d.jsonl", "", "no rows; give a file with rows"),
    Case("d.json", "[]", "no rows; give a file with rows"),
    Case("d.json", "{}", "no column 'text'"),
    Case("d.parquet", parquet(table()[:0], pa.schema([("text", pa.string())])), "no rows"),
    Case("d.npz", npz(), "no rows"),
    Case("d.csv", GOOD, "task.path: .* is too long for a path", path="x" * 5000),
    Case(
        "d.csv",
        GOOD,
        "nosuchuser/d.csv' is in the home of a user who doesn't exist here",
        path="~nosuchuser/d.csv",
    ),
    Case("d.csv", GOOD, r"files of several kinds \(1 .csv, 1 .yaml\); .* folder/\*.csv", path="."),
    Case("d.csv", pipe, "is a pipe, a socket or a device"),
    Case("d.jsonl", pipe, "is a pipe, a socket or a device"),
    Case("d.csv", listening, "is a pipe, a socket or a device"),
    Case("d.csv", GOOD, "is a pipe, a socket or a device", path="/dev/zero"),
    Case("d.xlsx", "PK", r"can't read \.xlsx; use \.csv"),
    Case("d", GOOD, "can't read a file without extension"),
    # Separated values.
    Case("d.csv", as_csv(table(), delimiter=";"), f"{SEPARATED} a semicolon .* write it with ','"),
    Case("d.csv", as_csv(table(), delimiter="\t"), f"{SEPARATED} a tab .* rename it to .tsv"),
    Case("d.csv", as_csv(table(), delimiter="|"), f"{SEPARATED} a vertical bar"),
    Case("d.tsv", GOOD, f"{SEPARATED} a comma"),
    Case("d.csv", "text;label\na, b and c;0\n", f"{SEPARATED} a semicolon"),
    Case("d.csv", "text,label,text\na,0,b\nc,1,d\n", "2 columns have the name 'text'; rename"),
    Case("d.tsv", "text\tlabel\tlabel\na\t0\t1\n", "2 columns have the name 'label'; rename"),
    Case("d.csv", "text,label\na,0\nb\n", "row 2 has 1 fields instead of 2"),
    Case("d.csv", "text,label\na,b,0\n", "row 1 has 3 fields instead of 2"),
    Case("d.csv", 'text,label\n"a" b,0\n', "quote fields"),
    Case("d.csv", 'text,label\n"a,0\n', "quote fields"),
    Case("d.csv", GOOD.encode("utf-16"), "not UTF-8"),
    Case("d.csv", b"text,label\ncaf\xe9,0\n", "not UTF-8"),
    Case("d.csv", bytes(range(128, 256)), "not UTF-8"),
    Case("d.csv", as_csv(table(text="")), f"{EMPTY} 'text'"),
    Case("d.csv", as_csv(table(label="")), f"{EMPTY} 'label'"),
    Case("d.csv", "words,label\na,0\n", "no column 'text'; .* columns: words, label"),
    Case("d.csv", ",".join(f"c{i}" for i in range(999)) + "\n" + "1," * 998 + "1\n", r"987 more\)"),
    # Compressed.
    Case("d.csv.gz", GOOD, rf"{DAMAGED} \(Not a gzipped file"),
    Case("d.csv.gz", gzip.compress(GOOD.encode())[:-30], rf"{DAMAGED} \(Compressed file ended"),
    Case("d.csv.gz", b"", "no rows"),
    Case("d.csv.gz", flipped(gzip.compress(GOOD.encode()), b"\x1f"), DAMAGED),
    Case("d.jsonl.gz", gzip.compress(LINES.encode())[:40], DAMAGED),
    Case("d.parquet.gz", gzip.compress(b"PAR1"), "not a complete Parquet file"),
    Case("d.zip", GOOD, rf"{DAMAGED} \(File is not a zip file\)"),
    Case("d.zip", b"", DAMAGED),
    Case("d.zip", zipped(d__csv=GOOD)[:-10], DAMAGED),
    Case("d.zip", flipped(zipped(d__csv=GOOD), b"number 7"), rf"{DAMAGED} \(Bad CRC-32"),
    Case("d.zip", locked(zipped(d__csv=GOOD)), "can't be read .*(encrypted|password)"),
    Case("d.zip", zipped(), "has 0 files"),
    Case("d.zip", zipped(a__csv=GOOD, b__jsonl=LINES), r"several kinds \(1 .csv, 1 .jsonl\)"),
    Case("d.tar", GOOD, DAMAGED),
    Case("d.tar.gz", tarred("d.csv", GOOD, "w:gz")[:60], DAMAGED),
    Case("d.tar.xz", lzma.compress(b"no archive"), DAMAGED),
    Case("d.tar.bz2", bz2.compress(b"no archive"), DAMAGED),
    # JSON.
    Case("d.jsonl", '{"text": 1', "line 1 is not JSON"),
    Case("d.jsonl", LINES + "{\n", "line 61 is not JSON"),
    Case("d.jsonl", "3\n4\n", "row 1 is a int; write each row as an object"),
    Case("d.jsonl", '[1]\n"a"\n', "line 1 is not JSON"),
    Case("d.json", "[[1], [2]]", "row 1 is a list; write each row as an object"),
    Case("d.json", "null", "row 1 is a NoneType"),
    Case("d.json", DEEP, "nested too deeply"),
    Case("d.jsonl", '{"text": ' + DEEP + "}", "nested too deeply"),
    Case("d.json", json.dumps(COLUMNAR), "column-oriented JSON .text, label.*orient='records'"),
    Case("d.json", json.dumps(COLUMNAR, indent=2), "column-oriented JSON .text, label"),
    Case("d.json", json.dumps(LISTS), "column-oriented JSON .text, label"),
    Case("d.json", json.dumps(SPLIT), "column-oriented JSON .columns, index, data"),
    Case("d.json", json.dumps({"data": table()}), "no column 'text'; .* columns: data"),
    Case("d.jsonl", '{"text": "a", "label": 0, "text": "b"}\n', "key 'text' more than once"),
    Case("d.jsonl", '{"text": "a", "label": ' + "9" * 5000 + "}\n", "line 1 is not JSON .*4300"),
    Case("d.jsonl", jsonl(table()[:2]) + '{"label": 1}\n', f"{EMPTY} 'text'"),
    # Parquet and NumPy.
    Case("d.parquet", b"", "not a complete Parquet file"),
    Case("d.parquet", GOOD, "not a complete Parquet file"),
    Case("d.parquet", parquet(table())[:-20], "not a complete Parquet file"),
    Case("d.parquet", parquet(table())[:200], "not a complete Parquet file"),
    Case("d.parquet", b"PAR1" + bytes(200) + b"PAR1", "not a complete Parquet file"),
    Case("d.parquet", write_twice, "2 columns have the name 'text'"),
    Case("d.npz", GOOD, "not a complete .npz file"),
    Case("d.npz", b"", DAMAGED),
    Case("d.npz", npz(text=np.array([{}, {}], object), label=np.arange(2)), "pickled"),
    Case("d.npz", npz(text=np.array("a"), label=np.arange(2)), "array 'text' is one value"),
    Case("d.npz", npz(text=np.array(["a"] * 3), label=np.arange(2)), "different lengths"),
    Case("d.npz", npz(text=np.array(["a"] * 9), label=np.arange(9) % 2)[:-40], DAMAGED),
    Case("d.npz", npz(text=np.zeros((60, 2)), label=np.arange(60) % 2), "has a value of type"),
    # Cells that are not text.
    Case("d.jsonl", jsonl(table(text=["a", "b"])), f"{NO_TEXT} a list instead of a text"),
    Case("d.jsonl", jsonl(table(text={"a": "b"})), f"{NO_TEXT} a struct instead of a text"),
    Case("d.jsonl", jsonl(table(text=[])), f"{NO_TEXT} a list instead of a text"),
    Case("d.jsonl", jsonl(table(text=None)), f"{EMPTY} 'text'"),
    Case("d.jsonl", jsonl(table(text=NAN)), f"{EMPTY} 'text'"),
    Case("d.jsonl", jsonl(table(label=NAN)), f"{EMPTY} 'label'"),
    Case("d.jsonl", jsonl(table(text="a \ud83d")), rf"{NO_TEXT} a lone surrogate \(\\ud83d\)"),
    Case("d.jsonl", jsonl(table(label="\udc00")), "row 3: column 'label' has a lone surrogate"),
    Case("d.parquet", parquet([{"text": b"\xff\xfe", "label": 0}]), "bytes that are not UTF-8"),
    Case(
        "d.parquet",
        parquet([{"text": {"a": 1}, "label": 0}]),
        "row 1: column 'text' has a struct",
    ),
    Case("d.parquet", parquet([{"text": ["a"], "label": 0}]), "row 1: column 'text' has a list"),
    Case("d.parquet", parquet([{"text": None, "label": 0}]), "row 1 has no value in column 'text'"),
    Case("d.jsonl", jsonl(table(label=["a"])), "row 3: column 'label' has a list"),
    Case(
        "d.jsonl",
        jsonl([{**row, "group": [1]} for row in table()]),
        "'group' has a list",
        GROUPED,
    ),
    Case("d.jsonl", jsonl([{**r, "group": NAN} for r in table()]), "'group'; fill", GROUPED),
    Case("d.csv", as_csv([{**row, "hard": "hard"} for row in table()]), "not a finite", HARD),
    Case("d.jsonl", jsonl([{**row, "hard": [1]} for row in table()]), "not a finite", HARD),
    Case("d.csv", as_csv([{**row, "hard": "inf"} for row in table()]), "not a finite", HARD),
    Case("d.csv", as_csv([{**row, "hard": "nan"} for row in table()]), "not a finite", HARD),
    Case(
        "d.jsonl",
        jsonl([{"text": f"t {i}", "answer": {"a": 1}} for i in range(60)]),
        "row 1: column 'answer' has a struct",
        ANSWERS,
    ),
    Case(
        "d.jsonl",
        jsonl([{"a": f"t {i}", "b": [i], "label": i % 2} for i in range(60)]),
        "row 1: column 'b' has a list",
        PAIRS,
    ),
    # Labels.
    Case("d.csv", as_csv(table(label=2)), r"has 3 distinct label\(s\) \('0', '1', '2'\)"),
    Case("d.csv", as_csv([{**row, "label": 1} for row in table()]), "has 1 distinct label"),
    Case("d.csv", as_csv([{"text": i, "label": i} for i in range(60)]), "60 distinct"),
    Case("d.jsonl", jsonl([{**r, "label": -r["label"]} for r in table()]), "labels -1 and 0"),
    Case(
        "d.csv",
        as_csv(table()),
        "doesn't have the label 'yes' of `columns.positive`; choose one of its labels: '0', '1'",
        "{text: text, label: label, positive: 'yes'}",
    ),
    Case("d.jsonl", jsonl(table(label="x" * 5000)), "3 distinct"),
    # Chat messages.
    Case("d.jsonl", preferences(chosen=[turn("robot")]), "message 1 has the role 'robot'", CHOSEN),
    Case("d.jsonl", preferences(chosen=[turn("user", "")]), "message 1 has no content", CHOSEN),
    Case("d.jsonl", preferences(chosen=[turn("user", None)]), "message 1 has no content", CHOSEN),
    Case(
        "d.jsonl",
        preferences(chosen=[turn("user"), "x"]),
        "message 2 is a value of",
        CHOSEN,
    ),
    Case("d.jsonl", preferences(chosen=[turn("user", {"a": 1})]), "has a struct", CHOSEN),
    Case(
        "d.jsonl",
        preferences(chosen=[turn("user", [{"type": "image"}])]),
        "message 1 has a part that is not text",
        CHOSEN,
    ),
    Case(
        "d.jsonl",
        preferences(chosen=[turn("assistant", "a", tool_calls=[{"name": "f"}])]),
        "message 1 has a tool call",
        CHOSEN,
    ),
    Case("d.jsonl", preferences(chosen=[turn("system", "")]), "has no message with text", CHOSEN),
    Case("d.jsonl", preferences(chosen=[turn("user", "\ud83d")]), "a lone surrogate", CHOSEN),
    Case("d.jsonl", preferences(rejected=[{"from": "human"}]), "has a list", CHOSEN),
    Case("d.jsonl", preferences(prompt="a", chosen="b", rejected="c"), "chat messages", CHOSEN),
    Case(
        "d.jsonl",
        jsonl([{"text": [turn("user", f"{i}")], "answer": [turn("user")]} for i in range(60)]),
        "row 1: column 'answer' has 1 messages; write the answer as a text, or ",
        ANSWERS,
    ),
    # Images.
    Case("d.csv", images, "no image file 'i.png'; write file names relative", CATEGORY),
    # Named tasks.
    Case("train.csv", "text,label\na,0\n", "row 1 isn't in the task's format", None, "sciq"),
    Case("train.jsonl", LINES, "row 1 isn't in the task's format", None, "boolq"),
    Case(
        "train.jsonl",
        jsonl([{"sentence": ["a"], "label": 1}]),
        "column 'sentence' has a list instead of a text",
        None,
        "sst2",
    ),
    Case(
        "train.jsonl",
        jsonl([{"scenario": "a [SEP] b", "label": "x"}]),
        "has 'x', not one of",
        None,
        "ethics_virtue",
    ),
    Case("train.jsonl", jsonl([{"sentence": "a", "label": 5}]), "has 5, not one of", None, "sst2"),
    Case("train.json", "[[1, 2]]", "not in the layout of the task's original files", None, "dream"),
    Case("train.jsonl", jsonl([{"passage": 3}]), "not in the layout of", None, "multirc"),
    Case(
        "train.jsonl",
        jsonl([{"question": {}}] * 2),
        "not in the layout of",
        None,
        "quartz",
    ),
    Case("train.xml", "<data>", r"not XML", None, "quail"),
    Case("train.jsonl.gz", LINES, DAMAGED, None, "boolq"),
    Case("train.csv", "PuzzleId,FEN\n1,x\n", "isn't in the task's format", None, "chess_puzzles"),
    Case(
        "train.csv",
        "PuzzleId,FEN,Moves,Rating\n"
        "1,rnbqkbnr/pppppppp/8/8/8/8/PPPPPPPP/RNBQKBNR w KQkq - 0 1,e2e4 e7e5,hard\n",
        "column 'Rating' has 'hard', which is not a finite number",
        None,
        "chess_puzzles",
    ),
    Case(
        "train.csv",
        "PuzzleId,FEN,Moves,Rating\n1,8/8/8/8/8/8/8/8 w - - 0 1,e2e4 e7e5,hard\n",
        "not a chess puzzle",
        None,
        "chess_puzzles",
    ),
    Case(
        "train.jsonl",
        jsonl([{"chosen": [turn("robot")], "rejected": "x"}]),
        "message 1 has the role 'robot'",
        None,
        "anthropic_hh",
    ),
    Case("d.csv", GOOD, "has no train file", None, "boolq", path="."),
)


@pytest.fixture(autouse=True)
def offline(monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("W2S_CACHE", str(tmp_path_factory.getbasetemp() / "cache"))


@contextmanager
def within(folder: Path) -> Iterator[None]:
    before = Path.cwd()
    os.chdir(folder)
    try:
        yield
    finally:
        os.chdir(before)


def put(path: Path, content: Content) -> None:
    if callable(content):
        content(path)
    else:
        path.write_bytes(content if isinstance(content, bytes) else content.encode())


def sweep_of(case: Case) -> str:
    columns = "" if case.columns is None else f"columns: {case.columns}, "
    path = json.dumps(case.path or case.name)
    return (
        f"name: t\ntask: {{name: {case.task}, path: {path}, {columns}train: 16, validation: 4, "
        'test: 4}\nmodels: ["embedded:xs", "embedded:s"]\nmethods: {naive: {}}\n'
    )


def called(case: Case) -> str:
    return f"{case.name}-{re.sub('[^a-z0-9]+', '-', case.line.lower())[:40]}"


@pytest.mark.parametrize("case", CASES, ids=called)
def test_a_malformed_file_gives_its_line(tmp_path: Path, case: Case) -> None:
    with within(tmp_path):
        put(Path(case.name), case.content)
        Path("sweep.yaml").write_text(sweep_of(case))
        run = CliRunner().invoke(app, ["plan", "sweep.yaml"])
    assert run.exit_code == 2, run.output
    assert run.stdout == ""
    lines = run.stderr.splitlines()
    assert len(lines) == 1, run.stderr
    assert len(lines[0]) < 700
    assert lines[0].isprintable()
    assert lines[0].startswith("error: ")
    assert re.search(case.line, lines[0]), lines[0]


def test_there_are_many_cases_and_no_two_are_the_same() -> None:
    assert len(CASES) >= 80
    assert len({(case.name, repr(case.content), case.columns, case.path) for case in CASES}) == len(
        CASES
    )
