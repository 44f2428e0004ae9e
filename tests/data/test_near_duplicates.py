"""Texts that differ in case, spaces or Unicode form alone are one row, or rows of one part."""

from __future__ import annotations

import csv
from collections import defaultdict

import pytest

from w2s_ray.config import Columns
from w2s_ray.data import load_split, split_ref
from w2s_ray.data.cells import folded

VARIANTS = (str, str.upper, lambda t: f"{t} ", lambda t: "  ".join(t.split()), str.title)
FORMS = ({"label": "l"}, {"answer": "l"}, {"label": "l", "group": "g"})
SIZES = {"train": 40, "validation": 10, "test": 20}


def written(folder, header, rows):
    path = folder / "d.csv"
    with path.open("w", newline="") as file:
        csv.writer(file).writerows([header, *rows])
    return str(path)


def split_of(task, folder, header, rows, **columns):
    path = written(folder, header, rows)
    return load_split(task(name="mine", path=path, columns=Columns(**columns), **SIZES))


def parts_of(split, of=lambda row: [row.text]):
    found = defaultdict(set)
    for part, rows in split.parts.items():
        for row in rows:
            for text in of(row):
                found[folded(text)].add(part)
    return found


@pytest.mark.parametrize("columns", [*FORMS, {}])
def test_near_duplicates_with_equal_labels_are_dropped_and_counted(tmp_path, task, columns):
    rows = [
        (variant(f"text number {i}"), i % 2, f"{i}.{v}")
        for i in range(100)
        for v, variant in enumerate(VARIANTS)
    ]
    split = split_of(task, tmp_path, "tlg", rows, text="t", **columns)
    assert split.dropped["near_duplicate"] == 400
    assert split.dropped["duplicate"] == 0
    texts = [folded(row.text) for rows in split.parts.values() for row in rows]
    assert len(set(texts)) == len(texts)


@pytest.mark.parametrize("columns", FORMS)
def test_near_duplicates_with_different_labels_stay_in_one_part(tmp_path, task, columns):
    """Case may be what the label is about."""
    rows = [
        (variant(f"text number {i}"), label, f"{i}.{label}")
        for i in range(60)
        for label, variant in enumerate((str, str.upper))
    ]
    split = split_of(task, tmp_path, "tlg", rows, text="t", **columns)
    assert split.dropped["near_duplicate"] == 0
    found = parts_of(split)
    assert all(len(parts) == 1 for parts in found.values())
    assert sum(split.counts.values()) > len(found), "both rows of some texts are used"


@pytest.mark.parametrize("group", [False, True])
def test_near_duplicate_pairs_in_either_order_count_as_one(tmp_path, task, group):
    rows = []
    for i in range(150):
        a, b = f"first {i}", f"second {i}"
        rows += [(a, b, i % 2, 2 * i), (b.upper(), a.title(), 1 - i % 2, 2 * i + 1)]
        rows += [] if group else [(f"  {a} ", f"third {i}", i % 2, "")]
    more = {"group": "g"} if group else {}
    split = split_of(task, tmp_path, "ablg", rows, first="a", second="b", label="l", **more)
    assert split.dropped["near_duplicate"] == 150
    found = parts_of(split, lambda row: [row.text, row.second])
    assert all(len(parts) == 1 for parts in found.values())


def test_a_pair_of_one_text_is_counted(tmp_path, task):
    rows = [(f"a {i}", f"b {i}", i % 2) for i in range(100)] + [("same", "same", 1)] * 3
    split = split_of(task, tmp_path, "abl", rows, first="a", second="b", label="l")
    assert split.dropped["same_text_twice"] == 3


def test_the_plan_shows_the_number_of_near_duplicates(tmp_path, task):
    rows = [(v(f"text number {i}"), i % 2) for i in range(100) for v in (str, str.upper)]
    own_task = task(
        name="mine", path=written(tmp_path, "tl", rows), columns=Columns(text="t", label="l")
    )
    assert "dropped 100 near duplicate" in split_ref(own_task).note


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("caf\u00e9", "cafe\u0301"),
        ("\uff21\uff22", "ab"),
        ("stra\u00dfe", "STRASSE"),
        ("a\u00a0b", "A  b"),
    ],
)
def test_forms_that_are_alike(one, other):
    assert folded(one) == folded(other)


@pytest.mark.parametrize(
    ("columns", "fingerprint"),
    [
        ({"text": "t", "label": "l"}, "4dda7f73613ecba1cb49"),
        ({"text": "t", "label": "l", "group": "g"}, "bb5af8cdfd3df6c55298"),
        ({"first": "t", "second": "s", "label": "l"}, "db08632bebb995567a48"),
        ({"text": "t", "answer": "s"}, "da54141c76dfef910786"),
        ({"text": "t"}, "5f60c367393c012e7c02"),
    ],
)
def test_splits_without_near_duplicates_keep_their_fingerprint(
    tmp_path, task, columns, fingerprint
):
    rows = [(f"text {i}", f"other {i % 90}", i % 2, i // 3) for i in range(200)]
    split = split_of(task, tmp_path, "tslg", rows, **columns)
    assert split.fingerprint == fingerprint
