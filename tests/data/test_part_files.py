"""A part with a file of its own: what the pool loses, what is kept, and what is counted."""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from w2s_ray.config import Columns, Model, parse_sweep
from w2s_ray.data import load_split, split_ref
from w2s_ray.data.cells import folded
from w2s_ray.data.images import images_of
from w2s_ray.data.inputs import resolve
from w2s_ray.errors import InputError
from w2s_ray.plan import make_plan

COLUMNS = {"text": "t", "label": "l"}


def written(path, rows, header: Sequence[str] = "tl"):
    with path.open("w", newline="") as file:
        csv.writer(file).writerows([header, *rows])
    return str(path)


def rows_of(start, count, word="text"):
    return [(f"{word} number {i} of a file", "ny"[i % 2]) for i in range(start, start + count)]


@pytest.fixture
def own(tmp_path, task):
    """A task with files of the given rows; a part may also be given as in a sweep file."""

    def make(test, *, validation=10, pool=None, header="tl", **changed):
        parts: dict[str, Any] = {"test": test, "validation": validation}
        for part, rows in parts.items():
            if isinstance(rows, list):
                parts[part] = {"path": written(tmp_path / f"{part}.csv", rows, header)}
        path = written(tmp_path / "train.csv", pool or rows_of(0, 100), header)
        settings = {"path": path, "columns": COLUMNS, "train": 40, **parts, **changed}
        return task(name="mine", **settings)

    return make


def texts(split, *parts):
    return {folded(row.text) for part in parts or split.parts for row in split.parts[part]}


def test_golden(own):
    split = load_split(own(rows_of(95, 20), validation=rows_of(200, 10)))
    assert split.fingerprint == "00c284ee20dd3b9d8beb"


def test_all_rows_of_the_files_are_used_and_leave_the_halves(own):
    test = [*rows_of(95, 20), ("one more", "y")]
    split = load_split(own(test, validation=rows_of(90, 7)))
    assert split.counts["test"] == 21
    assert texts(split, "test") == {folded(text) for text, _ in test}
    assert {row.id for row in split.parts["test"]} == {f"test_file:{i}" for i in range(21)}
    assert texts(split, "validation") == {folded(text) for text, _ in rows_of(90, 5)}
    assert split.dropped["shared_with_test"] == 5 + 2
    assert split.dropped["shared_with_validation"] == 5
    halves = texts(split, "supervisor_half", "student_half")
    assert not halves & texts(split, "test", "validation")
    assert sum(row.label for row in split.parts["test"]) == 11, "it is not balanced"


def test_near_duplicates_and_other_labels_of_test_rows_leave_the_halves(own):
    same = [
        ("  TEXT number 3  of a file", "y"),
        ("text number 4 OF A FILE", "y"),
        ("text number 5 of a file", "n"),
    ]
    settings = {"train": 94, "validation": 2, "balance": False}
    split = load_split(own([*rows_of(300, 4), *same], **settings))
    assert split.dropped["shared_with_test"] == 3
    assert split.dropped["contradictory"] == split.dropped["near_duplicate"] == 0
    assert split.counts["test"] == 7, "rows of the test file stay, whatever the training file has"
    assert not texts(split, "supervisor_half", "student_half", "validation") & texts(split, "test")


