"""Questions with choices in tables: layouts, answers, order, duplicates, named sets."""

from __future__ import annotations

import json
import random
from collections import Counter
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.bad_input.data_files import as_csv, jsonl, npz, parquet
from w2s_ray.config import Columns, PartFile, Task
from w2s_ray.data import TASKS, make_split
from w2s_ray.data.choices import by_content, right_choices
from w2s_ray.data.example import Example, Rows
from w2s_ray.data.generic import table_rows
from w2s_ray.data.inputs import split_ref
from w2s_ray.data.own_table import path_table
from w2s_ray.data.split import are_rows_of, fingerprint
from w2s_ray.errors import InputError

LISTED = Columns(text="q", choices="c", answer="a")
IN_COLUMNS = Columns(text="q", choices=("c1", "c2", "c3"), answer="a")
RIGHT = [("Pacific", "Atlantic"), ("four", "three", "five")]
QUESTIONS = ["The largest ocean is the", "2 + 2 ="]


def examples(path: Any, columns: Columns) -> Rows:
    return table_rows(path_table(str(path), columns=columns, where="task t"), columns=columns)


def read(folder: Any, name: str, content: bytes | str, columns: Columns) -> list[Example]:
    (folder / name).write_bytes(content if isinstance(content, bytes) else content.encode())
    rows = examples(folder / name, columns)
    assert rows.form == "choices"
    return list(rows.pool)


def asked(*answers: Any) -> list[dict[str, Any]]:
    """Two questions whose right choices are `Pacific`, second, and `four`, second."""
    choices = [["Atlantic", " Pacific "], ["three", "four", "five"]]
    return [{"q": q, "c": c, "a": a} for q, c, a in zip(QUESTIONS, choices, answers, strict=True)]


def in_columns(*answers: Any) -> list[dict[str, Any]]:
    rows = asked(*answers)
    return [
        {"q": r["q"], "a": r["a"], **{f"c{i + 1}": c for i, c in enumerate([*r["c"], ""][:3])}}
        for r in rows
    ]


