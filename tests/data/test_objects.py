"""`Task.of`: Datasets, pandas frames and Arrow tables as tasks whose ids follow their content."""

from __future__ import annotations

from pathlib import Path

import datasets
import pandas as pd
import pyarrow as pa
import pytest

from w2s_ray import Sweep, Task, load_sweep, plan_sweep
from w2s_ray.config.load import read_sweep
from w2s_ray.data import load_split
from w2s_ray.errors import InputError

ROWS = [{"t": f"text {i}", "l": ("no", "yes")[i % 2], "more": i / 7} for i in range(60)]
SIZES = {"train": 16, "validation": 4}
COLUMNS = {"text": "t", "label": "l"}
QUICKSTART = Path(__file__).parents[2] / "sweeps" / "quickstart.yaml"


def shuffled(rows):
    made = datasets.Dataset.from_list(rows)
    return made.select(range(len(rows) - 1, -1, -1)).select(range(len(rows) - 1, -1, -1))


OBJECTS = {
    "pandas": pd.DataFrame,
    "pandas with an index": lambda rows: pd.DataFrame(rows).set_index(pd.Index([7] * len(rows))),
    "pandas categories": lambda rows: pd.DataFrame(rows).astype({"l": "category"}),
    "a Dataset": datasets.Dataset.from_list,
    "a Dataset with indices": shuffled,
    "Arrow": pa.Table.from_pylist,
    "a Dataset in numpy's format": lambda rows: datasets.Dataset.from_list(rows).with_format("np"),
}


def fingerprint(made, **changed):
    settings = {"name": "mine", "columns": COLUMNS, "test": 8, **SIZES, **changed}
    return load_split(Task.of(made, **settings)).fingerprint


@pytest.mark.parametrize("kind", OBJECTS)
def test_every_kind_of_object_gives_the_split_of_a_file(tmp_path, kind):
    pd.DataFrame(ROWS).to_csv(tmp_path / "d.csv", index=False)
    path = str(tmp_path / "d.csv")
    of_file = load_split(Task(name="mine", path=path, columns=COLUMNS, test=8, **SIZES))
    assert fingerprint(OBJECTS[kind](ROWS)) == of_file.fingerprint


def test_the_fingerprint_follows_the_content_and_not_the_cache(tmp_path, monkeypatch):
    before = Task.of(pd.DataFrame(ROWS), name="mine", columns=COLUMNS, test=8, **SIZES)
    assert (
        before.path == Task.of(pd.DataFrame(ROWS), name="b", columns=COLUMNS, test=8, **SIZES).path
    )
    monkeypatch.setenv("W2S_CACHE", str(tmp_path / "elsewhere"))
    after = Task.of(pd.DataFrame(ROWS), name="mine", columns=COLUMNS, test=8, **SIZES)
    assert Path(after.path or "").is_relative_to(tmp_path / "elsewhere")
    assert load_split(before).fingerprint == load_split(after).fingerprint
    changed = [{**row, "t": row["t"].upper()} for row in ROWS]
    assert fingerprint(pd.DataFrame(changed)) != load_split(before).fingerprint


def test_a_frame_may_have_several_classes():
    rows = [{"t": row["t"], "kind": "abc"[i % 3]} for i, row in enumerate(ROWS)]
    frame, columns = (
        pd.DataFrame(rows).astype({"kind": "category"}),
        {"text": "t", "category": "kind"},
    )
    split = load_split(Task.of(frame, name="mine", columns=columns, test=8, **SIZES))
    assert (split.form, split.classes) == ("categories", ("a", "b", "c"))


def test_the_splits_of_a_mapping_are_parts():
    parts = {"train": ROWS[:50], "test": ROWS[45:], "unsupervised": ROWS[:3]}
    made = datasets.DatasetDict({k: datasets.Dataset.from_list(v) for k, v in parts.items()})
    whole = load_split(Task.of(made, name="mine", columns=COLUMNS, **SIZES))
    assert whole.counts["test"] == 15
    assert whole.dropped["shared_with_test"] == 5
    frames = {name: pd.DataFrame(rows) for name, rows in parts.items()}
    some = load_split(Task.of(frames, name="mine", columns=COLUMNS, test=6, **SIZES))
    assert some.counts["test"] == 6


def test_a_sweep_with_such_a_task_is_planned(tmp_path):
    task = Task.of(pd.DataFrame(ROWS), name="mine", columns=COLUMNS, test=8, **SIZES)
    store = str(tmp_path / "results")
    made = Sweep.model_validate(
        {
            "name": "t",
            "tasks": [task],
            "models": ["embedded:xs", "embedded:s"],
            "methods": {"naive": {}},
            "store": store,
        }
    )
    plan = plan_sweep(made)
    assert plan.inputs.splits["mine"].counts["test"] == 8
    replaced = load_sweep(QUICKSTART, overrides=["tasks.mine.train=20"], tasks=[task])
    assert replaced.tasks == (task.model_copy(update={"train": 20}),)
    text = read_sweep(QUICKSTART, tasks=[task]).text
    assert "tasks=[mine]" in text.splitlines()[1]
    assert str(task.path) in text


@pytest.mark.parametrize(
    ("made", "changed", "message"),
    [
        ([1, 2], {}, "task mine: a list is not a table; give a Dataset, a pandas frame"),
        (pd.DataFrame(ROWS)["t"], {}, "is not a table|can't be written as a table"),
        (pd.DataFrame(ROWS[:0]), {}, "task mine: the object has no rows; give one with rows"),
        (pd.DataFrame({"t": ["a", 1], "l": [0, 1]}), {}, "can't be written as a table"),
        (pd.DataFrame([[1, 2]], columns=["t", "t"]), {}, "can't be written as a table"),
        ({"test": pd.DataFrame(ROWS)}, {}, r"no split 'train' \(it has test\); give"),
        ({}, {}, r"no split 'train' \(it has none\)"),
        (pd.DataFrame(ROWS), {"test": None}, "task mine: test: missing; add it"),
        (pd.DataFrame(ROWS), {"columns": {"txt": "t"}}, "task mine: columns.txt: unknown key"),
        (pd.DataFrame(ROWS), {"trian": 3}, "task mine: trian: unknown key"),
    ],
)
def test_what_is_not_a_table_is_refused(made, changed, message):
    settings = {"name": "mine", "columns": COLUMNS, "test": 8, **SIZES, **changed}
    with pytest.raises(InputError, match=message) as caught:
        Task.of(made, **settings)
    assert "\n" not in str(caught.value)
