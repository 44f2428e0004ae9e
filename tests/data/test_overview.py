"""The overview of a task: planted lengths, duplicates, near copies and truncation are counted."""

from __future__ import annotations

import csv
import random
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from w2s_ray.config import Columns, ModelSource, Task
from w2s_ray.data import load_split
from w2s_ray.data.overview import ModelUse, TaskOverview, TaskRows, make_overview, sentences
from w2s_ray.data.overview.sentences import measured, remarks
from w2s_ray.data.split import Split

WORDS = [f"{a}{b}" for a in "bcdfg" for b in "aeiou"] * 2
XS = ModelSource(name="xs", location="w2s_ray/ladder/models/xs", identity="sha256:xs")
ABSENT = ModelSource(name="absent", location="org/absent", revision="a" * 40, identity="hub:a")


def use(source: ModelSource, *, max_tokens: int = 64, **changes: Any) -> ModelUse:
    return ModelUse(
        **{
            "source": source,
            "max_tokens": max_tokens,
            "answer_tokens": 4,
            "positions": None,
            **changes,
        }
    )


def sentence(rng: random.Random, words: int) -> str:
    return " ".join(rng.choice(WORDS) for _ in range(words))


def written(path: Path, rows: Iterable[dict[str, Any]]) -> str:
    rows = list(rows)
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    return str(path)


def labelled(rng: random.Random, count: int, length: Callable[[int], int]) -> list[dict[str, Any]]:
    return [{"text": sentence(rng, length(i % 2)), "label": i % 2} for i in range(count)]


def split_of(task, path: str, *, train: int = 200, **changes: Any) -> Split:
    columns = changes.pop("columns", Columns(text="text", label="label"))
    declared: Task = task(
        name="mine", path=path, columns=columns, train=train, validation=40, test=100, **changes
    )
    return load_split(declared)


def overview(split: Split, *models: ModelUse, **changes: Any) -> TaskOverview:
    given: dict[str, Any] = {"models": models, "sealed": False, "shown": 1, **changes}
    return make_overview(TaskRows.of_split(split), **given)


def accuracies(found: TaskOverview) -> dict[str, float | None]:
    return {each.name: each.accuracy for each in found.baselines}


def test_length_that_gives_the_label_away_is_found(tmp_path, task):
    rng = random.Random(0)
    path = written(tmp_path / "d.csv", labelled(rng, 500, lambda label: 8 + 4 * label))
    found = overview(split_of(task, path))
    assert accuracies(found)["majority"] == 0.5
    assert accuracies(found)["length alone"] == 1.0
    assert any("length alone is right in 100 %" in remark for remark in remarks(found))
    assert any("supervisors have little to get wrong" in remark for remark in remarks(found))
    assert "learned from ground truth of 200 training rows, measured on 100 test" in measured(found)


def test_several_classes_have_counts_baselines_and_a_row_each(tmp_path, task):
    rng, kinds = random.Random(2), ("arts", "news", "sport")
    rows = [{"text": f"{sentence(rng, 8 + 4 * (i % 3))} {kinds[i % 3]}", "kind": kinds[i % 3]}
            for i in range(500)]  # fmt: skip
    columns = Columns(text="text", category="kind")
    found = overview(split_of(task, written(tmp_path / "d.csv", rows), columns=columns), use(XS))
    for part in found.parts:
        assert part.classes is not None
        assert list(part.classes) == list(kinds)
        assert sum(part.classes.values()) == part.rows
    assert 1 / 3 <= (accuracies(found)["majority"] or 0) < 0.5
    assert accuracies(found)["length alone"] == accuracies(found)["bag of words"] == 1.0
    assert [row.label for row in found.rows] == [f"class {kind}" for kind in kinds]
    assert [text.name for row in found.rows for text in row.texts] == ["text"] * 3
    assert [lengths.what for lengths in found.lengths] == ["texts"]


def test_words_that_give_the_label_away_are_found_where_length_does_not(tmp_path, task):
    rng = random.Random(1)
    rows = labelled(rng, 500, lambda _: 10)
    for row in rows:
        row["text"] += " yes" if row["label"] else " non"
    found = overview(split_of(task, written(tmp_path / "d.csv", rows)))
    assert accuracies(found)["bag of words"] == 1.0
    assert accuracies(found)["length alone"] < 0.7


def test_noise_is_called_noise(tmp_path, task):
    rng = random.Random(2)
    rows = labelled(rng, 500, lambda _: 10)
    for row in rows:
        row["label"] = rng.randrange(2)
    found = overview(split_of(task, written(tmp_path / "d.csv", rows)))
    assert any("single words show nothing of the labels" in remark for remark in remarks(found))