def in_three(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [
        {"q": r["q"], "a": r["a"], **dict(zip(("c1", "c2", "c3"), r["c"], strict=True))}
        for r in rows
    ]


NAMED = ("Pacific", "four")
ONE_TOO_FAR = {"text": 0, "answer": 1, "choices": [2, 3, 5]}


@pytest.mark.parametrize("answers", [NAMED, (1, 1), ("1", "1.0"), ("B", "b"), (1.0, 1.0)], ids=str)
def test_an_answer_is_a_text_a_place_or_a_letter(tmp_path, answers):
    for rows in (
        read(tmp_path, "a.jsonl", jsonl(asked(*answers)), LISTED),
        read(tmp_path, "b.jsonl", jsonl(in_columns(*answers)), IN_COLUMNS),
        read(tmp_path, "c.csv", as_csv(in_columns(*answers)), IN_COLUMNS),
    ):
        assert [row.text for row in rows] == QUESTIONS
        assert [row.answer for row in rows] == list(NAMED)
        assert [set(row.choices or ()) for row in rows] == [set(each) for each in RIGHT]
        assert {row.label for row in rows} == {0}


def test_choices_in_a_file_without_a_header_line(tmp_path):
    rows = in_columns("B", "B")
    numbers = Columns.model_validate({"text": 0, "answer": 1, "choices": [2, 3, 4]})
    bare = as_csv(rows).partition("\n")[2]
    expected = read(tmp_path, "a.csv", as_csv(rows), IN_COLUMNS)
    assert read(tmp_path, "b.csv", bare, numbers) == expected
    with pytest.raises(InputError, match=r"such as {text: 0, choices: \[1, 2, 3\], answer: 4}"):
        read(tmp_path, "c.csv", bare, IN_COLUMNS)
    with pytest.raises(InputError, match="no column 5; the first line has 5 field"):
        read(tmp_path, "d.csv", bare, Columns.model_validate(ONE_TOO_FAR))


def test_a_test_file_of_questions(tmp_path):
    rows = [{"q": f"question {i}", "c": ["x", "y", f"z{i}"], "a": "x"} for i in range(60)]
    (tmp_path / "train").mkdir()
    for i in range(2):
        (tmp_path / "train" / f"{i}.jsonl").write_text(jsonl(rows[25 * i : 25 * i + 25]))
    (tmp_path / "test.csv").write_text(as_csv(in_three(rows[45:])))
    test = {"path": str(tmp_path / "test.csv"), "columns": IN_COLUMNS}
    path, sizes = str(tmp_path / "train"), {"train": 20, "validation": 4}
    found = split_ref(Task(name="t", path=path, columns=LISTED, test=PartFile(**test), **sizes))
    assert (found.counts["test"], found.choices) == (15, 3)
    assert "other rows from 2 files; dropped 5 shared with test; 3 choices a row" in found.note


def test_every_layout_gives_the_same_rows(tmp_path):
    rows = asked("B", "B")
    struct = [{**r, "c": {"text": r["c"], "label": list("ABC"[: len(r["c"])])}} for r in rows]
    as_text = [{**r, "c": json.dumps(r["c"])} for r in rows]
    expected = read(tmp_path, "a.jsonl", jsonl(rows), LISTED)
    for name, content, columns in (
        ("b.parquet", parquet(rows), LISTED),
        ("c.jsonl", jsonl(struct), LISTED),
        ("d.parquet", parquet(struct), LISTED),
        ("e.csv", as_csv(as_text), LISTED),
        ("f.jsonl", jsonl(in_columns("B", "B")), IN_COLUMNS),
        ("g.jsonl", jsonl([{**r, "c": [None, *r["c"]], "a": "C"} for r in rows]), LISTED),
    ):
        assert read(tmp_path, name, content, columns) == expected, name
    arrays = npz(q=["x", "y"], c=[["1", "2"], ["3", "4"]], a=["B", "A"])
    made = read(tmp_path, "h.npz", arrays, LISTED)
    assert [row.answer for row in made] == ["2", "3"]


def test_labels_of_the_source_name_choices_before_letters(tmp_path):
    """ARC has rows with the labels 1 to 4 among rows with A to D."""
    rows = [
        {"q": "x", "c": {"text": ["no", "yes"], "label": ["1", "2"]}, "a": "2"},
        {"q": "y", "c": {"text": ["no", "yes"], "label": ["A", "B"]}, "a": "B"},
    ]
    assert [r.answer for r in read(tmp_path, "a.jsonl", jsonl(rows), LISTED)] == ["yes", "yes"]


def test_a_question_may_be_chat_messages(tmp_path):
    question = [{"role": "system", "content": "Be short."}, {"role": "user", "content": "1 + 1?"}]
    rows = read(tmp_path, "a.jsonl", jsonl([{"q": question, "c": ["2", "3"], "a": "A"}]), LISTED)
    assert rows[0].text == "System: Be short.\n\nHuman: 1 + 1?"
    assert json.loads(rows[0].chat or "") == {"text": question}
    assert rows[0].answer == "2"


@given(st.text(), st.sets(st.text(min_size=1), min_size=2, max_size=6), st.randoms())
def test_the_order_of_choices_follows_from_their_texts_alone(question, choices, rng):
    shuffled = list(choices)
    rng.shuffle(shuffled)
    ordered = by_content(question, shuffled)
    assert ordered == by_content(question, sorted(choices))
    assert sorted(ordered) == sorted(choices)


@given(st.data())
def test_every_way_to_name_the_right_choice_finds_it(data):
    """Whatever the places of choices and of missing ones, unless two readings are possible."""
    words = st.text("abcdefgh", min_size=2, max_size=5)
    rows = data.draw(st.lists(st.lists(words, min_size=2, max_size=6, unique=True), min_size=1))
    way = data.draw(st.sampled_from(["text", "place", "letter"]))
    places = [data.draw(st.integers(0, len(row) - 1)) for row in rows]
    answers = {
        "text": [row[i] for row, i in zip(rows, places, strict=True)],
        "place": places,
        "letter": ["ABCDEF"[i] for i in places],
    }[way]
    raw = [{"q": "x", "c": row, "a": a} for row, a in zip(rows, answers, strict=True)]
    found = list(right_choices(raw, LISTED, where=str))
    assert found == [(tuple(row), row[i]) for row, i in zip(rows, places, strict=True)]


def test_the_right_choice_has_no_place_of_its_own(tmp_path):
    """The first choice is right in the source; afterwards each place is as frequent."""
    rows = [
        {"q": f"question {i}", "c": [f"{w} {i}" for w in ("a", "b", "c", "d")], "a": 0}
        for i in range(400)
    ]
    made = read(tmp_path, "a.jsonl", jsonl(rows), LISTED)
    places = Counter((row.choices or ()).index(row.answer) for row in made)
    assert set(places) == {0, 1, 2, 3}
    assert all(70 <= count <= 130 for count in places.values()), places
    reverse = [{**r, "c": r["c"][::-1], "a": 3} for r in rows]
    assert read(tmp_path, "b.jsonl", jsonl(reverse), LISTED) == made


def make(**changed: Any) -> Example:
    given = {"id": "x", "text": "q", "label": 0, "group": "q", "answer": "yes"}
    return Example(**{**given, "choices": ("yes", "no"), **changed})


def test_equal_questions_are_those_with_equal_choices(tmp_path):
    assert make().content == make(choices=("no", "yes")).content
    assert make().content != make(choices=("yes", "maybe")).content
    assert make().folded.content == make(text=" Q ", choices=("NO", "yes")).folded.content
    assert make().folded.verdict == make(answer="YES").folded.verdict
    rows = [{"q": f"question {i} {i}", "c": ["x", "y"], "a": "x"} for i in range(40)]
    rows += [{**rows[0], "a": "y"}, rows[1], {**rows[2], "q": rows[2]["q"].upper()}]
    rows += [{**rows[3], "c": ["x", "z"]}]
    random.Random(0).shuffle(rows)
    path = tmp_path / "a.jsonl"
    path.write_text(jsonl(rows))
    sizes = {"train": 20, "validation": 4, "test": 4}
    task = Task(name="t", path=str(path), columns=LISTED, **sizes)
    split = make_split(examples(path, LISTED), task=task)
    dropped = {reason: count for reason, count in split.dropped.items() if count}
    assert dropped == {"contradictory": 2, "duplicate": 1, "near_duplicate": 1}
    assert split.form == "choices"
    found = split_ref(task)
    assert (found.form, found.choices) == ("choices", 2)
    assert "2 choices a row in an order by their texts, chance 50.0%" in found.note
    assert max(found.words["test"]) == 4  # a question and one of its choices
    assert split_ref(task) == found


def test_a_fingerprint_covers_the_choices_and_is_checked(tmp_path):
    import pyarrow as pa

    from w2s_ray.store.tables import SPLIT_ROWS

    parts = dict.fromkeys(("supervisor_half", "student_half", "validation"), ())

    def named(row: Example) -> str:
        return fingerprint({**parts, "test": (row,)}, form="choices")

    assert named(make()) == named(make())
    assert named(make()) != named(make(choices=("yes", "perhaps")))
    assert named(make()) != named(make(choices=("no", "yes")))
    row = {**make()._asdict(), "example_id": "x", "part": "test", "label": None}
    table = pa.Table.from_pylist([row], schema=SPLIT_ROWS)
    assert are_rows_of(table, expected=named(make()))
    assert not are_rows_of(table, expected=named(make(choices=("yes", "perhaps"))))


def test_a_named_set_has_all_choices_of_a_question_in_a_row():
    row = {
        "question_stem": "The sun ",
        "answerKey": "C",
        "choices": {"label": list("ABCD"), "text": ["is cold", "is a dog", "shines ", "is a lamp"]},
    }
    (made,) = TASKS["openbookqa_choices"].format(row, id="train:3")
    assert (made.id, made.text, made.answer, made.group) == (
        "train:3",
        "The sun",
        "shines",
        "The sun ",
    )
    assert sorted(made.choices) == ["is a dog", "is a lamp", "is cold", "shines"]
    unlabelled = {**row, "answerKey": ""}
    assert TASKS["openbookqa_choices"].format(unlabelled, id="x") == []
    twice = {**row, "choices": {"label": list("ABC"), "text": ["is cold", "is cold", "shines"]}}
    assert TASKS["openbookqa_choices"].format(twice, id="x") == []
    assert {name for name, task in TASKS.items() if task.form == "choices"} == {
        f"{name}_choices" for name in TASKS if f"{name}_choices" in TASKS
    }
