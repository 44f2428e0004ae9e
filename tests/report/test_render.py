from __future__ import annotations

import csv
import io
import json
from dataclasses import replace

import pytest
from rich.console import Console

from tests.store.builders import a_cell, a_record
from w2s_ray.report import render
from w2s_ray.report.columns import schema_of
from w2s_ray.report.frames import to_frame
from w2s_ray.report.table import PgrTable, tabulate


@pytest.fixture
def table() -> PgrTable:
    cells = [
        a_cell(seed=0),
        a_cell(seed=1),
        a_cell(seed=2),
        a_cell(method="a|[red]b", objective="transfer", searched=True),
    ]
    records = {}
    for seed, cell in enumerate(cells):
        figures = (0.6, 0.7 + seed / 50, 0.8)
        for id_, value in zip((cell.supervisor, cell.student, cell.ceiling), figures, strict=True):
            records[id_] = a_record(id=id_, accuracy=value)
    records[cells[2].ceiling] = a_record(
        id=cells[2].ceiling, status="failed", reason="disk full", accuracy=None
    )
    return tabulate(cells, records, sweep="sweep")


def test_a_terminal_shows_percent_and_ratios(table):
    console = Console(width=200, file=io.StringIO(), record=True)
    console.print(render.to_rich(table))
    text = console.export_text()
    line = next(line for line in text.splitlines() if "naive" in line)
    cells = [cell.strip() for cell in line.split("│")]
    assert cells == [
        "sciq",
        "small → large",
        "naive",
        "60.0",
        "71.0",
        "80.0",
        "+11.0",
        "0.55",
        "2/3",
        "none",
        "(1)",
    ]
    assert "(1) seed 2: ceiling failed: disk full" in text.splitlines()
    assert "a|[red]b" in text
    assert "median PGR" in text


@pytest.fixture
def bounded(table) -> PgrTable:
    """The table, with intervals for method naive."""
    naive, other = table.rows
    bounds = {"student_low": 0.681, "student_high": 0.742, "pgr_low": -0.123, "pgr_high": 1.2}
    bounds |= {"gain_low": 0.082, "gain_high": 0.139}
    naive = replace(naive, intervals_over="seeds and examples", **bounds)
    other = replace(other, no_intervals="run ab has no predictions")
    median = replace(table.by_method[0], median_low=0.1, median_high=0.9)
    return PgrTable((naive, other), table.by_seed, (median, *table.by_method[1:]))


def test_intervals_are_shown_in_brackets_and_missing_ones_have_a_note(table, bounded):
    console = Console(width=200, file=io.StringIO(), record=True)
    console.print(render.to_rich(bounded))
    text = console.export_text()
    lines = [line for line in text.splitlines() if "naive" in line]
    row, median = ([cell.strip() for cell in line.split("│")] for line in lines)
    assert (row[4], row[6]) == ("71.0 [68.1, 74.2]", "+11.0 [+8.2, +13.9]")
    assert row[7] == "0.55 [-0.12, 1.20]"
    assert median[1] == "0.55 [0.10, 0.90]"
    assert "sweep: accuracy in %, [95 % interval over seeds and test examples]" in text
    assert "(2) no intervals: run ab has no predictions" in text.splitlines()
    assert (
        "| 71.0 [68.1, 74.2] | 80.0 | +11.0 [+8.2, +13.9] | 0.55 [-0.12, 1.20] |"
        in render.to_markdown(bounded)
    )
    assert "interval" not in render.to_markdown(table)


def test_an_interval_over_examples_alone_has_a_note(bounded):
    (naive, other) = bounded.rows
    single = replace(naive, intervals_over="examples", missing=())
    shown = render.to_markdown(PgrTable((single, other), (), ()))
    assert "a single seed: its interval is over test examples alone" in shown
    console = Console(width=200, file=io.StringIO(), record=True)
    console.print(render.to_rich(PgrTable((single,), (), ())))
    assert "[95 % interval over test examples]" in console.export_text()


@pytest.fixture
def stopped(table) -> PgrTable:
    """The table, with oracle stopping noted for the row of method naive."""
    naive, other = table.rows
    noted = replace(naive, oracle_stopped_student=0.75, oracle_stopped_pgr=0.75)
    return PgrTable((noted, other), table.by_seed, table.by_method)


def test_oracle_stopping_is_shown_dim_beside_the_result_if_it_exists(table, stopped):
    console = Console(width=200, file=io.StringIO(), record=True, force_terminal=True)
    console.print(render.to_rich(stopped))
    text = console.export_text(clear=False)
    line = next(line for line in text.splitlines() if "naive" in line)
    assert [cell.strip() for cell in line.split("│")][7:] == [
        "0.55",
        "2/3",
        "none",
        "75.0 (0.75)",
        "(1)",
    ]
    other = next(line for line in text.splitlines() if "a|[red]b" in line)
    assert [cell.strip() for cell in other.split("│")][-2:] == ["–", ""]
    assert "it saw ground truth, and is not the method's result" in text
    dim = next(part for part in console.export_text(styles=True).split("│") if "(0.75)" in part)
    assert "\x1b[2m" in dim
    assert "| oracle stop |" in render.to_markdown(stopped)
    assert "it saw ground truth, and is not the method's result" in render.to_markdown(stopped)
    assert "oracle" not in render.to_markdown(table).replace("| oracle |", "")


