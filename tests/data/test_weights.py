"""A column of weights: which rows have them, what the fingerprint covers, and what is refused."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from w2s_ray.config import Columns, Task
from w2s_ray.data import load_split, make_split
from w2s_ray.data.images import category_rows
from w2s_ray.data.own_table import task_table
from w2s_ray.data.split import are_rows_of
from w2s_ray.fits.labels import SplitRows
from w2s_ray.store.tables import SPLIT_ROWS

COLUMNS = {"text": "t", "label": "l"}
SIZES = {"train": 40, "validation": 10, "test": 10}


def frame(**columns) -> pd.DataFrame:
    rows = range(80)
    given = {"t": [f"text number {i}" for i in rows], "l": [i % 2 for i in rows]}
    return pd.DataFrame({**given, "w": [i / 10 for i in rows], **columns})


def task(data: pd.DataFrame | None = None, columns: dict | None = None, **more) -> Task:
    columns = {**COLUMNS, "weight": "w"} if columns is None else columns
    return Task.of(frame() if data is None else data, name="t", columns=columns, **SIZES, **more)


@pytest.fixture(autouse=True)
def _own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("W2S_CACHE", str(tmp_path / "cache"))


def table_of(split) -> pa.Table:
    rows = [
        {**row._asdict(), "example_id": row.id, "part": part}
        for part, its in split.parts.items()
        for row in its
    ]
    return pa.Table.from_pylist(rows, schema=SPLIT_ROWS)


def test_training_rows_alone_have_weights():
    split = load_split(task())
    rows = SplitRows.of(table_of(split))
    assert rows.weights.keys() == {"supervisor_half", "student_half"}
    for part, weights_N in rows.weights.items():
        numbers = [int(text.rsplit(" ", 1)[1]) for text in rows.texts[part]]
        assert weights_N.tolist() == pytest.approx(np.array(numbers) / 10)
    assert {row.weight for part in ("validation", "test") for row in split.parts[part]} == {None}


def test_a_fingerprint_covers_the_weights_of_training_rows_and_is_checked():
    plain, weighted = load_split(task(columns=COLUMNS)), load_split(task())
    assert plain.fingerprint != weighted.fingerprint
    table = table_of(weighted)
    assert are_rows_of(table, expected=weighted.fingerprint)
    without = table.drop_columns("weight")
    assert are_rows_of(without, expected=plain.fingerprint)
    assert not are_rows_of(without, expected=weighted.fingerprint)
    test = [int(row.id.partition(":")[2]) for row in weighted.parts["test"]]
    others = frame()["w"].where(~pd.Series(range(80)).isin(test), 7.0)
    assert load_split(task(frame(w=others))).fingerprint == weighted.fingerprint
    assert load_split(task(frame(w=frame()["w"] + 1))).fingerprint != weighted.fingerprint


@pytest.mark.parametrize(
    ("columns", "rows"),
    [
        ({"first": "t", "second": "o", "label": "l"}, {"o": [f"other {i}" for i in range(80)]}),
        ({"text": "t", "choices": ["o", "p"], "answer": "o"}, {"o": ["x"] * 80, "p": ["y"] * 80}),
    ],
    ids=["pairs", "choices"],
)
def test_pairs_and_choices_have_weights(columns, rows):
    split = load_split(task(frame(**rows), {**columns, "weight": "w"}))
    numbers = {row.id: float(row.id.partition(":")[2]) / 10 for row in split.parts["student_half"]}
    assert {row.id: row.weight for row in split.parts["student_half"]} == pytest.approx(numbers)


def test_features_have_weights():
    declared = task(columns={"category": "l", "weight": "w"})
    assert declared.columns is not None
    split = make_split(category_rows(task_table(declared), columns=declared.columns), task=declared)
    assert all(row.weight is not None for row in split.parts["student_half"])


def test_a_test_file_needs_no_weights():
    parts = {"train": frame().iloc[:60], "test": frame().iloc[60:].drop(columns="w")}
    declared = Task.of(parts, name="t", columns={**COLUMNS, "weight": "w"}, train=40, validation=10)
    assert len(load_split(declared).parts["test"]) == 20


@pytest.mark.parametrize(
    ("weight", "line"),
    [
        (-0.5, r"row 4: column 'w' has -0.5, and a weight is at least 0"),
        (float("inf"), r"row 4: column 'w' has .*, which is not a finite number"),
        (None, r"row 4 has no value in column 'w'"),
    ],
)
def test_other_values_are_refused_by_row(weight, line):
    weights = [1.0] * 80
    weights[3] = weight
    with pytest.raises(ValueError, match=line):
        load_split(task(frame(w=weights)))


@pytest.mark.parametrize("columns", [{"text": "t"}, {"text": "t", "answer": "l"}])
def test_rows_without_classes_have_none(columns):
    with pytest.raises(ValueError, match="weight is for rows with classes or choices, and these"):
        Columns(**columns, weight="w")


def test_a_part_names_no_weights():
    test = {"path": "x.csv", "columns": {**COLUMNS, "weight": "w"}}
    with pytest.raises(ValueError, match="names weight, but evaluation is not weighted; remove it"):
        Task(name="t", path="y.csv", columns=Columns(**COLUMNS), train=4, validation=2, test=test)
