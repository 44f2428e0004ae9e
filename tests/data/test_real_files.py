"""The named tasks on the real original files, where a folder of them lies beside the repository."""

from __future__ import annotations

import re

import pytest

from w2s_ray.config import PARTS
from w2s_ray.data import make_split
from w2s_ray.data.chess_rows import is_legal, replay
from w2s_ray.data.sources import read_rows

# task, path, (train, validation, test), rows of the pool, rows of the own test split
CASES = [
    ("ethics_justice", "ethics/justice", (16000, 1000, 2000), 21791, 2704),
    ("ethics_deontology", "ethics/deontology", (12000, 1000, 3000), 18164, 3596),
    ("ethics_virtue", "ethics/virtue", (2400, 400, 600), 28245, 4975),
    ("creak", "creak", (8000, 1000, 1300), 10176, 1371),
    ("openbookqa", "openbookqa", (8000, 1000, 900), 10914, 1000),
    ("cosmos_qa", "cosmosqa/valid.csv.gz", (4000, 500, 1000), 5970, None),
    ("subjectivity", "nltk_sentiment/subjectivity.zip", (8000, 1000, 900), 10000, None),
    ("movie_reviews", "nltk_sentiment/movie_reviews.zip", (1600, 200, 200), 2000, None),
    ("sentence_polarity", "nltk_sentiment/sentence_polarity.zip", (8000, 1000, 1500), 10662, None),
]


@pytest.mark.parametrize(("name", "path", "sizes", "pool", "test"), CASES, ids=str)
def test_real_files(real, task, name, path, sizes, pool, test):
    if not (real / path).exists():
        pytest.skip(f"no {path} among the real task data")
    train, validation, test_rows = sizes
    declared = task(
        name=name, path=str(real / path), train=train, validation=validation, test=test_rows
    )
    rows = read_rows(declared)
    assert len(rows.pool) == pool
    assert (rows.test and len(rows.test)) == test
    split = make_split(rows, task=declared)
    assert [split.counts[part] for part in PARTS] == [train // 2, train // 2, validation, test_rows]
    groups = [{row.group for row in split.parts[part]} for part in PARTS]
    assert sum(map(len, groups)) == len(set().union(*groups))
    for part in split.parts.values():
        assert sum(row.label for row in part) == len(part) // 2
    everything = [row for part in split.parts.values() for row in part]
    assert len({row.text for row in everything}) == len(everything)
    assert not any(re.search(r"\nA: \(?[A-D]\)?$", row.text) for row in everything)


def parts_of(real, task, path, **declared):
    if not (real / path).exists():
        pytest.skip(f"no {path} among the real task data")
    declared = task(path=str(real / path), **declared)
    return make_split(read_rows(declared), task=declared)


def test_real_arguments_are_pairs_split_by_debate(real, task):
    split = parts_of(
        real,
        task,
        "pref_ukpconvarg1/UKPConvArg1Strict-CSV.tar.gz",
        name="ukpconvarg1",
        train=6000,
        validation=500,
        test=1000,
    )
    assert split.form == "pairs"
    debates = [{row.group for row in split.parts[part]} for part in PARTS]
    assert sum(map(len, debates)) == len(set().union(*debates)) <= 16
    everything = [row for part in split.parts.values() for row in part]
    texts = [{t for row in split.parts[part] for t in (row.text, row.second)} for part in PARTS]
    assert sum(map(len, texts)) == len(set().union(*texts))
    longer = [(len(row.text) > len(row.second)) == (row.label == 1) for row in everything]
    assert 0.75 < sum(longer) / len(longer) < 0.9
    for rows in split.parts.values():
        assert sum(row.label for row in rows) == len(rows) // 2


def test_real_votes_give_pairs_with_a_majority_alone(real, task):
    path = "pref_ukpconvarg1/full_pairs_votes.jsonl.gz"
    split = parts_of(real, task, path, name="ukpconvarg1", train=400, validation=50, test=50)
    assert split.form == "pairs"
    assert all(row.second and row.text != row.second for row in split.parts["test"])


def test_real_puzzles_have_their_answers_in_san(real, task):
    split = parts_of(
        real,
        task,
        "chess_puzzles/level_500.csv.gz",
        name="chess_puzzles",
        train=3000,
        validation=300,
        test=500,
    )
    rows = [row for part in split.parts.values() for row in part]
    assert split.form == "answers"
    assert all(is_legal(row.text, row.answer) for row in rows)
    assert all(300 <= row.difficulty <= 700 for row in rows)
    assert sum("#" in row.answer for row in rows) > len(rows) / 4


def test_real_games_are_running_text(real, task):
    sizes = {"train": 400, "validation": 20, "test": 20}
    games = parts_of(real, task, "chess_games", name="chess_games", **sizes)
    assert games.form == "text"
    assert games.counts["supervisor_half"] == 400
    assert games.counts["student_half"] == 0
    replay(games.parts["test"][0].text)
    positions = parts_of(real, task, "chess_games", name="chess_positions", **sizes)
    for row in positions.parts["test"]:
        position, _, move = row.text.rpartition(" ")
        assert is_legal(position, move)


def test_real_books_are_passages(real, task):
    path = "text_classics/books.tar.xz"
    split = parts_of(real, task, path, name="texts", train=2000, validation=100, test=100)
    assert split.form == "text"
    words = [len(row.text.split()) for row in split.parts["supervisor_half"]]
    assert 150 < sum(words) / len(words) < 400
