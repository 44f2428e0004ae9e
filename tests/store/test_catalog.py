from __future__ import annotations

import subprocess
import sys
import uuid

import pyarrow as pa
import pytest

from tests.store.builders import (
    a_cell,
    a_manifest,
    a_recipe,
    a_record,
    an_id,
    some_metrics,
    some_predictions,
    some_rows,
)
from w2s_ray.store import Store, StoreError
from w2s_ray.store.catalog import QueryError, query


def filled(store: Store) -> Store:
    store.write_split("split-1", some_rows(), {"task": "sciq"})
    for name in ("run", "two"):
        store.write_run(a_record(name), metrics=some_metrics(name), predictions=some_predictions())
    store.write_attempt(a_record("bad", accuracy=None, status="failed", reason="out of memory"))
    study = a_record("study", kind="study", recipe={"space": {}}, accuracy=None)
    store.write_run(study)
    store.write_trial(
        study.id,
        0,
        {"settings": {"loss.alpha": 0.5}, "state": "complete", "value": 0.7, "fits": ["run"]},
    )
    store.write_manifest(a_manifest(a_cell(), a_cell(seed=1)))
    return store


@pytest.fixture
def store(tmp_path) -> Store:
    return filled(Store.open(tmp_path / "results"))


def rows(store: Store, sql: str, **options) -> list[tuple]:
    table = query(store, sql, **options)
    return list(zip(*(column.to_pylist() for column in table.columns), strict=True))


def test_runs_hold_every_run_as_it_stands(store):
    found = rows(store, "select id, status, reason, test_accuracy from runs order by status, id")
    done = sorted([(an_id("run"), 0.75), (an_id("two"), 0.75), (an_id("study"), None)])
    assert found == [
        *((i, "done", None, a) for i, a in done),
        (an_id("bad"), "failed", "out of memory", None),
    ]


def test_runs_have_their_recipe_flat_and_as_json(store):
    sql = f"""select task, model, labels, loss, seed, lr, tuning, steps,
              recipe->>'$.training.epochs', summary->>'steps' from runs where id = '{an_id("run")}'
           """
    assert rows(store, sql) == [
        ("sciq", "tiny", "ground_truth", "xent", 0, 1e-4, "full", 10, "2", "10")
    ]


def test_an_odd_figure_hides_no_other_run(store):
    store.write_run(a_record("odd", recipe=a_recipe(seed="seven"), accuracy=None))
    assert rows(store, "select count(*), count(seed) from runs") == [(5, 3)]


def test_predictions_carry_run_and_label(store):
    sql = f"""select run_id, example_id, part, probability, label from predictions
              where run_id = '{an_id("two")}' order by example_id"""
    id_ = an_id("two")
    assert rows(store, sql) == [
        (id_, "a", "validation", 0.1, 0),
        (id_, "b", "test", 0.6, 1),
        (id_, "c", "test", 1.0, 0),
    ]


def test_predictions_without_a_kept_split_have_no_label(tmp_path):
    store = Store.open(tmp_path)
    store.write_run(a_record(), predictions=some_predictions())
    assert rows(store, "select distinct label from predictions") == [(None,)]


def test_metrics_trials_cells_and_splits(store):
    assert rows(store, "select count(*) from metrics where metric = 'train/loss'") == [(4,)]
    assert rows(
        store,
        "select number, state, value, settings->>'$.\"loss.alpha\"', fits, "
        "trial->>'state' from trials",
    ) == [(0, "complete", 0.7, "0.5", ["run"], "complete")]
    assert rows(store, "select sweep, seed, searched from cells order by seed") == [
        ("sweep", 0, False),
        ("sweep", 1, False),
    ]
    assert rows(store, "select split, label, \"group\" from splits where example_id = 'a'") == [
        ("split-1", 0, "g")
    ]


@pytest.mark.parametrize("view", ["runs", "cells", "trials", "metrics", "predictions", "splits"])
def test_an_empty_store_has_every_view(tmp_path, view):
    store = Store.open(tmp_path)
    store.check_writable()
    assert rows(store, f"select * from {view}") == []


def test_no_store_is_said_to_be_none(tmp_path):
    with pytest.raises(StoreError, match="there are no results at"):
        query(Store.open(tmp_path / "nothing"), "from runs")


def test_extra_tables_are_made_only_when_named(store):
    made = []

    def pgr() -> pa.Table:
        made.append(1)
        return pa.table({"value": [0.5]})

    assert rows(store, "select count(*) from runs", extra_tables={"pgr": pgr}) == [(4,)]
    assert made == []
    assert rows(store, "select value from PGR", extra_tables={"pgr": pgr}) == [(0.5,)]
    assert made == [1]


