"""Pairs, prompts with answers and running text: rows in the original formats, and their splits."""

from __future__ import annotations

import csv

import pytest

from w2s_ray.config import Columns
from w2s_ray.data import Rows, make_split
from w2s_ray.data import formatters as f
from w2s_ray.data.chess_rows import is_legal, movetext, positions, puzzle, puzzle_by_moves
from w2s_ray.data.example import Example
from w2s_ray.data.row_formats import Preference
from w2s_ray.data.sources import form_of, read_rows
from w2s_ray.errors import InputError

PUZZLE = {
    "PuzzleId": "00sHx",
    "FEN": "q3k1nr/1pp1nQpp/3p4/1P2p3/4P3/B1PP1b2/B5PP/5K2 b k - 0 17",
    "Moves": "e8d7 a2e6 d7d8 f7f8",
    "Rating": "1760",
    "Themes": "mate mateIn2 middlegame short",
    "GameUrl": "https://lichess.org/yyznGmXs/black#34",
}
AFTER = "q5nr/1ppknQpp/3p4/1P2p3/4P3/B1PP1b2/B5PP/5K2 w - -"


def test_a_puzzle_is_the_position_after_the_opponents_move_and_the_reply_in_san():
    (row,) = puzzle(PUZZLE, id="x")
    assert (row.text, row.answer, row.difficulty) == (AFTER, "Be6+", 1760.0)
    assert row.group.split("\x1f")[0] == "game yyznGmXs"
    assert is_legal(row.text, "Be6+")
    assert not is_legal(row.text, "Be5")
    assert not is_legal(row.text, "hello")


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"Moves": "e8d7"}, "x: column 'Moves' has 'e8d7'; write at least the opponent's move"),
        ({"Moves": "e8e1 a2e6"}, "x: not a chess puzzle"),
        ({"FEN": "q3k1nr/1pp1"}, "x: not a chess puzzle"),
    ],
)
def test_an_invalid_puzzle_is_named(wrong, message):
    with pytest.raises(ValueError, match=message):
        puzzle({**PUZZLE, **wrong}, id="x")


def test_a_prompt_of_moves_leads_to_the_position():
    moves = "1. e4 e5 2. Qh5 Nc6 3. Bc4"
    fen = "r1bqkbnr/pppp1ppp/2n5/4p2Q/2B1P3/8/PPPP1PPP/RNB1K1NR b KQkq - 3 3"
    row = {"FEN": fen, "Moves": "g8f6 h5f7", "Game": moves}
    (made,) = puzzle_by_moves(row, id="x")
    assert made.text == "e4 e5 Qh5 Nc6 Bc4 Nf6"
    assert made.answer == "Qxf7#"
    assert is_legal(made.text, made.answer)
    with pytest.raises(ValueError, match="don't lead to the position"):
        puzzle_by_moves({**row, "Game": "1. e4 e5"}, id="x")


def test_games_become_text_without_numbers_and_positions_with_their_moves():
    assert movetext("1.e4 e5 2.Nf3 {fine} 2... Nc6") == "e4 e5 Nf3 {fine} Nc6"
    made = positions({"moves": "1.e4 e5 2.Nf3 Nf7 3.d4"}, id="g")
    assert [row.text.split()[-1] for row in made] == ["e4", "e5", "Nf3"]
    assert {row.group for row in made} == {"e4 e5 Nf3 Nf7 d4"}
    assert all(is_legal(*row.text.rsplit(" ", 1)) for row in made)


def test_puzzles_of_one_game_or_position_stay_together(tmp_path, task):
    other = {**PUZZLE, "PuzzleId": "2", "GameUrl": "https://lichess.org/zzzzzzzz#1"}
    moved = {**PUZZLE, "PuzzleId": "3", "FEN": PUZZLE["FEN"].replace("5K2", "4K3")}
    path = tmp_path / "puzzles.csv"
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, list(PUZZLE))
        writer.writeheader()
        writer.writerows([PUZZLE, other, moved])
    rows = read_rows(task(name="chess_puzzles", path=str(path)))
    assert len({row.group for row in rows.pool}) == 1
    assert rows.form == form_of(task(name="chess_puzzles")) == "answers"


def test_the_better_text_is_first_in_half_of_the_pairs_for_any_column():
    make = Preference("{b}", "{w}")
    rows = [make({"b": f"good {i}", "w": f"bad {i}"}, id=str(i))[0] for i in range(400)]
    assert 160 < sum(row.label for row in rows) < 240
    for row in rows:
        assert (row.text if row.label else row.second).startswith("good")
    turned = Preference("{w}", "{b}")({"b": "good 1", "w": "bad 1"}, id="1")[0]
    assert (turned.text, turned.second) == (rows[1].text, rows[1].second)
    assert turned.label == 1 - rows[1].label
    assert make({"b": "same", "w": "same "}, id="x") == []


