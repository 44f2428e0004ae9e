from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from tests.report.stored import EXAMPLES, cells_of, write_sweep
from tests.store.builders import a_cell, a_manifest, a_recipe, a_record
from w2s_ray.report.statistics import DRAWS, Interval, interval, median_interval
from w2s_ray.report.table import PgrTable, pgr_table
from w2s_ray.store import Store

FIGURES = ("weak", "student", "ceiling", "gap", "pgr")


@pytest.fixture
def store(tmp_path) -> Store:
    """Two tasks, two methods, two seeds."""
    store = Store.open(tmp_path)
    cells = cells_of(tasks=("a", "b"), methods=("good", "bad"))
    rates = {("a", "good"): 0.85, ("b", "good"): 0.8, ("a", "bad"): 0.65, ("b", "bad"): 0.7}
    write_sweep(store, cells, students=rates)
    return store


def forget(store: Store) -> None:
    """Remove what was kept to save time."""
    for path in store.files.find("catalog"):
        store.files.remove(path)


def remove_predictions(store: Store) -> None:
    for path in store.files.find("runs"):
        if path.endswith("predictions.parquet"):
            store.files.remove(path)


def test_every_row_has_bounds_around_its_figures(store):
    table = pgr_table(store)
    for row in table.rows:
        figures = (row.weak_accuracy, row.student_accuracy, row.ceiling_accuracy, 0.3, row.pgr)
        for figure, value in zip(FIGURES, figures, strict=True):
            low, high = getattr(row, f"{figure}_low"), getattr(row, f"{figure}_high")
            assert low < value < high
        assert (row.intervals_over, row.no_intervals) == ("seeds and examples", None)
    for seed in table.by_seed:
        assert seed.student_low < seed.student_accuracy < seed.student_high
        assert seed.pgr_low < seed.pgr < seed.pgr_high
    for method in table.by_method:
        assert method.median_low < method.median_pgr < method.median_high


def test_computed_intervals_are_cached(store):
    first = pgr_table(store)
    remove_predictions(store)
    assert pgr_table(store) == first
    forget(store)
    rows = pgr_table(store).rows
    assert {row.pgr_low for row in rows} == {None}
    assert all("has no predictions" in row.no_intervals for row in rows)


def test_recomputed_intervals_are_equal(store):
    first = pgr_table(store)
    forget(store)
    assert pgr_table(store) == first


def test_a_read_only_store_has_intervals(store):
    kept = pgr_table(store)
    forget(store)
    folder = Path(store.uri) / "catalog"
    for part in (folder / "derived", folder):
        if part.exists():
            part.rmdir()
    folder.write_text("no folder can be made here")
    assert pgr_table(store) == kept
    assert folder.is_file()


def test_only_new_intervals_are_computed(store):
    before = {row.method: row for row in pgr_table(store).rows}
    remove_predictions(store)
    more = cells_of(tasks=("c",), methods=("good",))
    write_sweep(store, more, students={("c", "good"): 0.8}, name="other")
    rows = pgr_table(store).rows
    assert all(row.pgr_low is not None for row in rows)
    assert before["good"] in rows


def test_a_single_seed_has_an_interval_over_examples(tmp_path):
    store = Store.open(tmp_path)
    write_sweep(store, cells_of(tasks=("a",), methods=("m",), seeds=1), students={("a", "m"): 0.8})
    table = pgr_table(store)
    (row,), (seed,) = table.rows, table.by_seed
    assert row.intervals_over == "examples"
    assert (row.student_low, row.student_high) == (seed.student_low, seed.student_high)
    assert (row.pgr_low, row.pgr_high) == (seed.pgr_low, seed.pgr_high)
    # A share of 0.8 of 400: 1.96 standard errors are 0.039.
    assert row.student_low == pytest.approx(0.8 - 0.039, abs=0.005)
    assert row.student_high == pytest.approx(0.8 + 0.039, abs=0.005)