def test_planted_duplicates_are_counted_by_reason(tmp_path, task):
    rng = random.Random(3)
    rows = labelled(rng, 500, lambda _: 12)
    exact = [dict(row) for row in rows[:7]]
    folded = [{**row, "text": row["text"].upper()} for row in rows[7:12]]
    contradictory = [{**row, "label": 1 - row["label"]} for row in rows[12:15]]
    path = written(tmp_path / "d.csv", [*rows, *exact, *folded, *contradictory])
    found = overview(split_of(task, path))
    assert {name: n for name, n in (found.dropped or {}).items() if n} == {
        "duplicate": 7,
        "near_duplicate": 5,
        "contradictory": 6,
    }
    assert found.unused == 515 - 18 - 340
    assert sum(part.rows for part in found.parts) == 340
    assert (
        "dropped: 6 the same text with another label, 7 duplicate, 5 duplicate in normal form"
        in (sentences(found))
    )


def test_near_copies_of_training_rows_in_test_are_counted_and_others_are_not(tmp_path, task):
    rng = random.Random(4)
    rows = labelled(rng, 120, lambda _: 30)
    copies = []
    for row in rows:
        words = row["text"].split()
        copies.append({"text": " ".join([*words[:-1], "other"]), "label": row["label"]})
    found = overview(split_of(task, written(tmp_path / "d.csv", [*rows, *copies]), train=100))
    assert (found.shared.exact, found.shared.normal_form, found.shared.groups) == (0, 0, 0)
    assert 0 < (found.shared.near_copies or 0) <= 100
    (line,) = [line for line in sentences(found) if line.startswith("test rows that training")]
    assert f"{found.shared.near_copies} as near copies" in line


def test_lengths_are_tokens_with_the_share_that_is_truncated(tmp_path, task):
    rng = random.Random(5)
    path = written(tmp_path / "d.csv", labelled(rng, 500, lambda label: 10 + 10 * label))
    models = (use(XS, max_tokens=15), use(ABSENT, max_tokens=15), use(XS, max_tokens=64))
    short, absent, long = overview(split_of(task, path), *models).lengths
    assert (short.counted, absent.counted, long.counted) == (True, False, True)
    assert (short.shortest, short.longest, short.texts) == (10, 20, 340)
    assert (short.truncated, long.truncated) == (0.5, 0.0)
    assert sum(short.counts) == 340
    assert len(short.edges) == len(short.counts) + 1
    assert [(n, e) for n, e in zip(short.counts, short.edges, strict=False) if n] == [
        (170, 10),
        (170, 20),
    ]
    assert (absent.shortest, absent.longest) == (14, 28)
    assert overview(split_of(task, path), models[1]).rows[0].texts[0].length is None


def test_pairs_have_sides_and_the_longer_text(tmp_path, task):
    rng = random.Random(6)
    rows = [
        {"chosen": sentence(rng, 12), "rejected": sentence(rng, 6 if i % 4 else 20)}
        for i in range(400)
    ]
    columns = Columns(chosen="chosen", rejected="rejected")
    path = written(tmp_path / "d.csv", rows)
    found = overview(split_of(task, path, columns=columns), use(XS))
    by_name = {each.name: each for each in found.baselines}
    assert by_name["majority"].how in ("always the first text", "always the second text")
    assert by_name["length alone"].how.startswith("the longer text is better, as in 7")
    assert 0.6 < (by_name["length alone"].accuracy or 0) < 0.9
    assert {row.label for row in found.rows} == {"the first is better", "the second is better"}
    assert [text.name for text in found.rows[0].texts] == ["first", "second"]
    assert found.lengths[0].texts == 2 * 340
    swapped = [{"chosen": row["rejected"], "rejected": row["chosen"]} for row in rows]
    path = written(tmp_path / "s.csv", swapped)
    other = {each.name: each for each in overview(split_of(task, path, columns=columns)).baselines}
    assert other["length alone"].how.startswith("the shorter text is better")
    assert (other["length alone"].accuracy or 0) > 0.6