def test_unnamed_views_are_not_read(store, tmp_path):
    (tmp_path / "results" / "runs" / an_id("run") / "metrics.parquet").write_text("broken")
    assert rows(store, "select count(*) from runs") == [(4,)]
    with pytest.raises(QueryError, match="Parquet"):
        query(store, "select sum(value) from metrics")


@pytest.mark.parametrize(
    "sql",
    [
        "with a as (select * from runs) select id from a join metrics m on m.run_id = a.id",
        "from runs select id",
        "describe runs",
        "summarize runs",
        "show tables",
        "show runs",
        "explain select * from runs",
        "values (1)",
        "-- note\nselect 1;",
        "select id from runs join metrics on id = run_id",
        "pivot runs on status in ('done') using count(*)",
        "select * from query_table('runs')",
    ],
)
def test_what_reads_is_allowed(store, sql):
    assert query(store, sql).num_columns > 0


def test_limit_bounds_the_rows(store):
    assert query(store, "select * from runs", limit=2).num_rows == 2
    assert query(store, "show tables", limit=1).num_rows == 1


FORBIDDEN = [
    "copy runs to '{out}'",
    "with x as (copy (select 1) to '{out}') select * from x",
    "explain analyze copy (select 1) to '{out}'",
    "attach '{out}' as other",
    "install httpfs",
    "load httpfs",
    "select * from read_csv('/etc/passwd')",
    "select * from read_text('/etc/passwd')",
    "select * from read_parquet('{store}/runs/*/metrics.parquet')",
    "select * from '{store}/store.json'",
    "select * from glob('/etc/*')",
    "select * from sniff_csv('/etc/passwd')",
    "create table x (a int)",
    "insert into runs values (1)",
    "delete from runs",
    "update runs set id = 'x'",
    "drop view runs",
    "pragma database_list",
    "set enable_external_access = true",
    "reset enable_external_access",
    "export database '{out}'",
    "import database '{out}'",
    "call duckdb_settings()",
    "use memory",
    "vacuum",
    "prepare x as select 1",
    "select 1; select 2",
    "select 1; copy runs to '{out}'",
    "select * from secret_variable",
    "",
    "selec 1",
]


@pytest.mark.parametrize("sql", FORBIDDEN)
def test_what_does_more_than_read_is_refused_in_one_line(store, tmp_path, sql):
    secret_variable = pa.table({"a": [1]})  # DuckDB must not find it
    out = tmp_path / "out"
    with pytest.raises(QueryError) as caught:
        query(store, sql.format(out=out, store=store.uri))
    assert "\n" not in str(caught.value)
    assert not out.exists()
    assert secret_variable.num_rows == 1


def test_an_unknown_column_is_answered_with_the_known_ones(store):
    with pytest.raises(QueryError) as caught:
        query(store, "select test_acuracy from runs")
    message = str(caught.value)
    assert message.startswith("unknown column 'test_acuracy' (did you mean test_accuracy")
    assert "columns of runs: id, kind, status" in message
    for sql in ("select runs.nope from runs", "select r.nope from runs r"):
        with pytest.raises(QueryError, match="unknown column 'nope'"):
            query(store, sql)


def test_an_unknown_table_is_answered_with_the_known_ones(store):
    for sql in ("select * from run", "describe run", "select * from run join runs using (id)"):
        with pytest.raises(
            QueryError,
            match=r"unknown table 'run' \(did you mean runs\?\); "
            "tables: cells, metrics, pgr, predictions",
        ):
            query(store, sql, extra_tables={"pgr": pa.table({"a": [1]})})


def test_a_query_reads_an_object_store():
    store = filled(Store.open(f"memory://{uuid.uuid4().hex}"))
    assert rows(store, "select count(*), count(distinct run_id), sum(label) from predictions") == [
        (6, 2, 2)
    ]
    assert rows(store, "select count(*) from runs") == [(4,)]


def test_a_query_imports_nothing_heavy(store):
    code = f"""
import sys
from w2s_ray.store import Store
assert "pyarrow" not in sys.modules and "duckdb" not in sys.modules
from w2s_ray.store.catalog import query
found = query(Store.open({store.uri!r}), "select id, status, test_accuracy from runs")
found.to_pylist()
heavy = ["torch", "ray", "pandas", "pyarrow.dataset", "fsspec", "transformers", "optuna"]
print([name for name in heavy if name in sys.modules])
"""
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ran.stdout.strip() == "[]"