def test_markdown_is_a_table_whatever_the_names(table):
    text = render.to_markdown(table)
    assert "| sciq | small → large | naive | 60.0 | 71.0 | 80.0 | +11.0 | 0.55 | 2/3 |" in text
    assert "a\\|[red]b" in text
    first = text.split("\n\n")[1].splitlines()
    assert {line.replace("\\|", "").count("|") for line in first} == {12}


@pytest.mark.parametrize("part", ["rows", "by_seed", "by_method"])
def test_every_part_is_available_as_csv_arrow_and_frame(table, part):
    rows = getattr(table, part)
    read = list(csv.DictReader(io.StringIO(render.to_csv(table, part))))
    arrow, frame = render.to_arrow(table, part), to_frame(render.to_arrow(table, part))
    assert len(read) == arrow.num_rows == len(frame) == len(rows)
    assert (
        list(read[0])
        == arrow.column_names
        == list(frame.columns)
        == schema_of(render.ROW_TYPES[part]).names
    )
    assert frame["method"].tolist() == [row.method for row in rows]


def test_machine_readable_forms_keep_every_digit(table):
    pgr = table.rows[0].pgr
    assert float(next(csv.DictReader(io.StringIO(render.to_csv(table))))["pgr"]) == pgr
    assert to_frame(render.to_arrow(table))["pgr"][0] == pgr
    assert json.loads(render.to_json(table))["rows"][0]["pgr"] == pgr
    assert to_frame(render.to_arrow(table))["missing"][0] == "seed 2: ceiling failed: disk full"
    assert list(to_frame(render.to_arrow(table))["runs"][0]) == list(table.rows[0].runs)


def test_an_empty_table_has_no_rows():
    empty = PgrTable((), (), ())
    assert render.to_markdown(empty) == ""
    assert to_frame(render.to_arrow(empty)).empty
    assert json.loads(render.to_json(empty)) == {"rows": [], "by_seed": [], "by_method": []}
    Console(file=io.StringIO()).print(render.to_rich(empty))


def test_a_small_gap_is_shown_by_its_gain_and_the_pgr_is_grey_with_the_reason(table):
    naive, other = table.rows
    small = replace(naive, pgr=7.5, pgr_caution="PGR divides by a gap below 2 points")
    shown = replace(table, rows=(small, other))
    console = Console(width=250, file=io.StringIO(), record=True, force_terminal=True)
    console.print(render.to_rich(shown))
    grey = next(part for part in console.export_text(styles=True).split("│") if "(7.50)" in part)
    assert "\x1b[2m" in grey
    text = render.to_markdown(shown)
    assert "| 71.0 | 80.0 | +11.0 | (7.50) |" in text
    assert "PGR divides by a gap below 2 points; seed 2" in text
    latex = render.sheets(shown)[0]
    assert latex.notes[0] == "(1) PGR divides by a gap below 2 points"


@pytest.mark.parametrize(
    ("metric", "columns", "median"),
    [
        ("accuracy", ("weak", "student", "ceiling", "gain"), ("median accuracy", "71.0")),
        ("gain", ("weak", "student", "ceiling", "gain"), ("median gain", "+11.0")),
        ("pgr", ("weak", "student", "ceiling", "gain", "PGR"), ("median PGR", "0.55")),
    ],
)
def test_a_table_is_about_one_metric(table, metric, columns, median):
    rows, methods = render.sheets(table, metric=metric)
    assert rows.columns[3:-3] == columns
    assert (methods.columns[1], methods.lines[0][1]) == median


@pytest.mark.parametrize(
    ("metric", "notes"),
    [
        ("accuracy", ("(1) 2 without a complete seed",)),
        ("gain", ("(1) 2 without a complete seed",)),
        ("pgr", ("(1) 1 without a gap", "(2) 3 with a small gap", "(3) 2 without a complete seed")),
    ],
)
def test_gaps_are_noted_at_medians_of_pgr_alone(table, metric, notes):
    (first, *_) = table.by_method
    row = replace(first, undefined=1, small_gaps=3, missing=2)
    (_, methods) = render.sheets(replace(table, by_method=(row,)), metric=metric)
    assert methods.notes == notes


def test_an_oracle_stop_before_the_schedules_end_is_marked(stopped):
    naive, other = stopped.rows
    assert "≥" not in render.to_markdown(stopped)
    cut = replace(stopped, rows=(replace(naive, oracle_stopped_cut=1), other))
    text = render.to_markdown(cut)
    assert "| ≥ 75.0 (0.75) |" in text
    assert render.CUT_NOTE in text


def test_a_row_says_how_its_student_was_tuned(table):
    naive, other = table.rows
    tuned = replace(
        naive,
        objective="transfer",
        trials=8,
        differs_from_ceiling="training.epochs 4 (ceiling 2)",
        differs_from_naive="training.epochs 4 (naive 2)",
    )
    text = render.to_markdown(replace(table, rows=(tuned, other)))
    assert "| transfer, 8 trials |" in text
    assert "trained otherwise than its ceiling: training.epochs 4 (ceiling 2)" in text
    assert "trained otherwise than naive's student: training.epochs 4 (naive 2)" in text
