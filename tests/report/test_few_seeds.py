"""What two or three seeds can show, and how many would be enough."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from tests.report.stored import cells_of, write_run, write_split
from tests.store.builders import a_manifest
from w2s_ray.report import metric, render
from w2s_ray.report.seeds_needed import few_seeds_warning
from w2s_ray.report.statistics.few_seeds import enough_seeds, spreads_needed
from w2s_ray.report.table import pgr_table
from w2s_ray.report.table_rows import PgrTable, Row
from w2s_ray.store import Store


@pytest.mark.parametrize("seeds", [2, 3, 5, 30])
def test_a_gap_of_exactly_the_needed_spreads_has_p_005(seeds):
    random = np.random.default_rng(seeds)
    values = random.normal(size=seeds)
    values = (values - values.mean()) / values.std(ddof=1) + spreads_needed(seeds)
    assert stats.ttest_1samp(values, 0).pvalue == pytest.approx(0.05)


def test_one_seed_can_tell_no_gap_from_0():
    assert spreads_needed(1) == math.inf


@given(
    gap=st.floats(0.01, 0.3),
    sd=st.floats(0.001, 0.3),
    rows=st.floats(0.0, 0.05),
    seeds=st.integers(2, 6),
)
def test_the_interval_lies_above_0_at_that_many_seeds_and_not_at_one_less(gap, sd, rows, seeds):
    def half(count: int) -> float:
        return math.hypot(stats.t.ppf(0.975, count - 1) * sd / math.sqrt(count), rows)

    found = enough_seeds(gap=gap, sd=sd, low=gap - half(seeds), high=gap + half(seeds), seeds=seeds)
    if found is None:
        assert half(100) >= gap * (1 - 1e-6)
    else:
        assert half(found) < gap * (1 + 1e-6)
        assert found == 2 or half(found - 1) >= gap * (1 - 1e-6)


@pytest.fixture
def store(tmp_path) -> Store:
    return Store.open(tmp_path)


def stored_row(store: Store, ceilings: list[float]) -> Row:
    """The row of a sweep with one seed for each ceiling; supervisors 60 %, students 65 %."""
    cells = cells_of(tasks=["t"], methods=["naive"], seeds=len(ceilings))
    store.manifests.write(a_manifest(*cells, name="sweep"))
    write_split(store, "t")
    for cell, ceiling in zip(cells, ceilings, strict=True):
        runs = (cell.supervisor, cell.student, cell.ceiling)
        for id_, right in zip(runs, (0.6, 0.65, ceiling), strict=True):
            write_run(store, str(id_), task="t", right=right)
    (row,) = pgr_table(store, sweep="sweep").rows
    return row


def test_two_seeds_leave_an_estimate_and_the_number_of_seeds_that_would_be_enough(store):
    row = stored_row(store, [0.80, 0.86])
    assert row.pgr is None
    assert row.gap_low is not None
    assert row.gap_low < 0
    assert row.pgr_estimate == pytest.approx(0.05 / 0.23)
    assert row.enough_seeds in (3, 4)
    assert metric.text(row, "pgr") == "≈0.22"
    shown = render.to_markdown(PgrTable((row,), (), ()))
    assert "≈ is an estimate from 2 seeds, without an interval" in shown
    assert f"about {row.enough_seeds} seeds would be enough" in shown


def test_more_seeds_leave_no_estimate(store):
    row = stored_row(store, [0.35, 0.95, 0.4, 0.95, 0.6])
    assert (row.pgr, row.pgr_estimate) == (None, None)


def test_a_gap_within_the_noise_of_the_test_rows_needs_rows_and_not_seeds(store):
    row = stored_row(store, [0.6025, 0.6025])
    assert (row.enough_seeds, row.pgr_estimate) == (None, None)  # below 2 points
    wide = stored_row(Store.open(store.uri + "-wide"), [0.635, 0.635])
    assert (wide.pgr, wide.enough_seeds) == (None, None)
    assert "more test rows may be" in render.to_markdown(PgrTable((wide,), (), ()))


def test_the_interval_of_one_seed_says_so_in_its_cell(store):
    row = stored_row(store, [0.9])
    for name in metric.METRICS:
        assert metric.text(row, name).endswith("; 1 seed]")


def test_estimates_are_in_no_median(store):
    row = stored_row(store, [0.80, 0.86])
    (method,) = pgr_table(store, sweep="sweep").by_method
    assert row.pgr_estimate is not None
    assert (method.median_pgr, method.cells) == (None, 0)


def test_a_plan_warns_below_three_seeds(store):
    assert few_seeds_warning(3) is None
    assert "2: 9.0; 3: 2.5; 5: 1.2" in str(few_seeds_warning(1))
    row = stored_row(store, [0.80, 0.86])
    assert str(few_seeds_warning(2, [row])) == (
        f"2 seeds: by the results so far, {row.enough_seeds} would be enough for the gaps of 1 of "
        "1 tasks and pairs"
    )
    lost = few_seeds_warning(2, [row, replace(row, task="other", enough_seeds=None)])
    assert str(lost).endswith("1 of 2 tasks and pairs; 1 have a gap that more seeds would not show")
