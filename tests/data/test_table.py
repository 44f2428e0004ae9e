from __future__ import annotations

import gzip
import json
from decimal import Decimal

import pyarrow as pa
import pyarrow.parquet
import pytest

from w2s_ray.config import Columns
from w2s_ray.data.files import Member
from w2s_ray.data.generic import label_classes, table_rows
from w2s_ray.data.own_table import path_table
from w2s_ray.data.sources import read_rows
from w2s_ray.data.table import raw_rows

COLUMNS = Columns(text="t", label="l")
ROWS = [{"t": "one, two", "l": "no"}, {"t": 'a "b"\nc', "l": "yes"}]


def write(path, name, content):
    file = path / name
    data = content if isinstance(content, bytes) else content.encode()
    file.write_bytes(gzip.compress(data) if name.endswith(".gz") else data)
    return Member(name, file)


def examples(path, columns):
    table = path_table(str(path), columns=columns, where="task x")
    return table_rows(table, columns=columns)


CSV = 't,l\n"one, two",no\n"a ""b""\nc",yes\n'
LINES = "\n".join(json.dumps(row) for row in ROWS) + "\n"


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("x.csv", CSV),
        ("x.csv.gz", CSV),
        ("x.csv", "\ufeff" + CSV.replace("no\n", "no\r\n")),
        ("x.tsv", CSV.replace(",", "\t").replace("one\t two", "one, two")),
        ("x.jsonl", LINES),
        ("x.json", LINES + "\n"),
        ("x.jsonl.gz", LINES),
        ("x.json", json.dumps(ROWS)),
        ("x.json", json.dumps(ROWS, indent=1)),
    ],
)
def test_text_formats_give_the_same_rows(tmp_path, name, content):
    assert list(raw_rows(write(tmp_path, name, content))) == ROWS


@pytest.mark.parametrize("kind", [pa.float32(), pa.float64(), pa.decimal128(12, 1), pa.int8()])
@pytest.mark.parametrize("columns", [COLUMNS, Columns(text="t", label="l", positive=1)])
def test_integral_numbers_of_any_type_are_the_same_labels(tmp_path, kind, columns):
    labels = pa.array([0, 1, 1, 0], pa.int32()).cast(kind)
    pyarrow.parquet.write_table(pa.table({"t": list("abcd"), "l": labels}), tmp_path / "x.parquet")
    made = examples(tmp_path / "x.parquet", columns)
    assert [row.label for row in made.pool] == [0, 1, 1, 0]


@pytest.mark.parametrize("kind", [pa.float64(), pa.float32()])
def test_a_named_task_takes_integral_floats_of_parquet(tmp_path, task, kind):
    labels = pa.array([0, 1, 1, 0], pa.int32()).cast(kind)
    table = pa.table({"sentence": list("abcd"), "label": labels})
    pyarrow.parquet.write_table(table, tmp_path / "train.parquet")
    made = read_rows(task(name="sst2", path=str(tmp_path / "train.parquet")))
    assert [row.label for row in made.pool] == [0, 1, 1, 0]


def test_bytes_are_the_text_that_they_encode(tmp_path):
    texts = [f"caf\u00e9 {i}" for i in range(4)]
    for name, values in (("text", texts), ("bytes", [text.encode() for text in texts])):
        table = pa.table({"t": values, "l": [0, 1, 0, 1]})
        pyarrow.parquet.write_table(table, tmp_path / f"{name}.parquet")
    read = [examples(tmp_path / f"{name}.parquet", COLUMNS).pool for name in ("text", "bytes")]
    assert read[0] == read[1]
    assert [row.text for row in read[1]] == texts


@pytest.mark.parametrize("nothing", ["null", "NaN"])
def test_a_missing_value_in_a_named_tasks_row_is_an_empty_text(tmp_path, task, nothing):
    lines = [f'{{"sentence": "s {i}", "label": {i % 2}}}' for i in range(4)]
    lines.append(f'{{"sentence": {nothing}, "label": 1}}')
    (tmp_path / "train.jsonl").write_text("\n".join(lines))
    made = read_rows(task(name="sst2", path=str(tmp_path / "train.jsonl")))
    assert [row.text for row in made.pool] == ["s 0", "s 1", "s 2", "s 3"]


def test_empty_columns_without_a_name_may_repeat(tmp_path):
    made = examples(write(tmp_path, "x.csv", "t,l,,\na,0,,\nb,1,,\n").path, COLUMNS)
    assert [row.text for row in made.pool] == ["a", "b"]


