"""Descriptions of models are made once, together and without torch here, and are those of torch."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.support import loaded_by, make_model, make_task
from w2s_ray.data import descriptions
from w2s_ray.data.architecture import Architecture
from w2s_ray.data.cache import read_note
from w2s_ray.data.descriptions import config_digest, describe, described
from w2s_ray.ladder import DESCRIPTIONS, MODELS, folder

GPT2 = {"model_type": "gpt2", "n_embd": 24, "n_head": 2, "n_layer": 1, "vocab_size": 50}
OTHER = {**GPT2, "n_layer": 2}
NONE = {"model_type": "gpt9"}
ANSWERS = descriptions.answers
"""As it is outside tests: with a process of its own."""


@pytest.fixture
def asked(monkeypatch) -> list[list[Any]]:
    """The configurations of every call that describes some, in a process that knows none."""
    calls: list[list[Any]] = []
    answers = descriptions.answers

    def noted(configs: Any) -> Any:
        calls.extend([list(configs)] if configs else [])
        return answers(configs)

    monkeypatch.setattr(descriptions, "answers", noted)
    monkeypatch.setattr(descriptions, "_known", {})
    return calls


def test_all_that_are_missing_are_described_by_one_call_and_then_kept(asked, monkeypatch):
    describe([GPT2, OTHER, GPT2, NONE])
    assert asked == [[GPT2, OTHER, NONE]]
    first = described(GPT2)
    assert isinstance(first, Architecture)
    assert described(NONE) == "transformers has no model_type 'gpt9'"
    monkeypatch.setattr(descriptions, "_known", {})  # another process, the same notes
    describe([OTHER, GPT2, NONE])
    assert described(GPT2) == first
    assert len(asked) == 1
    monkeypatch.setattr(descriptions, "_known", {})
    monkeypatch.setattr(descriptions, "_versions", lambda: ["another transformers"])
    describe([GPT2])
    assert asked[1:] == [[GPT2]]


def test_a_broken_note_is_as_good_as_none(asked, cache: Path, monkeypatch):
    first = described(GPT2)
    (note,) = (cache / "w2s" / "models").iterdir()
    for broken in ("{", "[]", "{}", '{"family": "gpt2"}'):
        note.write_text(broken)
        monkeypatch.setattr(descriptions, "_known", {})
        assert described(GPT2) == first
    assert len(asked) == 5


def test_the_embedded_ladder_ships_with_the_descriptions_that_are_made_of_it(asked):
    """To renew the file: digest -> what the program below writes of a config.json, for each."""
    from w2s_ray.learn.describe import description

    shipped = json.loads(DESCRIPTIONS.read_text())
    configs = [json.loads((folder(size) / "config.json").read_text()) for size in MODELS]
    assert set(shipped) == {config_digest(config) for config in configs}
    for config in configs:
        assert shipped[config_digest(config)] == description(config)
        assert isinstance(described(config), Architecture)
    assert asked == []


def test_the_program_answers_every_line_and_goes_on_after_what_it_cannot_describe():
    lines = [json.dumps(config) for config in (NONE, GPT2)]
    run = subprocess.run(
        [sys.executable, "-m", "w2s_ray.learn.describe"],
        input="\n".join(lines) + "\n",
        capture_output=True,
        text=True,
        check=True,
    )
    none, found = map(json.loads, run.stdout.splitlines())
    assert none == {"why": "transformers has no model_type 'gpt9'"}
    assert Architecture.of(found) == described(GPT2)


PROGRAM = """
import sys
for line in sys.stdin:
    if "dies" in line:
        sys.exit(3)
    if "hangs" in line:
        sys.stdout.write('{"why": ')
        sys.stdout.flush()
        import time; time.sleep(600)
    print('{"why": "no"}', flush=True)
"""


def test_a_process_that_fails_on_one_or_hangs_costs_that_one_alone(monkeypatch):
    configs = [{name: 1} for name in ("a", "dies", "b", "hangs", "c")]
    monkeypatch.setattr(descriptions, "_COMMAND", (sys.executable, "-c", PROGRAM))
    monkeypatch.setattr(descriptions, "_TIMEOUT_S", 10)
    no = {"why": "no"}
    assert ANSWERS(configs) == [no, {}, no, {}, no]


def test_a_plan_of_a_new_model_loads_no_torch_and_gives_its_size(tmp_path: Path):
    """The whole way, with the process that describes."""
    make_model(tmp_path / "new", width=24)
    make_task(tmp_path / "task.csv")
    sweep = tmp_path / "sweep.yaml"
    sweep.write_text(
        f"name: n\ntask: {{name: words, path: {tmp_path}/task.csv, train: 80, validation: 20, "
        "test: 20, columns: {text: text, label: label}}\n"
        f"models: [embedded:xs, {tmp_path}/new]\nmethods: {{naive: {{}}}}\n"
        f"store: {tmp_path}/results\n"
    )
    assert loaded_by(["plan", str(sweep)], "torch", "transformers", "peft", "ray") == []
    config = json.loads((tmp_path / "new" / "config.json").read_text())
    found = read_note("models", key=descriptions._key(config_digest(config)))
    assert found is not None
    assert (found["width"], found["layers"]) == (24, 1)
