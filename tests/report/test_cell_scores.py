from __future__ import annotations

import numpy as np
import pytest

from tests.report.stored import cells_of, write_run, write_split
from tests.store.builders import a_manifest
from w2s_ray.report import open_results
from w2s_ray.report.cell_scores import CELL_SCORES, cell_scores
from w2s_ray.store import Store, StoreError
from w2s_ray.store.table_cache import TableCache
from w2s_ray.store.tables import column_meanings


@pytest.fixture
def store(tmp_path) -> Store:
    """Two seeds of one cell; the second has no student."""
    store = Store.open(tmp_path)
    first, second = cells_of(tasks=("a",), methods=("naive",))
    store.manifests.write(a_manifest(first, second))
    write_split(store, "a")
    for run, right in ((first.supervisor, 0.6), (first.student, 0.7), (first.ceiling, 0.9)):
        write_run(store, run, task="a", right=right)
    return store


def rows(store: Store, **options) -> list[dict]:
    return cell_scores(store, **options).to_pylist()


def test_the_measures_of_a_cell_equal_a_count_of_its_examples(store):
    (row,) = rows(store)
    labels = store.splits.rows("split-a")["label"].to_numpy()
    p = {
        role: store.predictions(row[role])["probability"].to_numpy()
        for role in ("supervisor", "student", "ceiling")
    }
    right = {role: (of > 0.5) == (labels == 1) for role, of in p.items()}
    weak, student, ceiling = right.values()
    assert (row["task"], row["method"], row["seed"], row["n"]) == ("a", "naive", 0, 400)
    assert row["gain"] == pytest.approx(0.1)
    assert row["outperforming_ratio"] == pytest.approx(0.7 / 0.6)
    assert row["union_ceiling"] == pytest.approx(np.maximum(weak, ceiling).mean())
    correlation = np.cov(weak, ceiling, bias=True)[0, 1] / (weak.std() * ceiling.std())
    assert row["weak_ceiling_error_correlation"] == pytest.approx(correlation)
    same = (p["supervisor"] * p["ceiling"] + (1 - p["supervisor"]) * (1 - p["ceiling"])).mean()
    q = [0.1 + 0.8 * share for share in (0.6, 0.9)]  # mean probability of the truth
    expected = q[0] * q[1] + (1 - q[0]) * (1 - q[1])
    assert row["weak_ceiling_capa"] == pytest.approx((same - expected) / (1 - expected))
    for name, chosen in {
        "both_right": weak & ceiling,
        "only_weak_right": weak & ~ceiling,
        "only_ceiling_right": ~weak & ceiling,
        "both_wrong": ~weak & ~ceiling,
    }.items():
        assert row[f"n_{name}"] == chosen.sum() > 0
        assert row[f"student_{name}"] == pytest.approx(student[chosen].mean())


def test_a_sweep_has_the_rows_of_its_cells(store):
    assert rows(store, sweep="sweep") == rows(store)
    again = a_manifest(*cells_of(tasks=("a",), methods=("naive",), seeds=1), name="again")
    store.manifests.write(again)
    assert [row["sweep"] for row in rows(store)] == ["again", "sweep"]
    with pytest.raises(StoreError, match="no sweep 'other'"):
        cell_scores(store, sweep="other")


def test_computed_measures_are_cached(store):
    before = rows(store)
    for run in {before[0][role] for role in ("supervisor", "student", "ceiling")}:
        store.files.remove(f"runs/{run}/predictions.parquet")
    assert rows(store) == before


def test_measures_work_with_a_read_only_store(store, monkeypatch):
    def refused(*_):
        raise PermissionError("read-only")

    monkeypatch.setattr(TableCache, "write", refused)
    assert len(rows(store)) == 1


def test_a_cell_whose_runs_have_other_test_rows_or_no_predictions_has_no_row(store):
    first, second = cells_of(tasks=("a",), methods=("naive",))
    write_split(store, "b")
    write_run(store, second.supervisor, task="b", right=0.6)
    write_run(store, second.student, task="a", right=0.7)
    write_run(store, second.ceiling, task="a", right=0.9)
    assert [row["seed"] for row in rows(store)] == [0]
    store.cache.files.remove("catalog/derived/cell-scores-2.parquet")
    store.files.remove(f"runs/{first.ceiling}/predictions.parquet")
    assert rows(store) == []


def test_frames_and_sql_have_the_documented_columns(store):
    results = open_results(store.uri)
    assert list(results.cell_scores("sweep").columns) == CELL_SCORES.names
    found = results.query("select gain, misfit from cell_scores join scores on student = run_id")
    assert found["gain"].tolist() == pytest.approx([0.1])
    assert all(column_meanings(CELL_SCORES).values())
