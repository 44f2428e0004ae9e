from __future__ import annotations

import subprocess
import sys

import pandas as pd
import pytest

from tests.store.builders import (
    a_cell,
    a_manifest,
    a_record,
    some_metrics,
    some_predictions,
    some_rows,
)
from w2s_ray.report import Results, open_results
from w2s_ray.store import Store, StoreError


@pytest.fixture
def results(tmp_path) -> Results:
    store = Store.open(tmp_path)
    cell = a_cell()
    store.splits.write("split-1", some_rows(), {})
    figures = {cell.supervisor: 0.6, cell.student: 0.7, cell.ceiling: 0.8}
    for id_, accuracy in figures.items():
        store.write_run(a_record(id=id_, accuracy=accuracy), predictions=some_predictions())
    store.write_run(a_record(), metrics=some_metrics())
    store.write_trial("study", 0, {"state": "complete", "value": 1.0})
    store.manifests.write(a_manifest(cell))
    return open_results(tmp_path)


def test_every_result_is_a_frame(results):
    assert results.pgr()["pgr"].tolist() == [pytest.approx(0.5)]
    assert results.pgr()["oracle_stopped_student"].isna().all()
    assert results.pgr("sweep")["method"].tolist() == ["naive"]
    assert results.pgr_by_seed()["seed"].tolist() == [0]
    assert results.pgr_by_method()["median_pgr"].tolist() == [pytest.approx(0.5)]
    assert len(results.runs()) == 4
    assert set(results.metrics()["metric"]) == {"train/loss", "validation/accuracy"}
    assert len(results.metrics(a_record().id[:6])) == 3
    assert results.trials()["study"].tolist() == ["study"]
    student = a_cell().student
    assert student is not None
    predictions = results.predictions(student[:8])
    assert predictions[["example_id", "label"]].values.tolist() == [["a", 0], ["b", 1], ["c", 0]]
    assert results.table().rows[0].seeds == 1


def test_the_type_of_a_column_does_not_depend_on_its_rows(results, tmp_path):
    runs = results.query("select best_step, stops_on_oracle, model, test_accuracy from runs")
    empty = results.query(
        "select best_step, stops_on_oracle, model, test_accuracy from runs where id = ''"
    )
    assert list(runs.dtypes) == list(empty.dtypes)
    assert [str(kind) for kind in runs.dtypes] == ["Int64", "boolean", "string", "float64"]
    assert str(results.pgr()["seeds"].dtype) == "Int64"
    assert str(results.predictions(str(a_cell().student))["label"].dtype) == "Int8"
    assert results.query("select cast(null as bigint) n")["n"].isna().tolist() == [True]


def test_pgr_is_available_in_sql(results):
    frame = results.query("select method, pgr, student_accuracy from pgr")
    assert isinstance(frame, pd.DataFrame)
    assert frame.values.tolist() == [["naive", pytest.approx(0.5), pytest.approx(0.7)]]
    assert results.query(
        "select oracle_stopped_student s, oracle_stopped_pgr p from pgr"
    ).shape == (
        1,
        2,
    )
    assert results.query("select count(*) c from pgr_by_seed join pgr_by_method using (method)")[
        "c"
    ].tolist() == [1]


def test_the_error_for_an_unknown_run_has_its_id(results):
    with pytest.raises(StoreError, match="no run 'zz'"):
        results.predictions("zz")


def test_missing_results_raise_an_error(tmp_path):
    with pytest.raises(StoreError, match="there are no results at"):
        open_results(tmp_path / "nothing")


def test_a_pgr_table_and_pgr_in_sql_import_nothing_heavy(results):
    code = f"""
import sys
from w2s_ray.report import pgr_table, render, sql_tables
from w2s_ray.store import Store
store = Store.open({results.store.uri!r})
assert render.to_json(pgr_table(store)) and render.to_markdown(pgr_table(store))
assert "duckdb" not in sys.modules and "pyarrow.dataset" not in sys.modules
from w2s_ray.store.sql_query import query
assert query(store, "from pgr", extra_tables=sql_tables(store)).num_rows == 1
heavy = ("torch", "ray", "pandas", "scipy", "pyarrow.dataset")
print([name for name in heavy if name in sys.modules])
"""
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ran.stdout.strip() == "[]"
