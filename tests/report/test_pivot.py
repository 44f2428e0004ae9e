from __future__ import annotations

import csv
import io
import json
from dataclasses import replace

import pytest

from tests.report.stored import cells_of, write_sweep
from tests.store.builders import a_cell, a_record
from w2s_ray.report import latex, pivot_sheets, render, sheet
from w2s_ray.report.pivot import Entry, pivot
from w2s_ray.report.table import pgr_table, tabulate
from w2s_ray.report.table_rows import PgrTable
from w2s_ray.store import Cell, Store

PAIRS = (("s", "l"), ("xs", "m"), ("xs", "l"))
"""As a sweep may list them: not from weak to strong."""


def table_of(pgrs: dict[Cell, float | None], *, sweep: str = "sweep") -> PgrTable:
    """A table with one row for each cell; a PGR that is None has no gap."""
    records = {}
    for cell, pgr in pgrs.items():
        figures = (0.5, 0.5 + (pgr or 0) / 4, 0.5 if pgr is None else 0.75)
        for id_, value in zip((cell.supervisor, cell.student, cell.ceiling), figures, strict=True):
            assert id_ is not None
            records[id_] = a_record(id=id_, accuracy=value)
    return tabulate(list(pgrs), records, sweep=sweep)


def cell(task: str, pair: tuple[str, str], **changes) -> Cell:
    """A cell whose three runs are its own."""
    name = f"{task}-{pair[0]}-{pair[1]}-{changes.get('method', 'naive')}"
    runs = {role: f"{name}-{role}" for role in ("supervisor", "student", "ceiling")}
    return a_cell(task=task, weak=pair[0], strong=pair[1], **runs, **changes)


@pytest.fixture
def table() -> PgrTable:
    """Two tasks: naive on all pairs of both, with one gap missing; confidence on one pair."""
    return table_of(
        {
            cell("a", PAIRS[0]): 0.5,
            cell("a", PAIRS[1]): None,
            cell("a", PAIRS[2]): 0.25,
            cell("a", PAIRS[0], method="confidence"): 1.0,
            cell("b", PAIRS[0]): 0.75,
            cell("b", PAIRS[1]): None,
            cell("b", PAIRS[2]): None,
        }
    )


def grids_of(table: PgrTable, **options):
    return {(grid.task, grid.method): grid for grid in pivot(table, **options)}


def test_a_grid_has_the_rows_figures_at_their_pairs(table):
    grids = grids_of(table)
    assert list(grids) == [
        ("a", "naive"),
        ("a", "confidence"),
        ("b", "naive"),
        (None, "naive"),
        (None, "confidence"),
    ]
    naive = grids["a", "naive"]
    assert {(e.weak, e.strong): e.pgr for e in naive.entries} == {
        ("s", "l"): pytest.approx(0.5),
        ("xs", "m"): None,
        ("xs", "l"): pytest.approx(0.25),
    }
    gapless = naive.at("xs", "m")
    assert gapless is not None
    assert gapless.reason is not None
    assert "ceiling does not beat the supervisor" in gapless.reason
    assert naive.at("s", "m") is None


def test_models_are_sorted_from_weak_to_strong_if_their_order_is_known(table):
    found = grids_of(table)["a", "naive"]
    assert (found.weak, found.strong) == (("s", "xs"), ("l", "m"))
    known = grids_of(table, models={"sweep": ("xs", "s", "m", "l")})["a", "naive"]
    assert (known.weak, known.strong) == (("xs", "s"), ("m", "l"))
    partly = grids_of(table, models={"sweep": ("m",)})["a", "naive"]
    assert (partly.weak, partly.strong) == (("s", "xs"), ("m", "l"))


def test_an_entry_keeps_its_interval(table):
    rows = [replace(row, pgr_low=0.1, pgr_high=0.9) for row in table.rows]
    entry = pivot(replace(table, rows=tuple(rows)))[0].at("s", "l")
    assert entry is not None
    assert (entry.pgr_low, entry.pgr_high) == (0.1, 0.9)


def test_a_median_over_tasks_is_per_pair_and_reports_left_out_rows(table):
    found = grids_of(table)[None, "naive"]
    assert found.at("s", "l") == Entry(
        weak="s",
        strong="l",
        objective="none",
        pgr=pytest.approx(0.625),
        pgr_low=None,
        pgr_high=None,
        pgr_caution=None,
        pgr_estimate=None,
        is_of_one_seed=False,
        gain=pytest.approx((0.125 + 0.1875) / 2),
        gain_low=None,
        gain_high=None,
        student_accuracy=pytest.approx((0.625 + 0.6875) / 2),
        student_low=None,
        student_high=None,
        reason=None,
        tasks=2,
        complete_tasks=2,
    )
    partly = grids_of(table)[None, "confidence"].at("s", "l")
    assert partly is not None
    assert (partly.pgr, partly.tasks) == (None, 0)
    assert partly.reason == "of 2 tasks 1 without this method"
    half, none = found.at("xs", "l"), found.at("xs", "m")
    assert half is not None
    assert none is not None
    assert (half.pgr, half.tasks) == (pytest.approx(0.25), 1)
    assert half.reason == "of 2 tasks 1 without a PGR"
    assert (none.pgr, none.tasks) == (None, 0)
    assert none.reason == "of 2 tasks 2 without a PGR"


