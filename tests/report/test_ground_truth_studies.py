"""Reports of sweeps whose supervisors or ceilings were searched: cost, figures, page, state."""

from __future__ import annotations

import pytest

from tests.report.figures.stores import Sweep, make_store
from tests.store.builders import LATE
from w2s_ray.cli.store_view import store_status
from w2s_ray.report import open_results
from w2s_ray.report.bill import bill
from w2s_ray.report.figures.figure_rows import load_figure_data
from w2s_ray.report.figures.search import trials
from w2s_ray.report.page import page_content
from w2s_ray.report.table import pgr_table
from w2s_ray.status.spending import SpendingReader
from w2s_ray.store import Cell, Manifest, Store

SWEEP = Sweep(searched="confidence")


@pytest.fixture(scope="module")
def store(tmp_path_factory) -> Store:
    """The study of a method in the builder's store is the supervisor's, and no method has one."""
    store = make_store(tmp_path_factory.mktemp("store"), SWEEP)
    cells = store.manifests.latest(SWEEP.name).cells
    study = next(cell.study for cell in cells if cell.study)
    changes = {"study": None, "supervisor_study": study, "objective": "none"}
    first, *rest = (Cell(**{**cell.model_dump(), **changes}) for cell in cells)
    pending = first.model_copy(update={"supervisor": None, "student": None, "seed": 7})
    write(store, (first, *rest, pending))
    return store


def write(store: Store, cells: tuple[Cell, ...]) -> None:
    store.manifests.write(
        Manifest(name=SWEEP.name, sweep_text="name: sweep\n", created_at=LATE, cells=cells)
    )


def test_its_trials_are_drawn_as_those_of_the_supervisor(store):
    rows = trials(load_figure_data(open_results(store.uri), SWEEP.name))
    assert {row["method"] for row in rows} == {"supervisor"}
    assert {row["panel"].rpartition(" ")[0] for row in rows} == {"supervisor small on sciq"}
    assert len(rows) == 6


def test_the_page_lists_the_study_and_its_trials(store):
    (sweep,) = page_content(open_results(store.uri))["sweeps"]
    study = store.manifests.latest(SWEEP.name).cells[0].supervisor_study
    assert {run["id"]: run["roles"] for run in sweep["runs"]}[study] == ["study"]


def test_every_cell_that_uses_the_study_counts_its_cost(store):
    cells = store.manifests.latest(SWEEP.name).cells
    study = cells[0].supervisor_study or ""
    runs = {run: "fit" for cell in cells for run in cell.runs}
    spending = SpendingReader(store).of(runs, {study: "supervisor"})
    costs = bill(cells, pgr_table(store), spending).cells
    of_trials = spending.of_studies[study]
    for cost in costs:
        of_place = [c for c in cells if (c.strong, c.method) == (cost.strong, cost.method)]
        fits = {run for cell in of_place for run in cell.runs}
        alone = sum(spending.of_runs[run] for run in fits)
        assert cost.cell_seconds == pytest.approx(alone + of_trials)


def test_a_cell_without_its_supervisor_is_incomplete_and_the_table_says_why(store):
    cells = store.manifests.latest(SWEEP.name).cells
    counts = store_status(store)["sweeps"][SWEEP.name]
    assert counts == {"cells": len(cells), "complete": len(cells) - 1}
    row = pgr_table(store).rows[0]
    assert (row.seeds, row.of_seeds) == (2, 3)
    assert [each.seed for each in row.missing] == [7]
    assert "supervisor not run" in row.missing[0].why
