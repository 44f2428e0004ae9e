"""Malformed questions with choices: each gives its one line and exit code 2, never a traceback."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from tests.bad_input.data_files import as_csv, jsonl, table
from w2s_ray.cli import app

LISTED = "{text: text, choices: choices, answer: answer}"
IN_COLUMNS = "{text: text, choices: [a, b, c], answer: answer}"
QUESTIONS = [
    {"text": f"Question {i}", "choices": [f"x{i}", f"y{i}", f"z{i}"], "answer": i % 3}
    for i in range(60)
]
SIDES = [
    {"text": f"Question {i}", "a": f"x{i}", "b": f"y{i}", "c": f"z{i}", "answer": "ABC"[i % 3]}
    for i in range(60)
]


def with_third(**changed: Any) -> str:
    return jsonl(table(QUESTIONS, **changed))


@dataclass(frozen=True)
class Case:
    """A data file, or settings, and the error line for them."""

    content: str
    line: str
    """Regular expression within the line."""
    columns: str = LISTED
    name: str = "d.jsonl"
    more: str = ""


CASES = (
    # Choices.
    Case(with_third(choices=["one"]), r"row 3 has 1 choice\(s\), and a question needs two"),
    Case(with_third(choices=[]), r"row 3 has 0 choice\(s\)"),
    Case(with_third(choices=None), r"row 3 has 0 choice\(s\)"),
    Case(with_third(choices=["one", None, "  "]), r"row 3 has 1 choice\(s\)"),
    Case(with_third(choices=["one", "two", "one "]), "row 3 has the choice 'one' twice; make"),
    Case(with_third(choices="one, two"), "row 3: column 'choices' has a text instead of a list"),
    Case(with_third(choices="['a', 'b']"), "row 3: column 'choices' has a list that is not JSON"),
    Case(with_third(choices="[" * 5000), "row 3: column 'choices' has a list that is not JSON"),
    Case(with_third(choices={"x": 1}), "row 3: column 'choices' has a struct instead of a list"),
    Case(with_third(choices=3), "row 3: column 'choices' has a value of type int instead"),
    Case(with_third(choices=["a", ["b"]]), "row 3: choice 2 has a list instead of a text"),
    Case(with_third(choices=["a", "\ud800"]), "row 3: choice 2 has a lone surrogate"),
    Case(
        with_third(choices={"text": ["a", "b"], "label": ["A"]}),
        "row 3: column 'choices' has other numbers of labels and texts",
    ),
    Case(
        with_third(choices={"text": ["a", "b"], "label": 7}),
        "row 3: column 'choices' has other numbers of labels and texts",
    ),
    Case(jsonl(table(SIDES, b="", c=None)), r"row 3 has 1 choice\(s\)", IN_COLUMNS),
    Case(as_csv(SIDES), "no column 'd'", "{text: text, choices: [a, d], answer: answer}", "d.csv"),
    # Answers.
    Case(with_third(answer=3), r"row 3: column 'answer' has '3', which is none of its 3 choices; "),
    Case(with_third(answer=-1), "row 3: column 'answer' has '-1', which is none of its 3 choices"),
    Case(with_third(answer="D"), "row 3: column 'answer' has 'D', which is none of its 3 choices"),
    Case(with_third(answer="x2"), "row 3: column 'answer' has 'x2', which is none of"),
    Case(with_third(answer=True), "row 3: column 'answer' has 'true', which is none of"),
    Case(with_third(answer=1.5), "row 3: column 'answer' has '1.5', which is none of"),
    Case(with_third(answer=None), "row 3 has no value in column 'answer'; fill it in"),
    Case(with_third(answer=["x2"]), "row 3: column 'answer' has a list instead of a text"),
    Case(with_third(answer="²"), "row 3: column 'answer' has '²', which is none of"),
    Case(
        jsonl([{**row, "choices": ["2", "1", "0"]} for row in QUESTIONS]),
        "row 1: column 'answer' has '0', which is the text of one choice and the place of another",
    ),
    Case(
        jsonl([{**row, "choices": ["B", "A", "C"], "answer": "A"} for row in QUESTIONS]),
        "row 1: column 'answer' has 'A', which is the text of one choice and the letter of another",
    ),
    Case(
        jsonl(table(SIDES, c="")),
        "row 3: column 'answer' has 'C', which is none of its 2 choices",
        IN_COLUMNS,
    ),
    # Questions.
    Case(with_third(text=""), "row 3 has no value in column 'text'"),
    Case(with_third(text=[{"role": "robot", "content": "x"}]), "message 1 has the role 'robot'"),
    # Declarations.
    Case(
        with_third(),
        "columns.choices: write text; .*or a question has two or more choices; list a column",
        "{text: text, choices: [a], answer: answer}",
    ),
    Case(
        with_third(),
        "columns.choices: .*names a column twice",
        "{text: text, choices: [a, a], answer: answer}",
    ),
    Case(
        with_third(),
        "choices need `answer`, the right one, and no label; write answer instead",
        "{text: text, choices: choices, label: answer}",
    ),
    Case(with_third(), "choices, text don't declare a task", "{text: text, choices: choices}"),
    # Settings that choices can't have.
    Case(
        with_third(),
        "loss kl needs two classes, but task mine has choices; use xent",
        more="methods: {naive: {loss: {kind: kl}}}",
    ),
    Case(
        with_third(),
        r"has prompt, which compares two words, .*untrained scores them zero-shot\)",
        more="methods: {naive: {stages: [{kind: prompt}]}}",
    ),
    *(
        Case(
            with_third(),
            f"has {kind}, which needs the same classes in every row",
            more=f"methods: {{naive: {{stages: [{{kind: {kind}}}]}}}}",
        )
        for kind in ("filter", "relabel", "simulated", "shuffled_labels", "class_prior")
    ),
    Case(
        with_third(),
        "has linear_probe, which predicts the class of a text, but task mine has choices",
        more="methods: {naive: {stages: [{kind: linear_probe}]}}",
    ),
    Case(
        with_third(),
        "training on the choices of task mine uses no classification head",
        more="methods: {naive: {training: {tuning: {kind: probe}}}}",
    ),
    Case(with_third(), "controls need classes, but task mine has choices", more="controls: true"),
    Case(
        jsonl(
            [{**row, "choices": [f"{i}" for i in range(27)], "answer": "3"} for row in QUESTIONS]
        ),
        "choice_scoring is letter, but a row has 27 choices, and there are 26 letters",
        more="training: {choice_scoring: letter}",
    ),
    Case(with_third(), "choice_length: .*characters", more="training: {choice_length: words}"),
)


@pytest.fixture(autouse=True)
def offline(monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("W2S_CACHE", str(tmp_path_factory.getbasetemp() / "cache"))


def planned(case: Case, folder: Path) -> Any:
    (folder / case.name).write_text(case.content, encoding="utf-8", errors="surrogatepass")
    methods = "" if case.more.startswith("methods") else "methods: {naive: {}}\n"
    (folder / "sweep.yaml").write_text(
        f"name: t\ntask: {{name: mine, path: {json.dumps(str(folder / case.name))}, columns: "
        f"{case.columns}, train: 16, validation: 4, test: 4}}\n"
        f'models: ["embedded:xs", "embedded:s"]\n{methods}{case.more}\n'
    )
    return CliRunner().invoke(app, ["plan", str(folder / "sweep.yaml")])


@pytest.mark.parametrize("case", CASES, ids=lambda case: re.sub(r"\W+", "-", case.line)[:60])
def test_malformed_choices_give_their_line(tmp_path: Path, case: Case) -> None:
    run = planned(case, tmp_path)
    assert run.exit_code == 2, run.output
    assert run.stdout == ""
    lines = run.stderr.splitlines()
    assert len(lines) == 1, run.stderr
    assert len(lines[0]) < 600
    assert lines[0].startswith("error: ")
    assert re.search(case.line, lines[0]), lines[0]


@pytest.mark.parametrize(
    ("content", "columns"), [(jsonl(QUESTIONS), LISTED), (as_csv(SIDES), IN_COLUMNS)]
)
def test_the_files_are_good_but_for_their_faults(
    tmp_path: Path, content: str, columns: str
) -> None:
    name = "d.jsonl" if columns == LISTED else "d.csv"
    run = planned(Case(content, "", columns, name), tmp_path)
    assert run.exit_code == 0, run.output
    assert "3 choices a row in an order by their texts, chance 33.3%" in " ".join(
        run.stdout.split()
    )
