"""A task's own files as one table: several files, no header line, labels by file, joins, pairs."""

from __future__ import annotations

import json
import zipfile
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from w2s_ray.config import Task
from w2s_ray.data import inputs, load_split, split_ref
from w2s_ray.data.files import MissingFile
from w2s_ray.data.row_formats import better_first
from w2s_ray.data.sources import read_rows
from w2s_ray.errors import InputError

NAMED = {"text": "text", "label": "label"}
ROWS = [{"text": f"text {i}", "label": i % 2} for i in range(40)]


def as_csv(rows: list[dict[str, Any]], *, header: bool = True) -> str:
    lines = [",".join(map(str, row.values())) for row in rows]
    return "\n".join([",".join(rows[0]), *lines] if header else lines) + "\n"


def written(kind: str, path: Any, rows: list[dict[str, Any]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    if kind == "parquet":
        pq.write_table(pa.Table.from_pylist(rows), path)
    else:
        text = as_csv(rows) if kind == "csv" else "".join(json.dumps(r) + "\n" for r in rows)
        path.write_text(text)


@pytest.fixture
def single(tmp_path, task):
    """The split of all rows in one file with a header line."""
    (tmp_path / "single").mkdir()
    (tmp_path / "single" / "one.csv").write_text(as_csv(ROWS))
    return load_split(task(path=str(tmp_path / "single" / "one.csv"), columns=NAMED))


@pytest.mark.parametrize("separator", [",", "\t"])
def test_columns_by_number_read_a_file_without_a_header_line(tmp_path, task, single, separator):
    file = tmp_path / ("x.csv" if separator == "," else "x.tsv")
    file.write_text("\n" + as_csv(ROWS, header=False).replace(",", separator))
    mine = task(path=str(file), columns={"text": 0, "label": 1})
    assert len(read_rows(mine).pool) == 40
    assert load_split(mine).fingerprint == single.fingerprint


def test_a_number_and_the_same_digits_in_quotes_are_read_differently(tmp_path, task):
    file = tmp_path / "x.csv"
    file.write_text("0,1\n" + as_csv(ROWS, header=False))
    by_name = task(path=str(file), columns={"text": "0", "label": "1"})
    assert not split_ref(by_name).provisional
    file.write_text("0,label\n" + as_csv(ROWS, header=False))
    with pytest.raises(ValueError, match="if the first line is a header, give names"):
        split_ref(task(path=str(file), columns={"text": 0, "label": 1}))


@pytest.mark.parametrize("kind", ["csv", "jsonl", "parquet"])
@pytest.mark.parametrize("path", ["data", "data/*/part-*", "data.zip"])
def test_files_of_one_kind_are_one_table_in_the_order_of_names(tmp_path, task, single, kind, path):
    for number in (3, 1, 0, 2):
        name = tmp_path / "data" / "a" / f"part-{number}.{kind}"
        written(kind, name, ROWS[10 * number : 10 * number + 10])
    (tmp_path / "data" / "_SUCCESS").touch()
    (tmp_path / "data" / ".hidden").touch()
    with zipfile.ZipFile(tmp_path / "data.zip", "w") as archive:
        for file in sorted((tmp_path / "data").rglob("*.*")):
            archive.write(file, file.relative_to(tmp_path))
    mine = task(path=str(tmp_path / path), columns=NAMED)
    assert [row.text for row in read_rows(mine).pool] == [row["text"] for row in ROWS]
    assert load_split(mine).fingerprint == single.fingerprint
    assert split_ref(mine).note.startswith("one pool of rows from 4 files")


def test_a_row_of_several_files_is_named_by_its_own_file(tmp_path, task):
    written("csv", tmp_path / "data" / "a.csv", ROWS[:20])
    written("csv", tmp_path / "data" / "b.csv", [*ROWS[20:], {"text": "", "label": 1}])
    with pytest.raises(ValueError, match=r"data/b\.csv: row 21 has no value in column 'text'"):
        read_rows(task(path=str(tmp_path / "data"), columns=NAMED))


def test_a_folder_of_text_files_has_a_row_for_each_with_its_folder(tmp_path, task):
    for i in range(40):
        file = tmp_path / "reviews" / ("neg", "pos")[i % 2] / f"{i}.txt"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(f"\ufefftext {i}\r\nmore \n")
    mine = task(path=str(tmp_path / "reviews"), columns={"text": "text", "label": "folder"})
    rows = read_rows(mine).pool
    assert sorted((row.text, row.label) for row in rows) == sorted(
        (f"text {i}\nmore", i % 2) for i in range(40)
    )
    by_label = task(
        columns={"text": "text"},
        files=[
            {"path": str(tmp_path / "reviews" / "neg"), "label": "bad"},
            {"path": str(tmp_path / "reviews" / "pos" / "*.txt"), "label": "good"},
        ],
    )
    assert load_split(by_label).fingerprint == load_split(mine).fingerprint


@pytest.mark.parametrize(
    ("labels", "columns"),
    [
        ((0, 1), {"text": "text"}),
        (("bad", "good"), {"text": "text"}),
        ((False, True), {"text": "text"}),
        (("x", "a"), {"text": "text", "positive": "a"}),
    ],
)
def test_files_with_a_label_each_are_one_task(tmp_path, task, labels, columns):
    for label in (0, 1):
        texts = [{"text": row["text"]} for row in ROWS if row["label"] == label]
        written("csv", tmp_path / f"{label}.csv", texts)
    files = [{"path": str(tmp_path / f"{i}.csv"), "label": labels[i]} for i in (0, 1)]
    rows = read_rows(task(files=files, columns=columns)).pool
    assert {(row.text, row.label) for row in rows} == {(r["text"], r["label"]) for r in ROWS}
    assert len({row.id for row in rows}) == 40


def test_a_folder_or_a_file_for_each_of_several_classes(tmp_path, task):
    for i in range(60):
        file = tmp_path / "news" / ("arts", "sport", "world")[i % 3] / f"{i}.txt"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(f"text {i}")
    mine = task(path=str(tmp_path / "news"), columns={"text": "text", "category": "folder"})
    rows = read_rows(mine)
    assert rows.form == "categories"
    assert {(row.text, row.label, row.answer) for row in rows.pool} == {
        (f"text {i}", 0, ("arts", "sport", "world")[i % 3]) for i in range(60)
    }
    files = [{"path": str(path), "label": path.name} for path in (tmp_path / "news").iterdir()]
    by_file = task(files=sorted(files, key=lambda f: f["label"]), columns={"text": "text"})
    assert load_split(by_file).fingerprint == load_split(mine).fingerprint
    assert Task.model_validate(by_file.model_dump()) == by_file


def test_the_classes_of_all_parts_are_named_and_lacking_ones_are_noted(tmp_path, task):
    rows = [{"text": f"text {i}", "kind": 10 if i % 2 else 9} for i in range(60)]
    rows.append({"text": "the only one", "kind": "rare"})
    written("csv", tmp_path / "d.csv", rows)
    columns = {"text": "text", "category": "kind"}
    mine = task(path=str(tmp_path / "d.csv"), columns=columns, train=40, validation=10, test=11)
    found = split_ref(mine)
    assert found.classes == ("9", "10", "rare")
    assert "3 classes (9, 10, rare)" in found.note
    assert found.note.count("has no row of rare") == 3
    assert split_ref(mine) == found  # from the cache


@pytest.mark.parametrize(
    ("kinds", "test", "message"),
    [
        (["a"], [], r"column 'kind' has 1 class\(es\), a task has at least two"),
        (["a", "b"], ["a", "c"], r"test.csv: row 2 has the class 'c', which no training row has"),
        (["a", ""], [], r"row 2 has no value in column 'kind'"),
        ([str(i) for i in range(10_001)], [], "10,001 classes, and at most 10,000 can be learned"),
    ],
)
def test_classes_that_can_not_be_learned_are_refused(tmp_path, task, kinds, test, message):
    def table(name, values):
        rows = [{"text": f"{name} {i}", "kind": kind} for i, kind in enumerate(values)]
        written("csv", tmp_path / f"{name}.csv", rows)
        return str(tmp_path / f"{name}.csv")

    parts = {"test": {"path": table("test", test)}} if test else {}
    columns = {"text": "text", "category": "kind"}
    with pytest.raises(InputError, match=message):
        read_rows(task(path=table("train", kinds), columns=columns, **parts))


def test_files_with_a_label_each_may_be_without_header_lines_and_hold_pairs(tmp_path, task):
    pairs = [{"a": f"one {i}", "b": f"other {i}"} for i in range(40)]
    (tmp_path / "first.csv").write_text(as_csv(pairs[:20], header=False))
    (tmp_path / "second.csv").write_text(as_csv(pairs[20:], header=False))
    files = [
        {"path": str(tmp_path / f"{name}.csv"), "label": label}
        for name, label in (("first", 1), ("second", 0))
    ]
    rows = read_rows(task(files=files, columns={"first": 0, "second": 1}))
    assert rows.form == "pairs"
    assert [row.label for row in rows.pool] == [1] * 20 + [0] * 20


def test_the_side_of_a_pair_whose_better_text_has_a_fixed_column_shows_nothing(tmp_path, task):
    pairs = [{"a": f"one {i}", "b": f"other {i}"} for i in range(400)]
    written("csv", tmp_path / "x.csv", pairs)
    rows = read_rows(task(path=str(tmp_path / "x.csv"), columns={"chosen": "a", "rejected": "b"}))
    better = [row.text if row.label else row.second for row in rows.pool]
    assert better == [pair["a"] for pair in pairs]
    assert 160 < sum(row.label for row in rows.pool) < 240
    assert all(
        better_first(p["a"], p["b"]) == r.label for p, r in zip(pairs, rows.pool, strict=True)
    )


@pytest.mark.parametrize("kinds", [("csv", "csv"), ("csv", "jsonl"), ("parquet", "csv")])
def test_two_tables_are_joined_by_an_id(tmp_path, task, single, kinds):
    texts = [{"id": i, "text": row["text"]} for i, row in enumerate(ROWS)]
    answers = [{"id": i, "label": row["label"], "note": "-"} for i, row in enumerate(ROWS)]
    texts.insert(7, {"id": 100, "text": "without a label"})
    answers += [{"id": 200, "label": 1, "note": "-"}, {"id": 201, "label": 1, "note": "-"}]
    written(kinds[0], tmp_path / f"texts.{kinds[0]}", texts)
    written(kinds[1], tmp_path / "more" / f"answers.{kinds[1]}", answers[::-1])
    mine = task(
        path=str(tmp_path / f"texts.{kinds[0]}"),
        join={"path": str(tmp_path / "more"), "on": "id"},
        columns=NAMED,
    )
    split = load_split(mine)
    assert split.fingerprint == single.fingerprint
    assert split.dropped["without_joined_row"] == 1
    assert split.dropped["only_in_joined_table"] == 2
    assert "dropped 1 without joined row, 2 only in joined table" in split_ref(mine).note


def test_a_label_of_a_joined_table_is_named_with_both_rows(tmp_path, task):
    written("csv", tmp_path / "texts.csv", [{"id": i, "text": f"t {i}"} for i in range(4)])
    answers = [{"id": i, "label": "" if i == 2 else i % 2} for i in (3, 2, 1, 0)]
    written("csv", tmp_path / "answers.csv", answers)
    mine = task(
        path=str(tmp_path / "texts.csv"),
        join={"path": str(tmp_path / "answers.csv"), "on": "id"},
        columns=NAMED,
    )
    with pytest.raises(ValueError, match=r"texts.csv: row 3 \(with .*answers.csv: row 2\) has no"):
        read_rows(mine)


@pytest.mark.parametrize("change", ["content", "new file", "joined", "label", "pattern"])
def test_every_file_and_label_is_in_the_identity(tmp_path, task, change, monkeypatch):
    for label in (0, 1):
        rows = [{"id": i, "text": r["text"]} for i, r in enumerate(ROWS) if r["label"] == label]
        written("csv", tmp_path / str(label) / "a.csv", rows)
    more = [{"id": i, "hard": 1} for i in range(40)]
    written("jsonl", tmp_path / "more.jsonl", more)
    declared = {
        "files": [{"path": str(tmp_path / str(i)), "label": i} for i in (0, 1)],
        "join": {"path": str(tmp_path / "more.jsonl"), "on": "id"},
        "columns": {"text": "text", "difficulty": "hard"},
    }
    first = split_ref(task(**declared))
    with monkeypatch.context() as patched:
        patched.setattr(inputs, "read_rows", None)
        assert split_ref(task(**declared)) == first
    match change:
        case "content":
            file = tmp_path / "1" / "a.csv"
            file.write_text(file.read_text().replace("text ", "changed "))
        case "new file":
            written("csv", tmp_path / "1" / "0.csv", [{"id": 40, "text": "new"}])
            written("jsonl", tmp_path / "more.jsonl", [*more, {"id": 40, "hard": 1}])
        case "joined":
            written("jsonl", tmp_path / "more.jsonl", [{"id": i, "hard": 2} for i in range(40)])
        case "label":
            declared["files"] = [
                {**entry, "label": 1 - entry["label"]} for entry in declared["files"]
            ]
        case "pattern":
            (tmp_path / "1" / "a.csv").rename(tmp_path / "1" / "b.csv")
            declared["files"][1]["path"] += "/[b]*.csv"
    changed = split_ref(task(**declared))
    assert (changed.fingerprint == first.fingerprint) is (change == "pattern")


@pytest.mark.parametrize("path", ["data/*.csv", "nothing"])
def test_files_that_are_not_on_this_machine_make_a_provisional_split(tmp_path, task, path):
    mine = task(path=str(tmp_path / path), columns=NAMED)
    with pytest.raises(MissingFile):
        read_rows(mine)
    assert split_ref(mine).provisional
    joined = task(path=mine.path, join={"path": "x", "on": "id"}, columns=NAMED)
    assert split_ref(joined).fingerprint != split_ref(mine).fingerprint


def test_a_folder_whose_name_looks_like_a_pattern_is_a_folder(tmp_path, task):
    written("csv", tmp_path / "data [2]" / "a.csv", ROWS)
    assert len(read_rows(task(path=str(tmp_path / "data [2]"), columns=NAMED)).pool) == 40


def book(paragraphs: int, name: str) -> str:
    return "\n\n".join(f"{name} {i} " + "word " * 200 for i in range(paragraphs))


@pytest.fixture
def books(tmp_path):
    """Eight text files with 10 to 17 passages each, 108 in all."""
    (tmp_path / "books").mkdir()
    for i in range(8):
        (tmp_path / "books" / f"{i}.txt").write_text(book(10 + i, f"book {i}"))
    return tmp_path / "books"


def parts_of(split):
    """Document -> the parts that have its passages."""
    return {
        group: {part for part, rows in split.parts.items() if any(r.group == group for r in rows)}
        for group in {row.group for rows in split.parts.values() for row in rows}
    }


def test_a_corpus_of_all_its_passages_has_whole_files_in_each_part_where_they_fit(books, task):
    corpus = task(name="texts", path=str(books), train="all", validation=11, test=10)
    split = load_split(corpus)
    assert split.counts == {
        "supervisor_half": 87,
        "student_half": 0,
        "validation": 11,
        "test": 10,
    }
    assert all(len(parts) == 1 for parts in parts_of(split).values())
    assert split_ref(corpus).note == "108 texts of 8 documents, each in one part"


def test_a_corpus_uses_every_passage_and_divides_its_longest_file_if_need_be(books, task):
    corpus = task(name="texts", path=str(books), train="all", validation=4, test=5)
    split = load_split(corpus)
    assert split.counts["supervisor_half"] == 108 - 9
    assert split_ref(corpus).note == "108 texts of 8 documents, 1 divided"
    divided = {document for document, parts in parts_of(split).items() if len(parts) > 1}
    assert divided == {"7.txt"}
    numbers = [
        sorted(int(r.text.split()[2]) for r in split.parts[p]) for p in ("test", "validation")
    ]
    assert numbers == [[12, 13, 14, 15, 16], [8, 9, 10, 11]]
    assert {row.group for row in split.parts["test"]} == {"7.txt"}


def test_plan_counts_passages_of_a_corpus_that_are_in_no_part(books, task):
    corpus = task(name="texts", path=str(books), train=20, validation=4, test=4)
    assert split_ref(corpus).note == (
        "108 texts of 8 documents, each in one part; 80 texts in no part"
    )


def test_a_corpus_may_be_one_file(tmp_path, task):
    (tmp_path / "book.txt").write_text(book(20, "book"))
    corpus = task(name="texts", path=str(tmp_path / "book.txt"), train="all")
    assert load_split(corpus).counts["supervisor_half"] == 16
    assert split_ref(corpus).note == "20 texts of 1 document, 1 divided"
    line = r"groups are not divided: 1 has several rows, .*, 20; lower .*, or write train: all"
    with pytest.raises(ValueError, match=line):
        load_split(corpus.model_copy(update={"train": 10}))


def test_a_corpus_of_ones_own_rows_may_be_taken_whole(tmp_path, task):
    (tmp_path / "lines.tsv").write_text("".join(f"line {i}, with a comma\n" for i in range(50)))
    corpus = task(path=str(tmp_path / "lines.tsv"), columns={"text": 0}, train="all")
    assert load_split(corpus).counts["supervisor_half"] == 46