def test_a_row_whose_gap_interval_has_0_has_no_pgr_and_is_in_no_median(tmp_path):
    store = Store.open(tmp_path)
    rates = {("a", "m"): 0.8, ("b", "m"): 0.7}
    write_sweep(store, cells_of(tasks=("a",), methods=("m",), seeds=1), students=rates)
    near = cells_of(tasks=("b",), methods=("m",), seeds=1)
    write_sweep(store, near, students=rates, weak=0.68, ceiling=0.71, name="near")
    both = a_manifest(*cells_of(tasks=("a", "b"), methods=("m",), seeds=1), name="both")
    store.manifests.write(both)
    table = pgr_table(store, sweep="both")
    found, none = table.rows
    assert none.pgr is None
    assert none.pgr_low is None
    assert none.gap_low < 0 < none.gap_high
    assert none.reason == (
        "ceiling does not beat the supervisor for certain "
        f"(gap +0.030, 95 % interval {none.gap_low:+.3f} to {none.gap_high:+.3f})"
    )
    (method,) = table.by_method
    assert (method.cells, method.undefined, method.median_pgr) == (1, 1, found.pgr)
    assert (method.median_low, method.median_high) == (found.pgr_low, found.pgr_high)
    assert table.by_seed[1].pgr is None


@pytest.fixture
def single(tmp_path) -> Store:
    return Store.open(tmp_path / "single")


def write_single(
    store: Store,
    *,
    test_ids=("x", "y", "z"),
    predicted=("x", "y", "z"),
    accuracy: float = 1.0,
    split: str = "split-1",
    **runs,
) -> PgrTable:
    """A table of one cell, whose runs get all of three test rows right."""
    label = {"x": 0, "y": 1, "z": 0}
    rows = {
        "example_id": list(test_ids),
        "part": ["test"] * len(test_ids),
        "text": list(test_ids),
        "label": pa.array([label[id_] for id_ in test_ids], pa.int8()),
        "group": pa.nulls(len(test_ids), pa.string()),
    }
    store.splits.write("split-1", pa.table(rows), {})
    predictions = pa.table(
        {
            "example_id": list(predicted),
            "part": ["test"] * len(predicted),
            "probability": [float(label[id_]) for id_ in predicted],
        }
    )
    cell = a_cell()
    for id_ in (cell.supervisor, cell.student, cell.ceiling):
        record = a_record(id=id_, accuracy=accuracy, recipe=a_recipe(split=split))
        store.write_run(record, predictions=runs.get("table", predictions))
    store.manifests.write(a_manifest(cell))
    return pgr_table(store)


def test_predictions_are_sorted_in_the_order_of_the_test_rows(single):
    (row,) = write_single(single, predicted=("z", "x", "y")).rows
    assert (row.student_low, row.student_high, row.no_intervals) == (1.0, 1.0, None)


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"table": None}, "has no predictions"),
        ({"predicted": ("x", "y")}, "has no prediction for some test rows"),
        ({"accuracy": 0.5}, "has accuracy 1.0000 by its predictions, not 0.5"),
        ({"split": "split-2"}, "split split-2 is not in the store"),
        ({"test_ids": ()}, "split split-1 has no test rows"),
    ],
)
def test_runs_with_unusable_predictions_have_a_reason_instead_of_intervals(single, changes, why):
    table = write_single(single, **changes)
    (row,), (seed,), (method,) = table.rows, table.by_seed, table.by_method
    assert row.no_intervals is not None
    assert row.no_intervals.endswith(why)
    assert seed.no_intervals == row.no_intervals
    assert row.intervals_over is None
    assert row.weak_accuracy is not None
    assert {getattr(row, f"{figure}_low") for figure in FIGURES} == {None}
    assert (method.median_low, method.median_high) == (None, None)


