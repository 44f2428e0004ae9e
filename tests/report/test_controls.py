"""Controls in the table and in comparisons: below the methods, in no median, and to be beaten."""

from __future__ import annotations

import csv
import io

import numpy as np
import pytest

from tests.report.stored import cells_of, write_sweep
from w2s_ray.report import comparison_sheets, latex, open_results, render
from w2s_ray.report.compare import compare
from w2s_ray.report.figures import figures_of
from w2s_ray.report.pivot import pivot
from w2s_ray.report.table import pgr_table
from w2s_ray.store import Store

TASKS = ("a", "b")
CHANCE, TRUTH = "control: shuffled labels", "control: ground truth of 1 row in 10"
RIGHT = {"naive": 0.62, "better": 0.80, CHANCE: 0.50, TRUTH: 0.70}


@pytest.fixture(scope="module")
def store(tmp_path_factory) -> Store:
    """Two methods and two controls, in the order of a plan: after each task's methods."""
    store = Store.open(tmp_path_factory.mktemp("controls"))
    cells = [
        cell
        for task in TASKS
        for names, control in ((("naive", "better"), False), ((CHANCE, TRUTH), True))
        for cell in cells_of(tasks=[task], methods=names, control=control)
    ]
    students = {(task, method): right for task in TASKS for method, right in RIGHT.items()}
    write_sweep(store, cells, students=students)
    return store


def test_controls_are_the_last_rows_and_have_a_column(store):
    rows = pgr_table(store).rows
    assert [row.control for row in rows] == [0] * 4 + [1] * 4
    assert {row.method for row in rows if row.control} == {CHANCE, TRUTH}
    results = open_results(store.uri)
    for table in ("pgr", "pgr_by_seed", "cells"):
        found = results.query(f"select distinct method from {table} where control::int = 1")
        assert set(found["method"]) == {CHANCE, TRUTH}, table
    lines = list(csv.DictReader(io.StringIO(render.to_csv(pgr_table(store)))))
    assert [line["control"] for line in lines] == ["0"] * 4 + ["1"] * 4


def test_controls_are_in_no_median_and_no_grid(store):
    table = pgr_table(store)
    assert [row.method for row in table.by_method] == ["naive", "better"]
    assert {grid.method for grid in pivot(table)} == {"naive", "better"}


def test_a_row_names_the_controls_that_it_does_not_beat(store):
    """Of 400 rows with two seeds each: .62 is not above .70, and .80 is above both."""
    for row in pgr_table(store).rows:
        if row.method == "naive":
            assert row.unbeaten is not None
            assert "ground truth of 1 row in 10 (-8.0 [" in row.unbeaten
        if row.control:
            assert row.unbeaten is None


def test_the_interval_of_the_difference_decides_and_not_the_difference(tmp_path):
    store = Store.open(tmp_path)
    cells = [
        cell
        for names, control in ((("naive", "better"), False), ((CHANCE,), True))
        for cell in cells_of(tasks=["a"], methods=names, control=control, seeds=1)
    ]
    right = {"naive": 0.51, "better": 0.80, CHANCE: 0.50}
    write_sweep(store, cells, students={("a", method): share for method, share in right.items()})
    rows = {row.method: row for row in pgr_table(store).rows}
    width = 1.96 * np.sqrt(2 * 0.25 / 400)  # two students with independent errors on 400 rows
    assert 0.01 < width < 0.30
    assert rows["naive"].unbeaten is not None
    assert rows["naive"].unbeaten.startswith("shuffled labels (+1.0 [-")
    assert rows["better"].unbeaten is None
    found = {one.method: one for one in compare(pgr_table(store), store, against="naive")}
    assert found["better"].unbeaten is None
    assert found["better"].against_unbeaten == rows["naive"].unbeaten
    assert found.keys() == {"better"}


def test_a_control_is_compared_with_only_if_it_is_named(store):
    table = pgr_table(store)
    assert {one.method for one in compare(table, store, against="naive")} == {"better"}
    every = compare(table, store, against=None)
    assert {(one.method, one.against) for one in every} == {
        ("better", "naive"),
        ("naive", "better"),
    }
    asked = compare(table, store, against=CHANCE)
    assert {(one.method, one.against) for one in asked} == {("naive", CHANCE), ("better", CHANCE)}


def test_every_format_has_the_controls_below_the_table(store):
    table = pgr_table(store)
    markdown = render.to_markdown(table)
    assert markdown.index("better") < markdown.index("Controls:") < markdown.index(CHANCE)
    sheets = render.sheets(table)
    assert [sheet.title.partition(",")[0] for sheet in sheets] == [
        "sweep: accuracy in %",
        "sweep: controls",
        "sweep: over tasks and pairs",
    ]
    assert [line[2] for line in sheets[1].lines] == [CHANCE, TRUTH] * 2
    assert "does not beat the controls" in " ".join(sheets[0].notes)
    assert "controls, accuracy" in latex.to_latex(sheets)
    by_seed = render.seed_sheets(table.by_seed)
    assert [sheet.title.partition(":")[0] for sheet in by_seed] == [
        "sweep, seed by seed",
        "sweep, controls, seed by seed",
    ]
    notes = " ".join(comparison_sheets.sheets(compare(table, store, against="naive"))[1].notes)
    assert "naive does not beat the controls" in notes


def test_figures_of_accuracy_have_the_controls_and_those_of_pgr_do_not(store):
    figures = figures_of(open_results(store.uri), "sweep")
    drawn = {row["method"] for row in figures["methods-accuracy"].rows}
    assert drawn == RIGHT.keys()
    for name in ("methods", "methods-pgr", "pgr-grid"):
        assert {row["method"] for row in figures[name].rows} == {"naive", "better"}