@pytest.mark.parametrize("answers", [("yes", "no"), None])
def test_answers_have_the_most_frequent_one_and_words_where_there_are_few(tmp_path, task, answers):
    rng = random.Random(7)
    rows = []
    for i in range(400):
        answer = answers[i % 4 == 0] if answers else f"{i} {sentence(rng, 3)}"
        rows.append({"text": f"{sentence(rng, 8)} {answer if answers else i}", "answer": answer})
    columns = Columns(text="text", answer="answer")
    found = overview(
        split_of(task, written(tmp_path / "d.csv", rows), columns=columns), use(XS), tokens=True
    )
    by_name = accuracies(found)
    if answers:
        assert 0.6 < (by_name["majority"] or 0) < 0.9
        assert by_name["bag of words"] == 1.0
    else:
        assert by_name["bag of words"] is None
        assert any("answers are longer than answer_tokens (4) for xs" in r for r in remarks(found))
    prompts, of_answers = found.lengths
    assert (prompts.what, prompts.limit) == ("prompts", 60)
    assert (of_answers.what, of_answers.limit) == ("answers", 4)
    assert of_answers.shortest == (2 if answers else 5)
    (row,) = found.rows
    assert [text.name for text in row.texts] == ["prompt", "answer"]
    assert row.label is None
    assert found.parts[3].classes is None
    assert found.parts[3].answers == (2 if answers else 100)


def test_digits_have_classes_and_no_texts(task):
    found = overview(load_split(task(name="digits", train=200, validation=40, test=100)), use(XS))
    assert list(found.parts[0].classes or {}) == [str(i) for i in range(10)]
    assert sum((found.parts[0].classes or {}).values()) == 100
    assert found.lengths == ()
    assert found.shown_to is None
    assert [row.label for row in found.rows] == [f"class {i}" for i in range(10)]
    (majority,) = found.baselines
    assert majority.how.startswith("always class ")
    assert 0 < (majority.accuracy or 0) < 0.3


def test_a_sealed_test_has_no_labels_anywhere(tmp_path, task):
    rng = random.Random(8)
    path = written(tmp_path / "d.csv", labelled(rng, 500, lambda _: 10))
    split = split_of(task, path)
    flipped = {
        **split.parts,
        "test": tuple(row._replace(label=1 - row.label) for row in split.parts["test"]),
    }
    other = Split(split.task, split.fingerprint, flipped, split.dropped, unused=split.unused)
    found = overview(split, use(XS), sealed=True)
    assert found == overview(other, use(XS), sealed=True)
    assert found != overview(split, use(XS))
    assert found.parts[3].classes is None
    assert (found.measured_on, found.measured_rows) == ("validation", 40)
    assert "measured on 40 validation rows (the test is sealed)" in measured(found)


def test_a_stored_split_gives_the_same_overview_but_for_its_source(tmp_path, task):
    rng = random.Random(9)
    split = split_of(task, written(tmp_path / "d.csv", labelled(rng, 400, lambda _: 10)))
    rows = [
        {**row._asdict(), "example_id": row.id, "part": part}
        for part, each in split.parts.items()
        for row in each
    ]
    made = TaskRows.of_split(split)
    about = {
        "form": "classes",
        "near_copies": made.near_copies,
        "dropped": dict(split.dropped),
        "unused": split.unused,
        "own_test": split.own_test,
    }
    table = pa.Table.from_pylist(rows)
    named = {"task": "mine", "fingerprint": split.fingerprint}
    stored = TaskRows.of_table(table, about=about, **named)
    assert stored.from_store
    given: dict[str, Any] = {"models": [use(XS)], "sealed": False, "shown": 2}
    one, other = make_overview(made, **given), make_overview(stored, **given)
    assert one.rows == other.rows
    assert sentences(one) == sentences(other)
    assert one.lengths == other.lengths
    assert one.baselines == other.baselines
    old = make_overview(
        TaskRows.of_table(table, about={"form": 3, "dropped": []}, **named), **given
    )
    assert old.form == "classes"
    assert "rows dropped are not known: an earlier version stored the split" in sentences(old)
    assert any("near copies are not known" in line for line in sentences(old))


def test_choices_have_chance_and_the_planted_length(tmp_path, task):
    """The right choice is the longest in three of four rows."""
    rng, rows = random.Random(8), []
    for i in range(400):
        choices = [f"{sentence(rng, 2)} {i} {k}" for k in range(4)]
        choices[i % 4] += f" {sentence(rng, 4)}"
        right = choices[i % 4 if i % 8 < 6 else (i + 1) % 4]
        letters = {f"c{k}": choice for k, choice in enumerate(choices)}
        rows.append({"text": f"which {sentence(rng, 6)} {i}", "answer": right, **letters})
    columns = Columns(text="text", choices=("c0", "c1", "c2", "c3"), answer="answer")
    split = split_of(task, written(tmp_path / "d.csv", rows), columns=columns)
    found = overview(split, use(XS))
    by_name = accuracies(found)
    assert by_name["chance"] == 0.25
    assert by_name["length alone"] == pytest.approx(0.75, abs=0.1)
    assert any(line.startswith("length alone is right in") for line in remarks(found))
    assert [text.name for text in found.rows[0].texts].count("choice") == 3
    assert {length.what for length in found.lengths} == {"texts", "choices"}