def test_runs_on_other_test_rows_are_not_paired(single):
    cell = a_cell()
    write_single(single)
    record = a_record(id=cell.ceiling, recipe=a_recipe(split="split-2"), accuracy=1.0)
    record = record.model_copy(update={"bytes": {"predictions.parquet": 1}})
    single.files.write(f"runs/{cell.ceiling}/record.json", record.to_json())
    forget(single)
    (row,) = pgr_table(single).rows
    assert row.no_intervals == "its runs were measured on different test rows"


def test_related_rows_widen_an_interval(tmp_path):
    """Ten copies of forty examples are worth forty examples."""
    widths = {}
    for name, copies in (("alone", None), ("related", 10)):
        store = Store.open(tmp_path / name)
        cells = cells_of(tasks=("a",), methods=("m",), seeds=1)
        group = [None if copies is None else f"g{i // copies}" for i in range(EXAMPLES)]
        right_N = np.arange(EXAMPLES) < 0.75 * EXAMPLES
        ids = [f"a-{i}" for i in range(EXAMPLES)]
        rows = {
            "example_id": ids,
            "part": ["test"] * EXAMPLES,
            "text": ids,
            "label": pa.array([1] * EXAMPLES, pa.int8()),
            "group": pa.array(group, pa.string()),
        }
        store.splits.write("split-a", pa.table(rows), {})
        columns = {"example_id": ids, "part": rows["part"], "probability": right_N.astype(float)}
        for id_ in (cells[0].supervisor, cells[0].student, cells[0].ceiling):
            record = a_record(id=id_, accuracy=0.75, recipe=a_recipe(split="split-a"))
            store.write_run(record, predictions=pa.table(columns))
        store.manifests.write(a_manifest(*cells))
        (row,) = pgr_table(store).rows
        widths[name] = row.student_high - row.student_low
    assert widths["related"] == pytest.approx(math.sqrt(10) * widths["alone"], rel=0.15)


def test_a_median_uses_joint_draws_of_its_rows():
    chance = np.random.default_rng(0)
    draws = chance.normal(0.5, 0.1, DRAWS)
    together = median_interval(np.stack([draws, draws, draws]))
    assert together == interval(draws)
    apart = median_interval(chance.normal(0.5, 0.1, (3, DRAWS)))
    assert apart is not None
    assert apart.high - apart.low < 0.8 * (together.high - together.low)


def test_a_median_between_infinities_has_no_interval():
    draws = np.random.default_rng(0).normal(0.5, 0.1, (2, DRAWS))
    draws[0, :30], draws[1, 30:60] = np.inf, np.inf
    assert median_interval(draws) is None
    draws[1, :15] = -np.inf  # in 15 draws the median could be anything
    draws[0, 15:30], draws[1, 30:60] = 0.5, 0.5
    found = median_interval(draws)
    assert isinstance(found, Interval)
    assert math.isfinite(found.low)


@pytest.mark.parametrize("seeds", [1, 2])
@pytest.mark.parametrize(
    ("weak", "student", "ceiling", "value"),
    [
        (1.0, 1.0, 1.0, None),
        (0.0, 0.0, 0.0, None),
        (0.9, 0.5, 0.1, None),
        (0.5, 1.0, 1.0, 1.0),
        (0.0, 0.5, 1.0, 0.5),
        (0.8, 0.1, 0.9, -7.0),
    ],
)
def test_every_row_has_a_pgr_or_a_reason(tmp_path, seeds, weak, student, ceiling, value):
    store = Store.open(tmp_path)
    cells = cells_of(tasks=("a",), methods=("m",), seeds=seeds)
    write_sweep(store, cells, students={("a", "m"): student}, weak=weak, ceiling=ceiling)
    table = pgr_table(store)
    (row,), (method,) = table.rows, table.by_method
    if value is None:
        assert row.reason is not None
        assert "ceiling does not beat the supervisor" in row.reason
        assert (row.pgr, row.pgr_low, method.median_pgr) == (None, None, None)
        assert method.undefined == 1
    else:
        assert row.pgr == method.median_pgr == pytest.approx(value)
        assert row.pgr_low <= row.pgr <= row.pgr_high
    assert row.weak_low <= weak <= row.weak_high
