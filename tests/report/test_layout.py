"""Long tables have one complete line per row, and look like short ones."""

from __future__ import annotations

import io

from rich.console import Console

from w2s_ray.report import layout

COLUMNS = ("task", "PGR")
LINES = [("ethics → 数", "0.5"), ("b", "-10.25")]


def shown(lines, *, width: int) -> list[str]:
    out = io.StringIO()
    made = layout.table(COLUMNS, lines, right={"PGR"}, folded={"task"}, title="a title")
    Console(file=out, width=width).print(made, crop=False)
    return [line.rstrip() for line in out.getvalue().splitlines()]


def test_a_long_table_looks_like_a_short_one(monkeypatch):
    folded = shown(LINES, width=60)
    monkeypatch.setattr(layout, "MANY", 2)
    assert shown(LINES, width=60) == folded


def test_a_long_table_is_neither_folded_nor_cut():
    word = "word " * 30
    lines = shown([(word, str(number)) for number in range(layout.MANY)], width=40)
    assert len(lines) == layout.MANY + 3
    assert all(word.strip() in line for line in lines[3:])
    assert len(shown([(word, "1")], width=40)) > 4


def test_a_cell_has_no_line_breaks():
    lines = shown([("two\nlines\tand\rmore", "1")] * layout.MANY, width=40)
    assert len(lines) == layout.MANY + 3
    assert lines[-1] == " two lines and more │   1"


def test_a_folded_column_keeps_its_longest_word_however_narrow_the_terminal():
    lines = shown([("ethics justice", "0.5"), ("words", "-10.25")], width=16)
    assert [line.split("│")[0].strip() for line in lines if "│" in line] == [
        "ethics",
        "justice",
        "words",
    ]


def test_a_grey_cell_is_dim_on_a_terminal():
    out = io.StringIO()
    line = (layout.Grey("(0.5)"), "0.5")
    made = layout.table(COLUMNS, [line], right=(), folded=())
    Console(file=out, width=40, force_terminal=True).print(made)
    assert out.getvalue().count("\x1b[2m") == 1