def test_parquet(tmp_path):
    pyarrow.parquet.write_table(pa.Table.from_pylist(ROWS), tmp_path / "x.parquet")
    assert list(raw_rows(Member("x.parquet", tmp_path / "x.parquet"))) == ROWS


def test_a_table_becomes_examples(tmp_path):
    made = examples(write(tmp_path, "x.csv", CSV).path, COLUMNS)
    assert [(e.id, e.text, e.label, e.group) for e in made.pool] == [
        ("row:0", "one, two", 0, "one, two"),
        ("row:1", 'a "b"\nc', 1, 'a "b"\nc'),
    ]
    assert made.test is None


def test_groups_come_from_their_column(tmp_path):
    member = write(tmp_path, "x.csv", "t,l,g\na,0,7\nb,1,7\n")
    made = examples(member.path, Columns(text="t", label="l", group="g"))
    assert [e.group for e in made.pool] == ["7", "7"]


@pytest.mark.parametrize(
    ("values", "positive", "classes"),
    [
        ([0, 1], None, {"0": 0, "1": 1}),
        ([1.0, 0.0], None, {"0": 0, "1": 1}),
        ([True, False], None, {"false": 0, "true": 1}),
        (["True", "FALSE"], None, {"FALSE": 0, "True": 1}),
        (["True", "False"], True, {"False": 0, "True": 1}),
        (["spam", "ham"], None, {"ham": 0, "spam": 1}),
        (["spam", "ham"], "ham", {"ham": 1, "spam": 0}),
        ([2, 10], None, {"2": 0, "10": 1}),
        (["1", "-1"], -1, {"-1": 1, "1": 0}),
        (["1", "-1"], None, {"-1": 0, "1": 1}),
        (["0", "-1"], 0, {"-1": 0, "0": 1}),
        (["1.0", "0.0"], 1, {"0": 0, "1": 1}),
        ([1.0, 0.0], "1", {"0": 0, "1": 1}),
        ([Decimal("1.00"), Decimal("0.00")], 1.0, {"0": 0, "1": 1}),
        (["1.0", 0], None, {"0": 0, "1": 1}),
        (["1.5", "2.5"], "2.5", {"1.5": 0, "2.5": 1}),
        (["nan", "one"], "nan", {"nan": 1, "one": 0}),
    ],
)
def test_labels_to_classes(values, positive, classes):
    assert label_classes(values, positive=positive, where="x") == classes


@pytest.mark.parametrize(
    ("name", "content", "columns", "message"),
    [
        ("x.csv", "a,l\n1,2\n", COLUMNS, r"x\.csv: no column 't'; choose one of its columns: a, l"),
        ("x.csv", "t,l\na,0\nb,1\nc,2\n", COLUMNS, r"'l' has 3 distinct label.* \('0', '1', '2'\)"),
        ("x.csv", "t,l\na,0\nb,0\n", COLUMNS, "has 1 distinct label"),
        ("x.csv", "t,l\n" + "".join(f"a,{i}\n" for i in range(99)), COLUMNS, r"99 .*'7', \.\.\.\)"),
        (
            "x.csv",
            "t,l\na,0\nb,1\n",
            Columns(text="t", label="l", positive="yes"),
            "doesn't have the label 'yes' of `columns.positive`; choose one of its labels: '0'",
        ),
        ("x.csv", "t,l\na,0\n,1\n", COLUMNS, "row 2 has no value in column 't'"),
        ("x.csv", "t,l\na,0\nb,c,1\n", COLUMNS, r"row 2 has 3 fields instead of 2"),
        ("x.csv", 't,l\n"a" b,0\n', COLUMNS, "quote fields"),
        ("x.csv", "t,l\n", COLUMNS, "no rows"),
        ("x.csv", b"t,l\n\xff\xfe,0\n", COLUMNS, "not UTF-8"),
        ("x.jsonl", '{"t": 1', COLUMNS, "line 1 is not JSON"),
        ("x.jsonl", "3\n", COLUMNS, "row 1 is a int"),
        ("x.xlsx", "", COLUMNS, r"can't read \.xlsx; use \.csv"),
    ],
)
def test_an_invalid_file_gives_a_remedy(tmp_path, name, content, columns, message):
    with pytest.raises(ValueError, match=message):
        examples(write(tmp_path, name, content).path, columns)
