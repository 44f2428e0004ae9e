from __future__ import annotations

import io
import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.console import Console

from w2s_ray.report import latex, sheet
from w2s_ray.report.sheet import Notes, Sheet, number

PLAIN = Sheet(
    title="50 % of a_b & c",
    columns=("model", "PGR"),
    lines=(("gpt-2 {x}", "-0.50 [-0.75, 0.25]"), ("[odd]", "–"), ("a|b\\", "1.00 (1)")),
    numbers=frozenset({"PGR"}),
    notes=("(1) 100 % of $1",),
)


@pytest.mark.parametrize(
    ("shown", "expected"),
    [
        (number(None), "–"),
        (number(None, low=0.1, high=0.2), "–"),
        (number(0.456), "0.46"),
        (number(0.456, low=-0.2, high=0.5), "0.46 [-0.20, 0.50]"),
        (number(0.456, low=-0.2, high=0.5, signed=True), "+0.46 [-0.20, +0.50]"),
        (number(1.234, digits=1), "1.2"),
    ],
)
def test_a_number_is_shown_with_its_interval(shown, expected):
    assert shown == expected


def test_equal_notes_share_a_number():
    notes = Notes()
    assert [notes.mark(text) for text in ("a", None, "b", "", "a")] == [
        " (1)",
        "",
        " (2)",
        "",
        " (1)",
    ]
    assert notes.lines == ("(1) a", "(2) b")


def test_a_line_with_another_number_of_cells_is_refused():
    with pytest.raises(ValueError, match="a line of 1 cells for 2 columns"):
        Sheet("x", ("a", "b"), (("1",),))


def test_a_terminal_shows_text_unchanged():
    console = Console(width=80, file=io.StringIO(), record=True)
    console.print(sheet.to_rich([PLAIN, PLAIN]))
    text = console.export_text()
    assert text.count("50 % of a_b & c") == 2
    assert re.search(r"\[odd\] +│ +– *$", text, re.MULTILINE)
    assert "(1) 100 % of $1" in text


def test_markdown_is_a_table_whatever_the_text():
    assert sheet.to_markdown([PLAIN]).splitlines() == [
        "### 50 % of a_b & c",
        "",
        "| model | PGR |",
        "| --- | ---: |",
        "| gpt-2 {x} | -0.50 [-0.75, 0.25] |",
        "| [odd] | – |",
        "| a\\|b\\\\ | 1.00 (1) |",
        "",
        "(1) 100 % of \\$1",
    ]


def test_latex_is_a_booktabs_table():
    assert latex.to_latex([PLAIN]).splitlines() == [
        r"% needs \usepackage{booktabs,graphicx}",
        "",
        r"\begin{table}",
        r"\centering",
        r"\caption{50 \% of a\_b \& c}",
        r"\resizebox{\ifdim\width>\linewidth\linewidth\else\width\fi}{!}{%",
        r"\begin{tabular}{lr}",
        r"\toprule",
        r"model & PGR \\",
        r"\midrule",
        r"gpt-2 \{x\} & $-$0.50 [$-$0.75, 0.25] \\",
        r"{}[odd] & -- \\",
        r"a\textbar{}b\textbackslash{} & 1.00 (1) \\",
        r"\bottomrule",
        r"\end{tabular}}",
        r"\par{\footnotesize (1) 100 \% of \$1}",
        r"\end{table}",
    ]


@settings(deadline=None)
@given(st.lists(st.lists(st.text(max_size=8), min_size=2, max_size=2), min_size=1, max_size=4))
def test_no_text_breaks_out_of_its_latex_cell(lines):
    made = Sheet("t", ("a", "b"), tuple((one, two) for one, two in lines))
    text = latex.to_latex([made])
    body = text[text.index("\\midrule\n") + 9 : text.index("\\bottomrule")]
    # What is left without escaped characters and commands is text, separators and line ends.
    bare = re.sub(r"\\(?:[{}$&#%_]|[a-z]+\{\}|text[a-z]+\{\})|\$-\$|\$\\[a-z]+\$", "", body)
    rows = bare.split(" \\\\\n")[:-1]
    assert len(rows) == len(lines)
    for row in rows:
        assert row.count("&") == 1
        assert not set(row.replace("{}", "")) & set("\\{}$#%_^~")
        assert not row.startswith(("[", "*"))


def test_environments_are_closed_in_order():
    text = latex.to_latex([PLAIN, PLAIN])
    pairs = re.findall(r"\\(begin|end)\{(\w+)\}", text)
    assert (
        pairs
        == [
            ("begin", "table"),
            ("begin", "tabular"),
            ("end", "tabular"),
            ("end", "table"),
        ]
        * 2
    )