def test_a_median_over_tasks_has_the_interval_of_its_rows(tmp_path):
    store = Store.open(tmp_path)
    students = {("a", "naive"): 0.7, ("b", "naive"): 0.8, ("c", "naive"): 0.75}
    write_sweep(store, cells_of(tasks="abc", methods=("naive",)), students=students)
    table = pgr_table(store)
    (found,) = pivot(table, store=store)[-1].entries
    # The only pair: its median is the method's.
    (method,) = table.by_method
    assert (found.pgr, found.pgr_low, found.pgr_high) == (
        method.median_pgr,
        method.median_low,
        method.median_high,
    )
    assert found.pgr_low is not None
    (without,) = pivot(table)[-1].entries
    assert (without.pgr, without.pgr_low) == (found.pgr, None)


def test_one_task_has_no_medians(table):
    only = tuple(row for row in table.rows if row.task == "a")
    assert {grid.task for grid in pivot(replace(table, rows=only))} == {"a"}


def test_a_median_leaves_out_searched_pairs_unless_all_are_searched():
    pair = ("s", "l")
    searched = {"objective": "transfer", "searched": True}
    table = table_of(
        {
            cell("a", pair, **searched): 1.0,
            cell("b", pair, objective="transfer"): 0.5,
            cell("a", pair, method="other", **searched): 1.0,
            cell("b", pair, method="other", **searched): 0.5,
        }
    )
    grids = grids_of(table)
    honest, oracle = grids[None, "naive"].at(*pair), grids[None, "other"].at(*pair)
    assert honest is not None
    assert oracle is not None
    assert (honest.pgr, honest.objective, honest.tasks) == (pytest.approx(0.5), "transfer", 1)
    assert honest.reason == (
        "of 2 tasks 1 left out (ground truth of the same task and student chose their settings)"
    )
    # Over the task that the other method has, too.
    assert (oracle.pgr, oracle.objective, oracle.tasks) == (pytest.approx(0.5), "oracle", 1)
    text = sheet.to_markdown(pivot_sheets.sheets(pivot(table)))
    assert text.count("chosen by ground truth of the pair itself") == 4


def test_sweeps_have_separate_grids(table):
    other = table_of({cell("a", ("p", "q")): 0.5}, sweep="other")
    both = PgrTable(table.rows + other.rows, (), ())
    grids = pivot(both, models={"other": ("q", "p")})
    assert [grid.sweep for grid in grids] == ["sweep"] * 5 + ["other"]
    assert grids[-1].weak == ("p",)


def test_a_sheet_shows_the_grid(table):
    rows = [
        replace(row, pgr_low=-0.25, pgr_high=0.875) if row.pgr == 0.5 else row for row in table.rows
    ]
    grid = pivot(replace(table, rows=tuple(rows)), models={"sweep": ("xs", "s", "m", "l")})[0]
    (made,) = pivot_sheets.sheets([grid])
    assert made.title == "sweep, naive: PGR on a [95 % interval]"
    assert made.columns == ("weak ↓ strong →", "m", "l")
    assert made.lines == (
        ("xs", "– (1)", "0.25"),
        ("s", "", "0.50 [-0.25, 0.88]"),
    )
    assert made.notes[0].startswith("(1) ceiling does not beat the supervisor")


def test_a_sheet_may_show_gains_or_accuracies(table):
    grid = pivot(table, models={"sweep": ("xs", "s", "m", "l")})[0]
    (gains,) = pivot_sheets.sheets([grid], metric="gain")
    assert gains.title == "sweep, naive: gain in points on a"
    assert gains.lines == (("xs", "+0.0", "+6.2"), ("s", "", "+12.5"))
    assert gains.notes == ()
    (accuracies,) = pivot_sheets.sheets([grid], metric="accuracy")
    assert accuracies.lines == (("xs", "50.0", "56.2"), ("s", "", "62.5"))


@pytest.mark.parametrize("metric", ["accuracy", "gain"])
def test_a_grid_of_accuracies_or_gains_has_the_reason_of_an_empty_entry(table, metric):
    def failed(row):
        return replace(row, seeds=0, student_accuracy=None, gain=None, pgr=None, reason="it failed")

    rows = tuple(failed(row) if row.strong == "l" else row for row in table.rows)
    grid = pivot(replace(table, rows=rows), models={"sweep": ("xs", "s", "m", "l")})[0]
    (made,) = pivot_sheets.sheets([grid], metric=metric)
    assert [line[2] for line in made.lines] == ["– (1)", "– (1)"]
    assert made.notes == ("(1) it failed",)


def test_csv_and_json_keep_every_pair_and_digit(table):
    grids = pivot(table)
    lines = list(csv.DictReader(io.StringIO(pivot_sheets.to_csv(grids))))
    read = json.loads(pivot_sheets.to_json(grids))
    assert len(lines) == sum(len(grid["entries"]) for grid in read) == 7 + 3 + 1
    median = next(line for line in lines if not line["task"] and line["method"] == "naive")
    assert (median["weak"], float(median["pgr"])) == ("s", 0.625)
    assert read[0]["entries"][0]["pgr"] == 0.5


def test_the_pgr_table_is_available_as_latex(table):
    noted = tuple(replace(row, oracle_stopped_student=0.75) for row in table.rows)
    text = latex.to_latex(render.sheets(replace(table, rows=noted)))
    assert (
        r"a & s $\to$ l & naive & 50.0 & 62.5 & 75.0 & +12.5 & 0.50 & 1/1 & none & 75.0 (--) &  \\"
        in text
    )
    assert text.count(r"\begin{tabular}") == text.count(r"\end{tabular}") == 2
    assert text.count(r"\toprule") == text.count(r"\bottomrule") == 2
    assert "(1) ceiling does not beat the supervisor" in text
    assert "it saw ground truth, and is not the method's result" in text
    assert "2 without a gap" not in text
    assert "3 without a gap" in text
