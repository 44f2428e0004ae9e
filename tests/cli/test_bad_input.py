"""Bad input is one line and exit code 2, before anything is trained and without torch or Ray."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support import sweep_text, w2s


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("models")
    sweep_text(path)
    return path


def refused(folder: Path, *changes: tuple[str, str]) -> str:
    """The one line that `w2s plan` prints for a changed sweep."""
    text = sweep_text(folder)
    for old, new in changes:
        assert old in text
        text = text.replace(old, new)
    sweep = folder / "changed.yaml"
    sweep.write_text(text)
    run = w2s("plan", sweep)
    assert run.returncode == 2, run.stdout + run.stderr
    assert run.stdout == ""
    lines = run.stderr.splitlines()
    assert len(lines) == 1, run.stderr
    return lines[0]


def test_misspelt_key(folder):
    assert "unknown key 'bach_size'; did you mean 'batch_size'?" in refused(
        folder, ("batch_size", "bach_size")
    )


def test_a_model_folder_that_is_not_there(folder):
    line = refused(folder, (f"{folder}/a,", f"{folder}/nowhere,"), ("[[a, b]", "[[nowhere, b]"))
    assert "nowhere" in line


def test_a_model_folder_without_weights(folder):
    (folder / "empty").mkdir(exist_ok=True)
    (folder / "empty" / "config.json").write_text((folder / "a" / "config.json").read_text())
    line = refused(folder, (f"{folder}/a,", f"{folder}/empty,"), ("[[a, b]", "[[empty, b]"))
    assert "safetensors" in line


def test_a_missing_column(folder):
    line = refused(folder, ("label: label", "label: klass"))
    assert "klass" in line
    assert "task.csv" in line


def test_labels_that_are_not_two_classes(folder):
    rows = "\n".join(f"text number {i},{i % 3}" for i in range(300))
    (folder / "three.csv").write_text("text,label\n" + rows + "\n")
    assert "2" in refused(folder, ("task.csv", "three.csv"))


def test_a_split_larger_than_the_data(folder):
    line = refused(folder, ("train: 128", "train: 12800"))
    assert "12,896" in line
    assert "lower" in line


def test_an_unknown_student(folder):
    assert "pairs: unknown model 'z'" in refused(folder, ("[[a, b]", "[[a, z]"))


def test_an_unknown_task(folder):
    line = refused(
        folder, ("columns: {text: text, label: label},", ""), ("name: words", "name: wrds")
    )
    assert "wrds" in line


def test_table_and_query_without_a_store_give_an_error(tmp_path):
    for command in (["table"], ["query", "select 1"], ["status"], ["explain", "ab"]):
        run = w2s(*command, "--store", tmp_path / "none")
        assert run.returncode == 2
        assert run.stderr.startswith("error: there are no results at")


def test_help_lists_every_command():
    shown = w2s("--help").stdout
    for command in ("plan", "run", "status", "table", "query", "explain"):
        assert command in shown
