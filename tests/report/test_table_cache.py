"""A cached table is valid while its cells, its runs and the catalog are unchanged."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pyarrow as pa
import pytest

from tests.report.stored import cells_of, write_run, write_split, write_sweep
from tests.store.builders import LATE, a_manifest, a_record
from w2s_ray.report import pgr_table, savings, table
from w2s_ray.report.table_cache import SweepCache
from w2s_ray.report.table_rows import MethodRow, Missing, Row
from w2s_ray.store import Store
from w2s_ray.store.compaction import compact

ROWS = [(task, method) for task in ("a", "b") for method in ("naive", "confidence")]
CELLS = cells_of(tasks=["a", "b"], methods=["naive", "confidence"])


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """A compacted store that lacks the students of one row."""
    made = Store.open(tmp_path / "store")
    students = {("a", "naive"): 0.7, ("a", "confidence"): 0.8, ("b", "naive"): 0.65}
    write_sweep(made, CELLS, students=students)
    compact(made.files)
    return made


@pytest.fixture
def computed(monkeypatch) -> list[str]:
    """Sweeps whose rows were computed."""
    names: list[str] = []
    tabulate = table.tabulate

    def noted(*given, sweep: str, **more):
        names.append(sweep)
        return tabulate(*given, sweep=sweep, **more)

    monkeypatch.setattr(table, "tabulate", noted)
    return names


def test_a_table_is_computed_once_and_then_cached(store, computed):
    first = pgr_table(store)
    again = pgr_table(store)
    assert computed == ["sweep"]
    assert (again.rows, again.by_method) == (first.rows, first.by_method)
    assert again.rows[-1].missing
    assert again.by_seed == first.by_seed, (
        "rows of seeds are not cached, but computed at their first use"
    )
    assert computed == ["sweep", "sweep"]


def test_a_new_run_invalidates_the_cached_table(store, computed):
    assert pgr_table(store).rows[-1].pgr is None
    for cell in CELLS[-2:]:
        write_run(store, str(cell.student), task="b", right=0.8)
    assert pgr_table(store).rows[-1].pgr == pytest.approx(2 / 3)
    assert pgr_table(store).rows[-1].pgr == pytest.approx(2 / 3)
    assert computed == ["sweep"] * 3, "runs that the catalog doesn't hold yet are looked at"
    compact(store.files)
    kept = [pgr_table(store).rows for _ in range(2)]
    assert computed == ["sweep"] * 4
    assert kept[0] == kept[1]
    assert kept[0][-1].pgr == pytest.approx(2 / 3)


def test_another_attempt_at_a_failed_run_invalidates_the_cached_table(store):
    missing = str(CELLS[-1].student)
    store.write_attempt(a_record(id=missing, status="failed", reason="diverged"))
    compact(store.files)
    assert [pgr_table(store).rows[-1].missing[1].why for _ in range(2)] == [
        "student failed: diverged"
    ] * 2
    store.write_attempt(a_record(id=missing, status="failed", reason="out of memory"))
    assert pgr_table(store).rows[-1].missing[1].why == "student failed: out of memory"


def test_changes_of_other_runs_keep_the_cached_table_valid(store, computed):
    store.write_attempt(a_record(id="other", status="failed", reason="diverged"))
    compact(store.files)
    first = pgr_table(store).rows
    store.write_attempt(a_record(id="other", status="failed", reason="out of memory"))
    write_run(store, "another", task="a", right=0.5)
    assert pgr_table(store).rows == first
    assert computed == ["sweep"]


def test_other_cells_have_a_separate_cached_table(store, computed):
    pgr_table(store)
    store.manifests.write(a_manifest(*CELLS[:4], created_at=LATE))
    assert len(pgr_table(store).rows) == 2
    assert computed == ["sweep", "sweep"]


def test_equal_cells_of_two_sweeps_share_a_cached_table(store, computed):
    pgr_table(store, sweep="sweep")
    store.manifests.write(a_manifest(*CELLS, name="twin"))
    twin = pgr_table(store, sweep="twin")
    assert computed == ["sweep"]
    assert {row.sweep for row in (*twin.rows, *twin.by_method)} == {"twin"}


def test_a_restored_split_gives_intervals_again(store, tmp_path):
    split = tmp_path / "store" / "splits" / "split-a"
    split.rename(tmp_path / "aside")
    lacking = pgr_table(store).rows
    assert pgr_table(store).rows == lacking
    assert lacking[0].no_intervals
    (tmp_path / "aside").rename(split)
    assert pgr_table(store).rows[0].pgr_low is not None


def test_a_store_without_a_catalog_caches_nothing(tmp_path):
    made = Store.open(tmp_path / "store")
    write_sweep(made, CELLS, students={})
    pgr_table(made)
    savings(made, sweep="sweep")
    assert made.cache.read("rows") is None
    assert made.cache.read("savings") is None


def aged(store: Store, folder: Path) -> None:
    """A catalog of runs that have lain there for a while, so that it is trusted without a look."""
    os.utime(folder / "store" / "runs", (1e9, 1e9))
    compact(store.files)


@pytest.mark.parametrize("medians_only", [False, True])
def test_tables_with_temporarily_missing_intervals_are_not_cached(tmp_path, medians_only):
    made = Store.open(tmp_path / "store")
    write_sweep(made, CELLS, students=dict.fromkeys(ROWS, 0.7))
    if medians_only:  # the rows' intervals are known; that of a median over other rows is not
        pgr_table(made)
        made.manifests.write(a_manifest(*CELLS[:4], created_at=LATE))
    aged(made, tmp_path)
    file = tmp_path / "store" / "runs" / CELLS[0].supervisor / "predictions.parquet"
    file.rename(tmp_path / "aside")
    os.utime(tmp_path / "store" / "runs", (1e9, 1e9))
    lacking = pgr_table(made)
    assert lacking.by_method[0].median_low is None
    (tmp_path / "aside").rename(file)
    found = pgr_table(made)
    assert found.rows[0].pgr_low is not None
    assert found.by_method[0].median_low is not None


def test_a_cached_table_with_other_columns_is_computed_again(store, computed, monkeypatch):
    first = pgr_table(store).rows
    kept = SweepCache(store.snapshot(), "rows", shape=(Row, Missing, MethodRow))
    assert kept.find(CELLS, dict) is not None
    fewer = SweepCache(store.snapshot(), "rows", shape=(Row, Missing))
    assert fewer.find(CELLS, dict) is None
    broken = store.cache.read("rows")
    assert broken is not None
    at = broken.column_names.index("answer")
    store.cache.write("rows", broken.set_column(at, "answer", pa.array(["{"])))
    assert pgr_table(store).rows == first
    assert computed == ["sweep", "sweep"]


@pytest.mark.parametrize("lost", ["deleted", "damaged"])
def test_a_lost_or_damaged_cache_is_computed_again(store, computed, tmp_path, lost):
    first = pgr_table(store).rows
    kept = tmp_path / "store" / "catalog" / "derived" / "rows.parquet"
    kept.unlink() if lost == "deleted" else kept.write_bytes(b"no Parquet")
    assert pgr_table(store).rows == first
    assert computed == ["sweep", "sweep"]


def test_savings_are_cached_too(store, monkeypatch):
    found = savings(store, sweep="sweep")
    monkeypatch.setattr(sys.modules[savings.__module__], "_compute", None)
    assert savings(store, sweep="sweep") == found


def test_cached_results_of_an_older_catalog_are_dropped(store):
    def keep(cells) -> None:
        answers = SweepCache(store.snapshot(), "rows", shape=())
        answers.add(cells, {"n": len(cells)}, runs=["x"])
        answers.save()

    keep(CELLS[:1])
    keep(CELLS[:2])
    kept = store.cache.read("rows")
    assert kept is not None
    assert kept.num_rows == 2
    write_split(store, "c")
    write_run(store, "new", task="c", right=0.5)
    compact(store.files)
    keep(CELLS[:1])
    kept = store.cache.read("rows")
    assert kept is not None
    assert kept.num_rows == 1
