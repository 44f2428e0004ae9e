"""`w2s init`: every template plans, its commented settings are valid, and guesses fit a table."""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Sequence
from pathlib import Path

import jsonschema
import pytest
from typer.testing import CliRunner

from w2s_ray.cli import app
from w2s_ray.cli.init import OF_TABLES, SCHEMA, TEMPLATES
from w2s_ray.config import load_sweep, parse_sweep
from w2s_ray.config.json_schema import sweep_schema
from w2s_ray.config.yaml_files import load_yaml

VALIDATOR = jsonschema.Draft202012Validator(sweep_schema())
SETTING = re.compile(r"( *)#([^ #].*)")


@pytest.fixture(autouse=True)
def _alone(tmp_path: Path, monkeypatch) -> None:
    """No hub, and an empty folder."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hub"))
    monkeypatch.setenv("W2S_CACHE", str(tmp_path / "cache"))


def w2s(*arguments: str) -> str:
    run = CliRunner().invoke(app, arguments)
    assert run.exit_code == 0, run.output
    return run.output


def written(template: str, *options: str) -> str:
    w2s("init", template, "--force", *options)
    return Path("sweep.yaml").read_text()


def test_without_a_template_the_templates_are_listed():
    lines = w2s("init").splitlines()
    assert [line.split()[0] for line in lines] == list(TEMPLATES)
    assert not list(Path().iterdir())


@pytest.mark.parametrize("template", TEMPLATES)
def test_a_template_plans_and_follows_good_practice(template):
    text = written(template)
    assert text.splitlines()[0] == f"# yaml-language-server: $schema={SCHEMA}"
    assert json.loads(Path(SCHEMA).read_text()) == sweep_schema()
    VALIDATOR.validate(load_yaml(text, name="s")[1])
    assert load_sweep("sweep.yaml").name in w2s("plan", "sweep.yaml")
    sweep = load_sweep("sweep.yaml")
    assert len(sweep.seeds) == 3
    assert sweep.spaces
    assert (sweep.controls is not None) == (template != "chess")
    assert max(map(len, text.splitlines())) <= 105
    blocks = text.split("\n\n")[1:]
    assert all(block.startswith("#") or "store: results" in block for block in blocks[:-1]), blocks


LINES = [
    pytest.param(template, line, id=f"{template}-{line.split()[0]}")
    for template in TEMPLATES
    for line in (Path(__file__).parents[2] / "w2s_ray/cli/templates" / f"{template}.yaml")
    .read_text()
    .splitlines()
    if SETTING.fullmatch(line)
]


@pytest.mark.parametrize(("template", "line"), LINES)
def test_a_commented_setting_is_valid_when_it_is_uncommented(template, line):
    text = written(template)
    before = parse_sweep(text)
    changed = text.replace(line, SETTING.sub(r"\1\2", line))
    assert changed != text
    VALIDATOR.validate(load_yaml(changed, name="s")[1])
    assert parse_sweep(changed) != before


def test_every_template_has_settings_to_try():
    assert {case.values[0] for case in LINES} == set(TEMPLATES)


def table(path: str, header: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    with Path(path).open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(header)
        writer.writerows(rows)
    return path


def guessed(template: str, path: str) -> dict[str, object]:
    """The columns that are guessed, from a file that plans."""
    text = written(template, "--path", path)
    VALIDATOR.validate(load_yaml(text, name="s")[1])
    task = load_sweep("sweep.yaml").tasks[0]
    small = ('models=["embedded:xs","embedded:s"]', "search.on=null")
    planned = w2s("plan", "sweep.yaml", *small)
    assert "not on this machine: task" not in planned
    assert task.columns is not None
    return task.columns.model_dump(exclude_none=True)


def test_columns_of_two_classes_are_guessed_by_values():
    rows = [
        (i, f"sentence number {i} about a film", "train" if i % 7 else "dev", f"film {i // 9}", w)
        for i, w in enumerate(["good", "bad", "bad"] * 100)
    ]
    path = table("my reviews.csv", ("nr", "what they wrote", "part", "film", "verdict"), rows)
    found = guessed("csv", path)
    assert found == {"text": "what they wrote", "label": "verdict", "positive": "good"}
    text = Path("sweep.yaml").read_text()
    assert "#group: film" in text
    assert "100 of 'good' and 200 of 'bad'" in text
    assert "since it is last in the alphabet; if class 1 is 'bad', write that" in text
    assert "name: my-reviews\n" in text
    sweep = load_sweep("sweep.yaml")
    task = sweep.tasks[0]
    assert (task.train, task.validation, task.test) == (130, 20, 50)
    assert sweep.training.max_tokens == 64


def test_a_column_of_several_values_is_guessed_as_the_category():
    kinds = ["news", "sport", "arts"]
    rows = [(i % 2, f"a text of some words {i}", kinds[i % 3]) for i in range(300)]
    path = table("d.csv", ("odd", "text", "category"), rows)
    assert guessed("csv", path) == {"text": "text", "category": "category"}
    text = Path("sweep.yaml").read_text()
    assert "# classes: 100 of 'news', 100 of 'sport', 100 of 'arts'" in text
    assert "balance" not in text
    assert "3 classes (arts, news, sport)" in w2s(
        "plan", "sweep.yaml", "models=[embedded:xs,embedded:s]"
    )


def test_a_sorted_file_and_numbers_as_labels_are_guessed():
    rows = [(f"a text of some words {i}", int(i >= 900)) for i in range(1800)]
    assert guessed("csv", table("d.csv", ("review", "liked"), rows)) == {
        "text": "review",
        "label": "liked",
        "positive": 1,
    }
    assert "since it means yes; if class 1 is '0', write that" in Path("sweep.yaml").read_text()
    assert load_sweep("sweep.yaml").tasks[0].train == 1100


def test_equal_texts_count_once():
    rows = [(f"a text of some words {i % 60}", i % 2) for i in range(600)]
    guessed("csv", table("d.csv", ("text", "label"), rows))
    task = load_sweep("sweep.yaml").tasks[0]
    assert task.train + task.validation + task.test <= 60


@pytest.mark.parametrize(
    ("header", "cells", "found"),
    [
        (
            ("prompt", "chosen", "rejected"),
            lambda i: (f"what is {i}?", f"a good answer {i}", f"a bad answer {i}"),
            {"text": "prompt", "chosen": "chosen", "rejected": "rejected"},
        ),
        (
            ("id", "response_a", "response_b", "winner"),
            lambda i: (i, f"one answer is {i}", f"another answer is {i}", "ab"[i % 3 % 2]),
            {"first": "response_a", "second": "response_b", "preferred": "winner"},
        ),
        (
            ("text_1", "text_2", "label"),
            lambda i: (f"one text is {i}", f"another text is {i}", i % 2),
            {"first": "text_1", "second": "text_2", "label": "label"},
        ),
    ],
)
@pytest.mark.parametrize("template", OF_TABLES)
def test_pairs_are_guessed_by_names(template, header, cells, found):
    path = table("pairs.csv", header, [cells(i) for i in range(400)])
    assert guessed(template, path) == found


def test_a_file_that_is_there_is_kept_and_the_schema_too():
    Path("sweep.yaml").write_text("mine")
    Path(SCHEMA).write_text("mine")
    run = CliRunner().invoke(app, ["init", "quickstart"])
    assert run.exit_code == 2
    assert Path("sweep.yaml").read_text() == "mine"
    w2s("init", "quickstart", "--force")
    assert Path("sweep.yaml").read_text() != "mine"
    assert Path(SCHEMA).read_text() == "mine"


def test_the_output_names_the_next_command():
    assert w2s("init", "chess", "--out", "a b.yaml").splitlines()[-1] == "next: w2s plan 'a b.yaml'"
