from __future__ import annotations

import os
import stat
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from w2s_ray.config import Sweep
from w2s_ray.data import Example, Rows, hub, inputs, load_split, resolve, split_ref
from w2s_ray.data.cache import _temporary_folder, cache_folder, read_note, write_note

COMMIT = "0123456789abcdef0123456789abcdef01234567"


@pytest.fixture
def table(tmp_path, task):
    file = tmp_path / "mine.csv"
    file.write_text("t,l\n" + "".join(f"text {i},{i % 2}\n" for i in range(60)))
    return task(name="mine", path=str(file), columns={"text": "t", "label": "l"})


def no_reading(*args, **named):
    raise AssertionError("the data was read")


def test_a_second_plan_reads_no_data(table, monkeypatch):
    first = split_ref(table)
    assert not first.provisional
    assert first.counts == {"supervisor_half": 4, "student_half": 4, "validation": 2, "test": 2}
    assert list(first.counts) == ["supervisor_half", "student_half", "validation", "test"]
    monkeypatch.setattr(inputs, "read_rows", no_reading)
    assert split_ref(table) == first


@pytest.mark.parametrize("change", ["file", "declaration", "format"])
def test_any_change_is_read_again(table, monkeypatch, change):
    split_ref(table)
    if change == "file":
        with open(table.path, "a") as file:
            file.write("one more,1\n")
    if change == "declaration":
        table = table.model_copy(update={"split_seed": 3})
    if change == "format":
        monkeypatch.setattr(inputs, "FORMAT_VERSION", 99)
    monkeypatch.setattr(inputs, "read_rows", no_reading)
    with pytest.raises(AssertionError, match="was read"):
        split_ref(table)


@pytest.mark.parametrize("broken", ["", "{", "[]", '{"fingerprint": 3}', "\xff"])
def test_a_broken_note_is_ignored(table, broken):
    first = split_ref(table)
    notes = list((cache_folder() / "splits").iterdir())
    assert len(notes) == 1
    notes[0].write_bytes(broken.encode("latin-1"))
    assert split_ref(table) == first


@pytest.mark.parametrize(
    ("variable", "value"),
    [("HOME", "/proc/none"), ("HOME", "/dev/null/home"), ("W2S_CACHE", "/proc/none/cache")],
)
def test_a_cache_that_cannot_be_written_lies_in_a_private_temporary_folder(
    tmp_path, monkeypatch, table, variable, value
):
    monkeypatch.delenv("W2S_CACHE", raising=False)
    monkeypatch.setenv(variable, value)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    _temporary_folder.cache_clear()
    assert not split_ref(table).provisional
    write_note("x", key=1, note={})
    assert read_note("x", key=1) == {}
    assert cache_folder() == tmp_path / f"w2s-cache-{os.getuid()}"
    assert stat.S_IMODE(cache_folder().stat().st_mode) == 0o700
    _temporary_folder.cache_clear()


def test_a_temporary_cache_that_others_can_write_is_not_used(tmp_path, monkeypatch):
    monkeypatch.setenv("W2S_CACHE", "/proc/none/cache")
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    (tmp_path / f"w2s-cache-{os.getuid()}").mkdir()
    (tmp_path / f"w2s-cache-{os.getuid()}").chmod(0o777)
    _temporary_folder.cache_clear()
    assert cache_folder().name != f"w2s-cache-{os.getuid()}"
    assert stat.S_IMODE(cache_folder().stat().st_mode) == 0o700
    _temporary_folder.cache_clear()


def test_the_rows_are_those_that_were_planned(table):
    planned = split_ref(table)
    split = load_split(table, expected=planned.fingerprint)
    assert split.counts == planned.counts
    Path(table.path).write_text(Path(table.path).read_text().replace("text 1", "another 1"))
    with pytest.raises(ValueError, match="data changed since it was planned"):
        load_split(table, expected=planned.fingerprint)


