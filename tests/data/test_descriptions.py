"""Descriptions of models: cached, computed by one separate process, and equal to torch's models."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.support import loaded_by, make_model, make_task
from w2s_ray.config.ladders import OPEN_LADDERS
from w2s_ray.data import descriptions
from w2s_ray.data.architecture import Architecture
from w2s_ray.data.cache import read_note
from w2s_ray.data.descriptions import architecture_from_config, config_digest, load_architectures
from w2s_ray.ladder import DESCRIPTIONS, MODELS, OPEN_MODELS, folder

GPT2 = {"model_type": "gpt2", "n_embd": 24, "n_head": 2, "n_layer": 1, "vocab_size": 50}
OTHER = {**GPT2, "n_layer": 2}
NONE = {"model_type": "gpt9"}
RUN_DESCRIBE = descriptions.run_describe
"""The function that starts a process, which tests replace."""


@pytest.fixture
def described(monkeypatch) -> list[list[Any]]:
    """The configurations of every call that describes some; the cache of the process is empty."""
    calls: list[list[Any]] = []
    run_describe = descriptions.run_describe

    def recorded(configs: Any) -> Any:
        calls.extend([list(configs)] if configs else [])
        return run_describe(configs)

    monkeypatch.setattr(descriptions, "run_describe", recorded)
    monkeypatch.setattr(descriptions, "_architectures", {})
    return calls


def test_missing_descriptions_are_computed_by_one_call_and_cached(described, monkeypatch):
    load_architectures([GPT2, OTHER, GPT2, NONE])
    assert described == [[GPT2, OTHER, NONE]]
    first = architecture_from_config(GPT2)
    assert isinstance(first, Architecture)
    assert architecture_from_config(NONE) == "transformers has no model_type 'gpt9'"
    monkeypatch.setattr(descriptions, "_architectures", {})  # another process, the same notes
    load_architectures([OTHER, GPT2, NONE])
    assert architecture_from_config(GPT2) == first
    assert len(described) == 1
    monkeypatch.setattr(descriptions, "_architectures", {})
    monkeypatch.setattr(descriptions, "_versions", lambda: ["another transformers"])
    load_architectures([GPT2])
    assert described[1:] == [[GPT2]]


def test_a_damaged_note_is_computed_again(described, cache: Path, monkeypatch):
    first = architecture_from_config(GPT2)
    (note,) = (cache / "w2s" / "models").iterdir()
    for broken in ("{", "[]", "{}", '{"family": "gpt2"}'):
        note.write_text(broken)
        monkeypatch.setattr(descriptions, "_architectures", {})
        assert architecture_from_config(GPT2) == first
    assert len(described) == 5


def test_the_shipped_descriptions_of_the_embedded_ladder_are_current(described):
    """To update the file: for each config.json, digest -> the output of the program below."""
    from w2s_ray.learn.describe import description

    shipped = json.loads(DESCRIPTIONS.read_text())
    configs = [json.loads((folder(size) / "config.json").read_text()) for size in MODELS]
    assert set(shipped) == {config_digest(config) for config in configs}
    for config in configs:
        assert shipped[config_digest(config)] == description(config)
        assert isinstance(architecture_from_config(config), Architecture)
    assert described == []


OPEN = {name: list(ladder.rungs.values()) for name, ladder in OPEN_LADDERS.items()}


@pytest.mark.parametrize(
    "names",
    [
        *([rungs[0].name] for rungs in OPEN.values()),
        pytest.param([r.name for rungs in OPEN.values() for r in rungs], marks=pytest.mark.slow),
    ],
    ids=[*OPEN, "all"],
)
def test_the_shipped_descriptions_of_open_models_are_current(names):
    """`python scripts/open_models.py` updates them."""
    from w2s_ray.learn.describe import description

    shipped = json.loads(OPEN_MODELS.read_text())
    for name in names:
        found = description(shipped[name]["config"])
        found["skeleton"]["tensors"] = {}
        assert shipped[name]["description"] == found


@pytest.mark.slow
def test_the_program_writes_a_line_for_each_configuration_and_continues_after_errors():
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
    assert Architecture.of(found) == architecture_from_config(GPT2)


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


@pytest.mark.slow
def test_a_failure_or_timeout_affects_one_configuration_only(monkeypatch):
    configs = [{name: 1} for name in ("a", "dies", "b", "hangs", "c")]
    monkeypatch.setattr(descriptions, "_COMMAND", (sys.executable, "-c", PROGRAM))
    monkeypatch.setattr(descriptions, "_TIMEOUT_S", 10)
    no = {"why": "no"}
    assert RUN_DESCRIBE(configs) == [no, {}, no, {}, no]


@pytest.mark.slow
def test_planning_with_a_new_model_imports_no_torch_and_caches_its_size(tmp_path: Path):
    """With the separate process."""
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
