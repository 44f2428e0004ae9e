"""The JSON schema accepts valid sweep files, and refuses what a schema can refuse."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

import jsonschema
import pytest
from pydantic import BaseModel, ValidationError
from typer.testing import CliRunner

from tests.bad_input.test_sweeps import CASES, RICH, SWEEP, TASK
from w2s_ray.cli import app
from w2s_ray.config import OneOf, Search, Sweep, Task, parse_sweep
from w2s_ray.config.json_schema import SHORT_FORMS, sweep_schema
from w2s_ray.config.yaml_files import SweepError, load_yaml

ROOT = Path(__file__).parents[2]
FILE = ROOT / "sweeps" / "sweep.schema.json"
SHIPPED = sorted((ROOT / "sweeps").rglob("*.yaml"))
VALIDATOR = jsonschema.Draft202012Validator(sweep_schema())

OWN = "task: {{name: own, {}, train: 80, validation: 20, test: 40}}\n"
SHORT = {
    "several tasks": (TASK, "tasks: [{name: sciq, train: 80, validation: 20, test: 40}]\n"),
    "models by name": ('{name: "embedded:xs", label: xs}', '"embedded:xs"'),
    "a ladder in the list": ('{name: "embedded:xs", label: xs}', "{ladder: pythia, to: 70m}"),
    "a test file": ("test: 40", "test: {path: test.csv, rows: 40}"),
    "columns by number": (TASK, OWN.format("path: x.csv, columns: {text: 1, label: 0}")),
    "labels by file": (TASK, OWN.format("files: [{path: a, label: 1}], columns: {text: text}")),
    "a join": (TASK, OWN.format("path: a, join: {path: b, on: c}, columns: {text: a, label: b}")),
    "an extractor by its name": (
        TASK,
        OWN.format("path: x, columns: {text: a, answer: b}, extract: last_number"),
    ),
    "an extractor with settings": (
        TASK,
        OWN.format("path: x, columns: {text: a, answer: b}, extract: {kind: regex, pattern: (x)}"),
    ),
    "bounds of difficulty": ("train: 80", "train: 80, difficulty: [500, null]"),
    "a list of trackers": ("trackers: {}", "trackers: [tensorboard, {mlflow: {experiment: e}}]"),
    "one tracker": ("trackers: {}", "trackers: tensorboard"),
    "a tracker without settings": ("trackers: {}", "trackers: {wandb: null}"),
    "for all": (
        "search: {trials: 4, seed: 9}",
        "search: {seed: 9, for: all, shared: {training.lr: {loguniform: [1.0e-5, 1.0e-3]}}}",
    ),
    "kinds": (
        "search: {}",
        "search: {loss: {one_of: [{kind: xent}, {kind: confidence, alpha: {choice: [0.5]}}]}}",
    ),
    "controls": ("trackers: {}", "controls: true"),
    "no controls": ("trackers: {}", "controls: false"),
    "a merge key": ("early_stopping: {patience: 1}", "early_stopping: {<<: {patience: 1}}"),
}
REFUSED = {
    "no task": (TASK, ""),
    "an unknown key of a test file": ("test: 40", "test: {path: test.csv, row: 40}"),
    "a negative number": (TASK, OWN.format("path: x.csv, columns: {text: -1, label: 0}")),
    "task and tasks": (
        "seeds: [0]",
        "tasks: [{name: sciq, train: 80, validation: 20, test: 40}]",
    ),
    "an unknown ladder": ('{name: "embedded:xs", label: xs}', "{ladder: pithia}"),
    "a setting of one model": ("label: xs}", "label: xs, training: {lrr: 1}}"),
    "a loss without a kind": ("{kind: confidence, alpha: 0.5}", "{alpha: 0.5}"),
    "two distributions": (
        "search: {}",
        "search: {loss.alpha: {uniform: [0, 1], choice: [1]}}",
    ),
    "an unknown extractor": (
        TASK,
        OWN.format("path: x, columns: {text: a, answer: b}, extract: last_nubmer"),
    ),
    "an unknown kind of extractor": (
        TASK,
        OWN.format("path: x, columns: {text: a, answer: b}, extract: {kind: last_nubmer}"),
    ),
    "an unknown tracker": ("trackers: {}", "trackers: [tensorbored]"),
}


def changed(old: str, new: str) -> str:
    assert old in SWEEP, old
    return SWEEP.replace(old, new, 1)


def data_of(text: str) -> Any:
    return load_yaml(text, name="s")[1]


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.name)
def test_every_sweep_file_of_the_project_names_the_schema_and_is_accepted(path: Path):
    text = path.read_text()
    named = re.fullmatch(r"# yaml-language-server: \$schema=(\S+)", text.splitlines()[0])
    assert named is not None, "its first line names no schema"
    assert (path.parent / named[1]).resolve() == FILE
    VALIDATOR.validate(data_of(text))


@pytest.mark.parametrize(("old", "new"), SHORT.values(), ids=SHORT)
def test_every_short_form_is_accepted(old, new):
    text = changed(old, new)
    parse_sweep(text)
    VALIDATOR.validate(data_of(text))


def test_a_file_with_every_section_is_accepted():
    VALIDATOR.validate(data_of(RICH))


@pytest.mark.parametrize("path", ["base.yaml", "[base.yaml, more.yaml]"])
def test_a_file_that_includes_others_need_not_be_complete(path):
    own = f"include: {path}\nseeds: [0, 1]\n"
    VALIDATOR.validate(data_of(own))
    VALIDATOR.validate(data_of(own + TASK))
    for wrong in ("seed: [0]\n", f"{TASK}tasks: []\n", "include: []\n", "models: []\n"):
        data = {**data_of("include: base.yaml"), **data_of(wrong)}
        assert not VALIDATOR.is_valid(data), wrong


@pytest.mark.parametrize(("old", "new"), REFUSED.values(), ids=REFUSED)
def test_a_wrong_file_is_refused(old, new):
    text = changed(old, new)
    with pytest.raises(SweepError):
        parse_sweep(text)
    assert not VALIDATOR.is_valid(data_of(text))


def structural(data: Any) -> bool:
    """Whether pydantic refuses `data` by the type, the bounds or the keys of single values."""
    try:
        Sweep.model_validate(data)
    except ValidationError as error:
        return not {"value_error", "finite_number"} & {one["type"] for one in error.errors()}
    return False


def refused() -> Iterator[tuple[str, Any]]:
    for name, (content, _) in CASES.items():
        try:
            data = data_of(content if isinstance(content, str) else content.decode())
        except (SweepError, UnicodeDecodeError):
            continue
        if not isinstance(data, dict) or structural(data):
            yield name, data


STRUCTURAL = dict(refused())


@pytest.mark.parametrize("data", STRUCTURAL.values(), ids=STRUCTURAL)
def test_malformed_files_are_refused_unless_the_fault_is_between_values(data):
    assert not VALIDATOR.is_valid(data)


def test_the_table_of_malformed_files_is_used():
    assert len(STRUCTURAL) > 60


def models_in(annotation: Any) -> Iterator[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
        for field in annotation.model_fields.values():
            yield from models_in(field.annotation)
            yield from (model for part in field.metadata for model in models_in(part))
    for part in get_args(annotation):
        yield from models_in(part)


def test_the_schema_has_the_short_form_of_every_model_that_converts_its_input():
    only_check = {OneOf, Search, Task}
    converting = {
        model.__name__
        for model in set(models_in(Sweep)) - only_check
        if any(
            decorator.info.mode == "before"
            for decorator in model.__pydantic_decorators__.model_validators.values()
        )
    }
    assert "Trackers" in converting
    assert converting <= set(SHORT_FORMS)


def test_the_command_prints_the_schema_and_the_projects_file_is_current():
    run = CliRunner().invoke(app, ["schema"])
    assert run.exit_code == 0
    assert json.loads(run.stdout) == sweep_schema()
    assert run.stdout == FILE.read_text(), "the sweep file's keys have changed; run make reference"
    jsonschema.Draft202012Validator.check_schema(sweep_schema())