def test_an_unresolved_hub_task_is_provisional(task):
    ref = split_ref(task(name="sciq"))
    assert ref.provisional
    assert ref.fingerprint.startswith("unresolved-")
    assert "HF_HUB_OFFLINE is set" in ref.note
    assert "`path`" in ref.note
    assert ref == split_ref(task(name="sciq"))
    assert ref.fingerprint != split_ref(task(name="sciq", train=10)).fingerprint


def test_a_hub_task_is_keyed_by_its_commit(task, monkeypatch, cache):
    read = []
    rows = Rows(tuple(Example(str(i), str(i), i % 2, str(i)) for i in range(40)))

    def read_rows(task, *, commit, offline):
        read.append(commit)
        return rows

    monkeypatch.setattr(inputs, "read_rows", read_rows)
    refs = cache / "hub" / "datasets--allenai--sciq" / "refs"
    refs.mkdir(parents=True)
    for commit in (COMMIT, COMMIT, "f" * 40):
        (refs.parent / "snapshots" / commit).mkdir(parents=True, exist_ok=True)
        (refs / "main").write_text(commit)
        assert not split_ref(task(name="sciq")).provisional
    assert read == [COMMIT, "f" * 40]


def test_the_generated_task_takes_no_path(task):
    with pytest.raises(ValueError, match="generated and reads no file; remove `path`"):
        split_ref(task(name="embedded", path="x.csv"))


def sweep(tmp_path, **changed):
    (tmp_path / "mine.csv").write_text("t,l\n" + "".join(f"text {i},{i % 2}\n" for i in range(60)))
    return Sweep.model_validate(
        {
            "name": "s",
            "models": ["org/small", {"name": "org/large", "revision": COMMIT}],
            "methods": {"naive": {}},
            "task": {
                "name": "mine",
                "path": str(tmp_path / "mine.csv"),
                "train": 8,
                "validation": 2,
                "test": 2,
                "columns": {"text": "t", "label": "l"},
            },
            **changed,
        }
    )


def test_a_sweep_is_resolved(tmp_path):
    found = resolve(sweep(tmp_path))
    assert list(found.splits) == ["mine"]
    assert found.models["large"].identity == f"hub:org/large@{COMMIT}"
    assert found.models["small"].identity == "hub:org/small@unresolved:main"
    assert list(found.unresolved.values()) == [("model small",)]


def test_there_is_one_failed_request_only(tmp_path, monkeypatch, lookups):
    hub_library = pytest.importorskip("huggingface_hub")
    monkeypatch.delenv("HF_HUB_OFFLINE")
    requests = []

    def look_up(self, name, **named):
        requests.append((name, named["timeout"]))
        raise ConnectionError("no route to host")

    monkeypatch.setattr(hub_library.HfApi, "model_info", look_up)
    monkeypatch.setattr(hub_library.HfApi, "dataset_info", look_up)
    found = resolve(sweep(tmp_path, models=["org/a", "org/b", "org/c"]))
    assert requests == [("org/a", hub.TIMEOUTS_S)]
    assert list(found.unresolved.values()) == [("model a", "model b", "model c")]
    assert lookups.failure == "the Hugging Face hub can't be reached (ConnectionError)"


def test_offline_makes_no_request(tmp_path, monkeypatch):
    monkeypatch.delenv("HF_HUB_OFFLINE")
    monkeypatch.setattr(hub.Lookups, "_request", no_reading)
    assert list(resolve(sweep(tmp_path), online=False).unresolved.values()) == [("model small",)]


def test_light_to_import():
    """Planning local data starts without the heavy libraries."""
    script = (
        "import sys, w2s_ray.data as d, w2s_ray.data.hub\n"
        "heavy = ['torch', 'ray', 'transformers', 'pandas', 'numpy', 'pyarrow', 'datasets',"
        " 'huggingface_hub']\n"
        "print([m for m in heavy if m in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", script],
        capture_output=True,
        text=True,
        check=True,
        cwd=Path(__file__).resolve().parents[2],
    )
    assert done.stdout.strip() == "[]"