def test_groups_hold_across_files(own):
    pool = [(text, label, i // 4) for i, (text, label) in enumerate(rows_of(0, 100))]
    test = [(text, label, 7) for text, label in rows_of(300, 6)]
    task = own(test, pool=pool, header="tlg", columns={**COLUMNS, "group": "g"})
    split = load_split(task)
    assert split.dropped["shared_with_test"] == 4
    parts = {part: {row.group for row in rows} for part, rows in split.parts.items()}
    assert not parts["test"] & (parts["supervisor_half"] | parts["student_half"])


def test_pairs_that_share_a_text_with_a_test_pair_leave_the_halves(own):
    pool = [(f"answer {i}", f"answer {i + 1000}", i % 2) for i in range(100)]
    test = [("answer 5", "other", 1), ("ANSWER 1006", "another", 0), ("x", "y", 1), ("z", "w", 0)]
    columns = {"first": "t", "second": "l", "label": "g"}
    split = load_split(own(test, pool=pool, header="tlg", columns=columns))
    assert split.dropped["shared_with_test"] == 2


def test_a_count_of_a_file_is_balanced_and_its_other_rows_stay_out(own):
    test = [(text, "n") for text, _ in rows_of(80, 20)] + rows_of(400, 10)
    task = own(test)
    part = task.test.model_copy(update={"rows": 10})
    split = load_split(task.model_copy(update={"test": part}))
    assert [row.label for row in split.parts["test"]].count(1) == 5
    assert split.dropped["shared_with_test"] == 20, "whether a test row is used or not"


def test_near_copies_of_test_rows_are_left_out_where_they_are_to_be(own):
    words = "one two three four five six seven eight nine ten eleven"
    pool = [(f"{words} {i}", "ny"[i % 2]) for i in range(3)] + rows_of(0, 100)
    test = [(f"{words} 77", "y"), *rows_of(300, 3, word="another")]
    settings = {"pool": pool[:50], "balance": False, "train": 36}
    counted, left_out = (load_split(own(test, dedupe=d, **settings)) for d in (None, "near"))
    assert any((counted.near_copies or {}).values())
    assert set((left_out.near_copies or {}).values()) == {0}
    assert left_out.dropped["near_copy"] == 3


def test_a_validation_file_leaves_the_test_rows_to_the_pool(own):
    split = load_split(own(20, validation=rows_of(0, 30)))
    assert split.counts == {"supervisor_half": 20, "student_half": 20, "validation": 30, "test": 20}
    assert split.dropped["shared_with_validation"] == 30
    assert not split.own_test


def test_files_without_a_header_line(own, tmp_path):
    pool, test = rows_of(0, 100), rows_of(95, 20)
    named = load_split(own(test))
    task = own({"path": str(tmp_path / "test.csv")}, columns={"text": 0, "label": 1})
    written(tmp_path / "train.csv", pool[1:], pool[0])
    written(tmp_path / "test.csv", test[1:], test[0])
    assert load_split(task).fingerprint == named.fingerprint
    swapped = {"path": task.test.path, "columns": {"text": 1, "label": 0}}
    written(tmp_path / "test.csv", [row[::-1] for row in test[1:]], test[0][::-1])
    by_number = task.model_validate({**task.model_dump(), "test": swapped})
    assert load_split(by_number).fingerprint == named.fingerprint


def test_a_part_has_the_files_of_a_folder_in_the_order_of_their_names(own, tmp_path):
    single = split_ref(own(20, validation=rows_of(90, 20)))
    (tmp_path / "more").mkdir()
    for name, start in (("b", 97), ("a", 90)):
        written(tmp_path / "more" / f"{name}.csv", rows_of(start, 13 if name == "b" else 7))
    task = own(20, validation={"path": str(tmp_path / "more")})
    several = split_ref(task)
    assert several.fingerprint == single.fingerprint
    assert "10 shared with validation" in several.note
    written(tmp_path / "more" / "c.csv", rows_of(200, 3))
    assert split_ref(task).counts["validation"] == 23
    (tmp_path / "more" / "c.csv").write_text("t,l\nx,\n")
    with pytest.raises(InputError, match=r"more/c\.csv: row 1 has no value in column 'l'"):
        split_ref(task)


def test_labels_by_file_with_a_test_file(own, tmp_path):
    single = load_split(own(rows_of(95, 20)))
    texts = {label: [(t, "-") for t, its in rows_of(0, 100) if its == label] for label in "ny"}
    files = [
        {"path": written(tmp_path / f"{label}.csv", texts[label]), "label": label} for label in "ny"
    ]
    test = {"path": str(tmp_path / "test.csv"), "columns": COLUMNS}
    split = load_split(own(test, path=None, files=files, columns={"text": "t"}))
    assert split.dropped["shared_with_test"] == single.dropped["shared_with_test"] == 5
    mine, its = ({(r.text, r.label) for r in s.parts["test"]} for s in (split, single))
    assert mine == its
    note = split_ref(own(test, path=None, files=files, columns={"text": "t"})).note
    assert re.match(r"test rows from \S+test\.csv, other rows from 2 files; dropped 5 shared", note)


def test_a_corpus_of_all_passages_with_a_test_file(own, tmp_path):
    test = {"path": written(tmp_path / "test.csv", rows_of(90, 20)), "rows": 12}
    task = own(test, train="all", columns={"text": "t"})
    assert load_split(task).counts == {
        "supervisor_half": 80,
        "student_half": 0,
        "validation": 10,
        "test": 12,
    }
    note = "; 110 texts; 8 texts in no part; dropped 10 shared with test"
    assert split_ref(task).note == f"test rows from {tmp_path / 'test.csv'}{note}"


def test_the_plan_says_what_the_files_are_and_what_was_dropped(own):
    note = split_ref(own(rows_of(95, 20))).note
    assert note.startswith("test rows from ")
    assert "test.csv" in note
    assert "5 shared with test" in note


def test_another_row_in_the_file_is_another_split(own, tmp_path):
    task = own(rows_of(200, 10))
    first = split_ref(task)
    written(tmp_path / "test.csv", rows_of(200, 11))
    assert split_ref(task).fingerprint != first.fingerprint
    assert split_ref(task).counts["test"] == 11


def test_a_missing_file_gives_a_provisional_plan(own, tmp_path):
    task = own(rows_of(200, 10))
    (tmp_path / "test.csv").unlink()
    found = split_ref(task)
    assert found.provisional
    assert found.note.startswith("test: no such file or folder: ")
    assert found.note.endswith("; correct `path`")


def test_columns_of_another_name_and_labels_of_another_kind(own, tmp_path):
    path = written(tmp_path / "other.csv", [(f"held out {i}", i % 2) for i in range(8)], "ab")
    part = {"path": path, "columns": {"text": "a", "label": "b", "positive": 1}}
    split = load_split(own(part))
    assert {row.text: row.label for row in split.parts["test"]} == {
        f"held out {i}": i % 2 for i in range(8)
    }


def test_labels_keep_the_class_that_they_have_in_the_training_file(own):
    """A test file's own order of labels doesn't count, nor does one with a single class."""
    split = load_split(own([(f"held out {i}", "n") for i in range(4)]))
    assert {row.label for row in split.parts["test"]} == {0}
    flipped = own(rows_of(200, 10), columns={**COLUMNS, "positive": "n"})
    assert all(row.label == (row.id[-1] in "02468") for row in load_split(flipped).parts["test"])


def test_answers_and_corpora_can_have_files(own):
    answers = load_split(own(rows_of(90, 20), columns={"text": "t", "answer": "l"}))
    assert answers.counts["test"] == 20
    assert answers.dropped["shared_with_test"] == 10
    corpus = load_split(own(rows_of(90, 20), columns={"text": "t"}))
    assert corpus.counts == {
        "supervisor_half": 40,
        "student_half": 0,
        "validation": 10,
        "test": 20,
    }


def test_easy_to_hard_with_a_validation_file(own):
    header, columns = "tld", {**COLUMNS, "difficulty": "d"}
    pool = [(*row, i) for i, row in enumerate(rows_of(0, 100))]
    hard = {"train": [0, 59], "test": [60, None]}
    validation = [(*row, 5) for row in rows_of(55, 10)]
    split = load_split(
        own(
            20,
            validation=validation,
            pool=pool,
            header=header,
            columns=columns,
            difficulty=hard,
        )
    )
    assert split.dropped["shared_with_validation"] == 10
    assert min(row.difficulty or 0 for row in split.parts["test"]) >= 65
    assert max(row.difficulty or 0 for row in split.parts["student_half"]) <= 54


def test_images_of_a_test_file_are_found(tmp_path, task):
    pixels_NHW = np.random.default_rng(0).integers(0, 256, (60, 4, 4), dtype=np.uint8)
    labels = np.arange(60) % 3
    np.savez(tmp_path / "train.npz", image=pixels_NHW[:50], label=labels[:50])
    np.savez(tmp_path / "test.npz", image=pixels_NHW[45:], label=labels[45:])
    pictures = task(
        name="pictures",
        path=str(tmp_path / "train.npz"),
        test={"path": str(tmp_path / "test.npz")},
        columns=Columns(category="label", image="image"),
        train=20,
    )
    split = load_split(pictures)
    assert split.counts["test"] == 15
    assert split.dropped["shared_with_test"] == 5
    test = split.parts["test"]
    found = images_of(pictures, [r.id for r in test], contents=[r.text for r in test])
    for row, image in zip(test, found, strict=True):
        assert (image == pixels_NHW[45 + int(row.id.removeprefix("test_file:"))]).all()


def test_a_named_task_takes_files_in_its_own_format(tmp_path, task):
    def lines(name, numbers, written=str):
        rows = [
            {"question": f"is it {i}", "passage": written(f"It is {i}."), "answer": i % 2 == 0}
            for i in numbers
        ]
        (tmp_path / name).write_text("".join(json.dumps(row) + "\n" for row in rows))
        return str(tmp_path / name)

    boolq = task(
        name="boolq",
        path=lines("train.jsonl", range(60)),
        validation={"path": lines("mine.jsonl", range(100, 106))},
        test={"path": lines("held.jsonl", range(50, 70), str.upper)},
        train=20,
    )
    split = load_split(boolq)
    assert split.counts["test"] == 20
    assert split.counts["validation"] == 6
    assert split.dropped["shared_with_test"] == 10


def test_every_fit_of_a_plan_has_the_file_in_its_id(own, tmp_path):
    sweep = parse_sweep(
        "name: t\ntask: {name: embedded, train: 16, validation: 4, test: 4}\n"
        'models: ["embedded:xs", "embedded:s"]\nmethods: {naive: {}}\n'
    )

    def ids(test):
        task = own(test)
        planned = sweep.model_copy(update={"tasks": (task,), "models": sweep.models})
        return set(make_plan(planned, resolve(planned, online=False)).fits)

    assert isinstance(sweep.models[0], Model)
    assert not ids(rows_of(200, 10)) & ids(rows_of(200, 12))


@pytest.mark.parametrize(
    ("test", "message"),
    [
        ({"rows": 4}, "test has no path; give its file"),
        ({"split": "test"}, "no saved DatasetDict, and has no split 'test'; remove"),
        ({"path": "nowhere.csv"}, "test: no such file or folder"),
    ],
)
def test_a_part_without_a_file_is_refused(own, test, message):
    with pytest.raises((InputError, ValueError), match=message):
        load_split(own(test))
