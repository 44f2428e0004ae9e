"""Arrow files and saved data sets give the rows of the tables that they were made from."""

from __future__ import annotations

import json

import datasets
import pyarrow as pa
import pytest

from w2s_ray.config import Columns
from w2s_ray.data import load_split, split_ref
from w2s_ray.data.files import Member
from w2s_ray.data.table import raw_rows
from w2s_ray.errors import InputError

ROWS = [{"t": f"text {i}", "l": i % 2} for i in range(40)]
COLUMNS = Columns(text="t", label="l")


def arrow_file(path, *, kind, compression=None):
    table = pa.Table.from_pylist(ROWS)
    options = pa.ipc.IpcWriteOptions(compression=compression)
    new = pa.ipc.new_file if kind == "file" else pa.ipc.new_stream
    with new(str(path), table.schema, options=options) as writer:
        writer.write_table(table, max_chunksize=15)
    return path


@pytest.mark.parametrize("kind", ["stream", "file"])
@pytest.mark.parametrize("compression", [None, "lz4", "zstd"])
def test_both_formats_of_arrow_files(tmp_path, kind, compression):
    path = arrow_file(tmp_path / "d.arrow", kind=kind, compression=compression)
    assert list(raw_rows(Member("d.arrow", path))) == ROWS


def test_a_saved_dataset_is_a_task_in_its_own_order(tmp_path, task):
    made = datasets.Dataset.from_list(ROWS).shuffle(seed=1).select(range(30))
    made.save_to_disk(tmp_path / "saved", num_shards=3)
    read = list(raw_rows(Member("saved", tmp_path / "saved")))
    assert read == list(made)
    split = load_split(task(name="mine", path=str(tmp_path / "saved"), columns=COLUMNS))
    assert {row.text for rows in split.parts.values() for row in rows} <= {r["t"] for r in read}


def test_splits_of_a_saved_dataset_dict_are_parts(tmp_path, task):
    parts = {"train": ROWS[:30], "test": ROWS[25:], "other": ROWS[:2]}
    made = datasets.DatasetDict({k: datasets.Dataset.from_list(v) for k, v in parts.items()})
    made.save_to_disk(tmp_path / "saved")
    declared = task(
        name="mine",
        path=str(tmp_path / "saved"),
        split="train",
        columns=COLUMNS,
        test={"split": "test"},
    )
    split = load_split(declared)
    assert {row.text for row in split.parts["test"]} == {row["t"] for row in ROWS[25:]}
    assert split.dropped["shared_with_test"] == 5
    first = split_ref(declared)
    datasets.Dataset.from_list(ROWS[20:]).save_to_disk(tmp_path / "saved" / "test")
    assert split_ref(declared).fingerprint != first.fingerprint
    by_folder = {"path": str(tmp_path / "saved" / "train"), "columns": COLUMNS}
    folders = task(name="mine", **by_folder, test={"path": str(tmp_path / "saved" / "test")})
    assert split_ref(folders).fingerprint == split_ref(declared).fingerprint


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({}, "is a saved DatasetDict; name one of its splits: give one of train, test as `split`"),
        ({"split": "tset"}, "it has no split 'tset': give one of train, test as `split`"),
        ({"split": "train", "test": {"split": "train"}}, "test is the file of the training rows"),
        ({"split": "train", "columns": None}, "has a split but no columns; give `columns`"),
    ],
)
def test_a_split_that_is_not_there_is_refused(tmp_path, task, changed, message):
    whole = datasets.Dataset.from_list(ROWS)
    datasets.DatasetDict({"train": whole, "test": whole}).save_to_disk(tmp_path / "saved")
    with pytest.raises((InputError, ValueError), match=message):
        load_split(task(**{"path": str(tmp_path / "saved"), "columns": COLUMNS, **changed}))


@pytest.mark.parametrize(
    ("state", "message"),
    [
        ("{", "state.json: not as save_to_disk writes it; save the data set again"),
        ("[]", "not as save_to_disk writes it"),
        ('{"_data_files": [{"name": 1}]}', "not as save_to_disk writes it"),
        (
            '{"_data_files": [{"filename": "gone.arrow"}]}',
            "saved: its file gone.arrow is missing; save",
        ),
        ('{"_data_files": []}', "no rows; give a file with rows"),
        (
            json.dumps({"_data_files": [], "_indices_data_files": [{"filename": "i.arrow"}]}),
            "with its rows in another order; call flatten_indices and save it again",
        ),
    ],
)
def test_a_damaged_saved_dataset_is_refused(tmp_path, task, state, message):
    datasets.Dataset.from_list(ROWS).save_to_disk(tmp_path / "saved")
    (tmp_path / "saved" / "state.json").write_text(state)
    with pytest.raises(InputError, match=message):
        load_split(task(path=str(tmp_path / "saved"), columns=COLUMNS))
