"""Activations in a store: written once, checked when they are read, made anew where damaged."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest

from w2s_ray.store import Store

NAME = "a" * 40


def made(folder: Path, content: bytes) -> Path:
    path = folder / "made"
    path.write_bytes(content)
    return path


def content(store: Store, folder: Path) -> bytes | None:
    found = store.activations.fetch(NAME, folder / "copies")
    return None if found is None else found.path.read_bytes()


def stored(store: Store) -> dict[str, str]:
    """`about` and `array` -> the file's path in the store."""
    paths = store.files.find("catalog/activations")
    return {"about" if path.endswith("about.json") else "array": path for path in paths}


def test_what_was_added_is_fetched_and_the_first_file_stays(
    any_store: Store, tmp_path: Path
) -> None:
    assert content(any_store, tmp_path) is None
    any_store.activations.add(NAME, made(tmp_path, b"one"), {"part": "test", "width": 3})
    any_store.activations.add(NAME, made(tmp_path, b"two"), {"part": "test", "width": 3})
    assert content(any_store, tmp_path) == b"one"
    found = any_store.activations.fetch(NAME, tmp_path / "copies")
    assert found is not None
    assert (found.about["part"], found.about["width"]) == ("test", 3)


@pytest.mark.parametrize("which", ["about", "array"])
@pytest.mark.parametrize("damage", [b"", b"{", b"onf", None])
def test_a_damaged_file_is_missing_and_is_replaced(
    which: str, damage: bytes | None, any_store: Store, tmp_path: Path, caplog
) -> None:
    any_store.activations.add(NAME, made(tmp_path, b"one"), {})
    path = stored(any_store)[which]
    if damage is None:
        any_store.files.remove(path)
    else:
        any_store.files.write(path, damage)
    with caplog.at_level(logging.WARNING):
        assert content(any_store, tmp_path) is None
    silent = which == "about" and damage is None
    assert ("is damaged and is computed anew" in caplog.text) is not silent
    any_store.activations.add(NAME, made(tmp_path, b"other"), {})
    assert content(any_store, tmp_path) == b"other"


def test_a_changed_digit_of_the_note_is_damage(any_store: Store, tmp_path: Path) -> None:
    any_store.activations.add(NAME, made(tmp_path, b"one"), {"parameters": 1234})
    path = stored(any_store)["about"]
    any_store.files.write(path, any_store.files.read(path).replace(b"1234", b"1235"))
    assert content(any_store, tmp_path) is None


def test_a_local_copy_is_checked_too(any_store: Store, tmp_path: Path) -> None:
    any_store.activations.add(NAME, made(tmp_path, b"one"), {})
    found = any_store.activations.fetch(NAME, tmp_path / "copies")
    assert found is not None
    if not (tmp_path / "copies").exists():
        return  # read where it lies
    found.path.write_bytes(b"onf")
    assert content(any_store, tmp_path) == b"one"


def test_activations_may_be_deleted_any_time(any_store: Store, tmp_path: Path) -> None:
    any_store.activations.add(NAME, made(tmp_path, b"one"), {})
    any_store.files.remove_folder("catalog")
    assert content(any_store, tmp_path) is None
    any_store.activations.add(NAME, made(tmp_path, b"one"), {})
    assert content(any_store, tmp_path) == b"one"
