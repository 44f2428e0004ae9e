"""What was planned before changes no plan: a cache holds answers, and gives them to no other."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from w2s_ray.config import Columns, load_sweep
from w2s_ray.data import resolve, split_ref
from w2s_ray.errors import InputError

SWEEPS = sorted((Path(__file__).resolve().parents[2] / "sweeps").rglob("*.yaml"))


def outcome(find: Callable[[], object]) -> object:
    """What is found, or the line that it is refused with."""
    try:
        return find()
    except InputError as error:
        return str(error)


def resolved(path: Path) -> object:
    return outcome(lambda: resolve(load_sweep(path), online=False))


def test_every_shipped_sweep_is_resolved_alike_cold_and_warm_in_both_orders(tmp_path, monkeypatch):
    cold = {}
    for i, path in enumerate(SWEEPS):
        monkeypatch.setenv("W2S_CACHE", str(tmp_path / f"cold-{i}"))
        cold[path] = resolved(path)
    assert sum(not isinstance(found, str) for found in cold.values()) > 10
    for name, order in (("forward", SWEEPS), ("backward", SWEEPS[::-1])):
        monkeypatch.setenv("W2S_CACHE", str(tmp_path / name))
        for temperature in ("filling", "warm"):
            for path in order:
                assert resolved(path) == cold[path], f"{path.name}, {name}, {temperature}"


def boolq(folder: Path, name: str) -> None:
    rows = [{"question": f"q {i}", "passage": f"p {i}", "answer": i % 2 == 0} for i in range(60)]
    folder.mkdir()
    (folder / name).write_text("".join(json.dumps(row) + "\n" for row in rows))


@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
@pytest.mark.parametrize("name", ["some.jsonl", "train.jsonl"])
def test_a_folder_and_its_only_file_are_cached_separately(tmp_path, task, monkeypatch, order, name):
    boolq(tmp_path / "d", name)
    tasks = [task(name="boolq", path=str(path)) for path in (tmp_path / "d", tmp_path / "d" / name)]
    cold = []
    for i, each in enumerate(tasks):
        monkeypatch.setenv("W2S_CACHE", str(tmp_path / f"cold-{i}"))
        cold.append(outcome(lambda each=each: split_ref(each)))
    monkeypatch.setenv("W2S_CACHE", str(tmp_path / "warm"))
    for i in (*order, *order):
        assert outcome(lambda i=i: split_ref(tasks[i])) == cold[i]
    assert isinstance(cold[0], str) is (name != "train.jsonl")


def test_columns_and_names_of_one_file_are_cached_separately(tmp_path, task):
    boolq(tmp_path / "d", "train.jsonl")
    path = str(tmp_path / "d" / "train.jsonl")
    columns = (
        None,
        Columns(text="question", label="answer"),
        Columns(text="passage", label="answer"),
        Columns(text="question", answer="passage"),
        Columns(text="question", label="answer", positive=False),
        Columns(first="question", second="passage", label="answer"),
        Columns(chosen="question", rejected="passage"),
    )
    tasks = [task(name="boolq", path=path, columns=each) for each in columns]
    first = [split_ref(each) for each in tasks]
    assert len({found.fingerprint for found in first}) == len(columns)
    assert [split_ref(each) for each in reversed(tasks)] == first[::-1]