def test_dialogs_as_pairs_and_summaries_of_a_post():
    start = "\n\nHuman: Hi there\n\nAssistant:"
    (pair,) = f.anthropic_hh_pairs(
        {"chosen": f"{start} Hello.", "rejected": f"{start} Go."}, id="x"
    )
    assert pair.group == "Hi there"
    assert (pair.text if pair.label else pair.second).endswith("Hello.")
    row = {
        "info": {"id": "t3_1", "post": "Long. ", "title": "T", "article": None},
        "summaries": [{"text": " short"}, {"text": "none"}],
        "choice": 1,
    }
    (pair,) = f.summarize_from_feedback(row, id="x")
    assert pair.group == "t3_1"
    assert (pair.text if pair.label else pair.second) == "Long.\n\nTL;DR: none"


@pytest.mark.parametrize(
    ("how", "values"),
    [
        ({"label": "v"}, (1, 0)),
        ({"label": "v", "positive": "x"}, ("x", "y")),
        ({"preferred": "v"}, ("a", "b")),
        ({"preferred": "v"}, (0, 1)),
        ({"preferred": "v"}, ("first", "second")),
    ],
)
def test_a_file_of_pairs(tmp_path, task, how, values):
    lines = [
        f"{first},{second},{values[i % 2]}"
        for i, (first, second) in enumerate([("p", "q"), ("r", "s"), ("q", "t"), ("u", "u")])
    ]
    (tmp_path / "pairs.csv").write_text("\n".join(["a,b,v", *lines]) + "\n")
    columns = Columns(first="a", second="b", **how)
    rows = read_rows(task(name="mine", path=str(tmp_path / "pairs.csv"), columns=columns))
    assert rows.form == "pairs"
    assert [(r.text, r.second, r.label) for r in rows.pool] == [
        ("p", "q", 1),
        ("r", "s", 0),
        ("q", "t", 1),
        ("u", "u", 0),  # dropped and counted when the split is made
    ]
    groups = [row.group for row in rows.pool]
    assert groups[0] == groups[2] != groups[1]


def test_files_of_answers_and_of_text(tmp_path, task):
    (tmp_path / "a.csv").write_text("q,a,d\n1+1,2,3.5\n1+2,3,4\n")
    fields = {"name": "sums", "path": str(tmp_path / "a.csv")}
    columns = Columns(text="q", answer="a", difficulty="d")
    rows = read_rows(task(**fields, columns=columns))
    assert rows.form == "answers"
    assert [(r.text, r.answer, r.difficulty) for r in rows.pool] == [
        ("1+1", "2", 3.5),
        ("1+2", "3", 4.0),
    ]
    assert read_rows(task(**fields, columns=Columns(text="q"))).form == "text"


@pytest.mark.parametrize(
    "given",
    [
        {},
        {"label": "l"},
        {"text": "t", "first": "a"},
        {"text": "t", "label": "l", "answer": "a"},
    ],
)
def test_incomplete_columns_are_refused(given):
    with pytest.raises(InputError, match="don't declare a task; give text and label, or"):
        Columns(**given)


def made(rows, form, task, **declared):
    sizes = {"train": 4, "validation": 2, "test": 2}
    return make_split(Rows(tuple(rows), form=form), task=task(**{**sizes, **declared}))


def test_a_pair_in_both_orders_is_one_row_and_a_contradicted_one_none(task):
    rows = [Example(str(i), f"a{i}", i % 2, f"g{i}", second=f"b{i}") for i in range(20)]
    same = Example("same", "b0", 1, "g0", second="a0")
    against = Example("against", "b1", 1, "g1", second="a1")
    split = made([*rows, same, against], "pairs", task)
    assert (split.dropped["duplicate"], split.dropped["contradictory"]) == (1, 2)


def test_prompts_need_no_balance_and_two_answers_to_one_are_a_contradiction(task):
    rows = [Example(str(i), f"p{i}", 0, f"g{i}", answer="x", difficulty=i) for i in range(20)]
    against = Example("a", "p0", 0, "g0", answer="y", difficulty=0)
    split = made([*rows, against], "answers", task)
    assert split.dropped["contradictory"] == 2
    assert [len(part) for part in split.parts.values()] == [2, 2, 2, 2]
    other = made([r._replace(answer="z") for r in rows], "answers", task)
    assert made(rows, "answers", task).fingerprint != other.fingerprint


def test_difficulty_bounds_the_rows(task):
    rows = [Example(str(i), f"p{i}", 0, f"g{i}", answer="x", difficulty=i) for i in range(20)]
    split = made(rows, "answers", task, difficulty=(5, None))
    assert min(r.difficulty for part in split.parts.values() for r in part) >= 5
    assert split.dropped["too_easy_or_hard"] == 5
    plain = [row._replace(difficulty=None) for row in rows]
    with pytest.raises(ValueError, match="its rows have no difficulty; remove `difficulty`"):
        made(plain, "answers", task, difficulty=(5, None))


def test_a_corpus_has_no_halves_and_its_form_is_part_of_its_identity(task):
    rows = [Example(str(i), f"p{i}", 0, f"g{i}") for i in range(20)]
    corpus = made(rows, "text", task)
    assert [corpus.counts[part] for part in ("supervisor_half", "student_half")] == [4, 0]
    assert made(rows, "answers", task).fingerprint != corpus.fingerprint
