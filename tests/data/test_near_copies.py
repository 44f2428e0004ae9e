"""Near copies of rows: the measure, the count of test rows, and `dedupe: near`."""

from __future__ import annotations

import csv
import itertools
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from w2s_ray.config import Columns
from w2s_ray.data import load_split, split_ref
from w2s_ray.data.example import Example
from w2s_ray.data.near_copies import NearCopies, near_copies, word_pairs
from w2s_ray.errors import InputError

SIZES = {"train": 80, "validation": 10, "test": 40}
WORDS = [f"w{i}" for i in range(12)]


def row(text: str, second: str | None = None) -> Example:
    return Example(text, text, 0, text, second)


def is_near(one: Example, other: Example) -> bool:
    return near_copies([one], train=[other]) == [1]


def replaced(text: str, *places: int) -> str:
    return " ".join("other" if i in places else word for i, word in enumerate(text.split()))


def test_one_word_in_eleven_may_differ() -> None:
    ten, eleven = " ".join(WORDS[:10]), " ".join(WORDS[:11])
    assert is_near(row(eleven), row(replaced(eleven, 5)))
    assert not is_near(row(ten), row(replaced(ten, 5)))
    assert is_near(row(ten), row(f"“{ten.upper()}”!"))
    assert not is_near(row(ten), row(" ".join(reversed(WORDS[:10]))))


def test_pairs_are_compared_by_both_texts_in_any_order() -> None:
    one, other = " ".join(WORDS[:6]), " ".join(WORDS[6:])
    assert is_near(row(one, other), row(other, one))
    assert not is_near(row(one, other), row(one, "something else"))


def test_texts_without_words_are_compared_by_their_marks() -> None:
    assert is_near(row(":-)"), row(":-)"))
    assert not is_near(row(":-)"), row(":-("))


texts = st.lists(st.sampled_from("abcdef"), max_size=9).map(" ".join).map(row)


@given(st.lists(texts, max_size=12), texts)
def test_the_search_finds_what_comparing_all_rows_finds(rows: list[Example], wanted: Example):
    pairs = word_pairs(wanted)
    expected = [
        number
        for number, other in enumerate(map(word_pairs, rows))
        if len(pairs & other) / len(pairs | other) >= 0.7
    ]
    assert NearCopies(rows).of(wanted) == expected


def texts_with_copies(folder: Path, *, texts: int, copies: int) -> str:
    """Distinct texts; of the first `copies` there are three, which differ in a word."""
    rows = []
    for i in range(texts):
        text = " ".join(f"t{i}w{j}" for j in range(14))
        places = (None, 3, 9) if i < copies else (None,)
        rows += [(text if p is None else replaced(text, p), i % 2) for p in places]
    path = folder / "d.csv"
    with path.open("w", newline="") as file:
        csv.writer(file).writerows([("t", "l"), *rows])
    return str(path)


@pytest.fixture
def copied(tmp_path: Path, task):
    def make(*, texts: int = 200, copies: int = 60, **given):
        path = texts_with_copies(tmp_path, texts=texts, copies=copies)
        columns = Columns(text="t", label="l")
        return task(name="mine", path=path, columns=columns, **{**SIZES, **given})

    return make


def near_pairs(split) -> int:
    return sum(
        sum(near_copies(one, train=other))
        for one, other in itertools.combinations(split.parts.values(), 2)
    )


def test_test_rows_with_near_copies_in_training_are_counted_and_shown(copied) -> None:
    split = load_split(copied())
    train = (*split.parts["supervisor_half"], *split.parts["student_half"])
    expected = {r.id: sum(is_near(r, other) for other in train) for r in split.parts["test"]}
    assert split.near_copies == expected
    near = sum(count > 0 for count in expected.values())
    assert near == 5
    note = f"{near} of 40 test rows are near copies of training rows"
    assert note in split_ref(copied()).note
    assert "near cop" not in split_ref(copied(copies=0)).note


def test_dedupe_leaves_no_near_copy_in_another_part(copied) -> None:
    plain, deduped = load_split(copied()), load_split(copied(dedupe="near"))
    assert near_pairs(plain) == 20
    assert near_pairs(deduped) == 0
    assert deduped.counts == plain.counts
    assert deduped.dropped["near_copy"] > 5
    assert "near_copy" not in plain.dropped
    assert sum(deduped.near_copies.values()) == 0
    assert deduped.fingerprint != plain.fingerprint


def test_dedupe_compares_with_the_sources_own_test_split(tmp_path: Path, task) -> None:
    def written(name: str, numbers: range, *, place: int | None) -> None:
        texts = (" ".join(f"t{i}w{j}" for j in range(14)) for i in numbers)
        rows = [
            f"{text if place is None else replaced(text, place)}\t{i % 2}"
            for i, text in zip(numbers, texts, strict=True)
        ]
        (tmp_path / name).write_text("\n".join(["sentence\tlabel", *rows, ""]))

    written("dev.tsv", range(60), place=None)
    written("train.tsv", range(160), place=4)
    given = {"name": "sst2", "path": str(tmp_path), **SIZES}
    assert near_pairs(load_split(task(**given))) > 10
    assert near_pairs(load_split(task(**given, dedupe="near"))) == 0


def test_without_near_copies_dedupe_changes_nothing_but_balancing(copied) -> None:
    plain = load_split(copied(copies=0))
    assert load_split(copied(copies=0, dedupe="near")).fingerprint == plain.fingerprint


def test_too_few_rows_without_near_copies_are_an_error_with_the_remedy(copied) -> None:
    with pytest.raises(
        InputError, match=r"near copies are left out; lower train or .*or remove dedupe"
    ):
        load_split(copied(texts=110, copies=40, train=120, dedupe="near"))


def test_dedupe_is_refused_for_rows_without_texts(task) -> None:
    with pytest.raises(InputError, match=r"digits: dedupe compares texts.* remove dedupe"):
        load_split(task(name="digits", dedupe="near", **SIZES))
