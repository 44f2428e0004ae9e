from __future__ import annotations

import subprocess
import sys
import tempfile
import uuid
from pathlib import Path

import pyarrow as pa
import pytest
import s3fs

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
from w2s_ray.store import Store, StoreError, sql_query
from w2s_ray.store.columns import TABLES
from w2s_ray.store.compaction import compact
from w2s_ray.store.sql_query import QueryError, query, stream
from w2s_ray.store.tables import column_meanings, to_parquet


def filled(store: Store) -> Store:
    store.splits.write("split-1", some_rows(), {"task": "sciq"})
    for name in ("run", "two"):
        store.write_run(a_record(name), metrics=some_metrics(name), predictions=some_predictions())
    store.write_attempt(a_record("bad", accuracy=None, status="failed", reason="out of memory"))
    study = a_record("study", kind="study", recipe={"space": {}}, accuracy=None)
    store.write_run(study)
    store.write_trial(
        study.id,
        0,
        {
            "settings": {"loss.alpha": 0.5},
            "state": "complete",
            "value": 0.7,
            "cost": 2e9,
            "fits": ["run"],
        },
    )
    store.manifests.write(a_manifest(a_cell(), a_cell(seed=1)))
    return store


@pytest.fixture(scope="module", params=["folder", "folder, compacted", "s3", "s3, compacted"])
def store(request, tmp_path_factory):
    """A store that is only read; query results depend neither on its location nor on a catalog."""
    if request.param.startswith("folder"):
        made = filled(Store.open(tmp_path_factory.mktemp("store") / "results"))
        yield compacted(made) if "compacted" in request.param else made
        return
    server = request.getfixturevalue("s3_server")
    with pytest.MonkeyPatch.context() as patch:
        for name, value in server.environment.items():
            patch.setenv(name, value)
        s3fs.S3FileSystem.clear_instance_cache()
        made = filled(Store.open(f"{server.new_bucket()}/results"))
        yield compacted(made) if "compacted" in request.param else made


@pytest.fixture
def own(tmp_path) -> Store:
    """A store that a test may change."""
    return filled(Store.open(tmp_path / "results"))


def compacted(store: Store) -> Store:
    """The store with all but the failed run in the catalog."""
    assert compact(store.files).added >= 3
    return store


def rows(store: Store, sql: str, **options) -> list[tuple]:
    table = query(store, sql, **options)
    return list(zip(*(column.to_pylist() for column in table.columns), strict=True))


def test_runs_has_the_latest_record_of_every_run(store):
    found = rows(store, "select id, status, reason, test_accuracy from runs order by status, id")
    done = sorted([(an_id("run"), 0.75), (an_id("two"), 0.75), (an_id("study"), None)])
    assert found == [
        *((i, "done", None, a) for i, a in done),
        (an_id("bad"), "failed", "out of memory", None),
    ]


def test_runs_has_the_recipe_as_columns_and_as_json(store):
    sql = f"""select task, model, labels, loss, seed, lr, tuning, steps,
              recipe->>'$.training.epochs', summary->>'steps' from runs where id = '{an_id("run")}'
           """
    assert rows(store, sql) == [
        ("sciq", "tiny", "a-supervisor", "xent", 0, 1e-4, "full", 10, "2", "10")
    ]


def test_a_record_with_a_wrong_type_affects_no_other_row(own):
    own.write_run(a_record("odd", recipe=a_recipe(seed="seven"), accuracy=None))
    assert rows(own, "select count(*), count(seed) from runs") == [(5, 3)]


def test_predictions_have_their_run_and_label(store):
    sql = f"""select run_id, example_id, part, probability, label from predictions
              where run_id = '{an_id("two")}' order by example_id"""
    id_ = an_id("two")
    assert rows(store, sql) == [
        (id_, "a", "validation", 0.1, 0),
        (id_, "b", "test", 0.6, 1),
        (id_, "c", "test", 1.0, 0),
    ]


def test_predictions_without_a_stored_split_have_no_label(tmp_path):
    store = Store.open(tmp_path)
    store.write_run(a_record(), predictions=some_predictions())
    assert rows(store, "select distinct label from predictions") == [(None,)]


def test_metrics_trials_cells_and_splits(store):
    assert rows(store, "select count(*) from metrics where metric = 'train/loss'") == [(4,)]
    assert rows(
        store,
        "select number, state, value, cost, settings->>'$.\"loss.alpha\"', fits, "
        "trial->>'state' from trials",
    ) == [(0, "complete", 0.7, 2e9, "0.5", ["run"], "complete")]
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


def test_a_missing_store_raises_an_error(tmp_path):
    with pytest.raises(StoreError, match="there are no results at"):
        query(Store.open(tmp_path / "nothing"), "from runs")


def test_extra_tables_are_computed_only_when_a_query_names_them(store):
    made = []

    def pgr() -> pa.Table:
        made.append(1)
        return pa.table({"value": [0.5]})

    assert rows(store, "select count(*) from runs", extra_tables={"pgr": pgr}) == [(4,)]
    assert made == []
    assert rows(store, "select value from PGR", extra_tables={"pgr": pgr}) == [(0.5,)]
    assert made == [1]


def test_unnamed_views_are_not_read(own, tmp_path, caplog):
    (tmp_path / "results" / "runs" / an_id("run") / "metrics.parquet").write_text("broken")
    assert rows(own, "select count(*) from runs") == [(4,)]
    assert "metrics.parquet" not in caplog.text
    rows(own, "select sum(value) from metrics")
    assert "metrics.parquet is damaged (Parquet file size is 6 bytes" in caplog.text


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
def test_queries_that_only_read_are_allowed(store, sql):
    assert query(store, sql).num_columns > 0


def test_every_table_has_the_columns_that_are_documented(store):
    for name, schema in TABLES.items():
        found = query(store, f"from {name} limit 0").schema
        assert found.names == schema.names
        assert found.types == schema.types


def test_every_column_of_every_table_has_a_meaning():
    for name, schema in TABLES.items():
        assert all(len(meaning) > 4 for meaning in column_meanings(schema).values()), name


def test_limit_bounds_the_rows(store):
    assert query(store, "select * from runs", limit=2).num_rows == 2
    assert query(store, "show tables", limit=1).num_rows == 1


FORBIDDEN = [
    # writing
    "copy runs to '{out}'",
    "with x as (copy (select 1) to '{out}') select * from x",
    "explain analyze copy (select 1) to '{out}'",
    "explain copy (select 1) to '{out}'",
    "explain (analyze) copy (select 1) to '{out}'",
    "/* explain select */ explain analyze copy (select 1) to '{out}'",
    "select * from query('copy (select 1) to ''{out}''')",
    "export database '{out}'",
    "import database '{out}'",
    "attach '{out}' as other",
    "attach ':memory:' as other",
    "create table x (a int)",
    "create temp table x as select 1",
    "create or replace view runs as select 1",
    "create macro f(a) as a",
    "create secret s (type s3)",
    "explain analyze create table x (a int)",
    "insert into runs values (1)",
    "with x as (insert into runs values (1) returning *) select * from x",
    "delete from runs",
    "with x as (delete from runs returning *) select * from x",
    "update runs set id = 'x'",
    "alter table runs rename to x",
    "drop view runs",
    "truncate runs",
    "vacuum",
    "checkpoint",
    "begin transaction",
    "select * from enable_logging('QueryLog', storage = 'file', storage_path = '{out}')",
    "select * from enable_profiling(save_location := '{out}')",
    # extensions and settings
    "install httpfs",
    "load httpfs",
    "force install httpfs from 'http://example.com'",
    "load '{out}'",
    "select * from query('install httpfs')",
    "pragma database_list",
    "pragma enable_profiling",
    "set enable_external_access = true",
    "set memory_limit = '1TB'",
    "set temp_directory = '{out}'",
    "reset enable_external_access",
    "set variable x = 1",
    "call duckdb_settings()",
    "use memory",
    # other files, and what lies around the process
    "select * from read_csv('/etc/passwd')",
    "select * from read_text('/etc/passwd')",
    "select content from read_blob('/etc/passwd')",
    "from read_json_auto('/etc/passwd')",
    "from read_ndjson_objects('/etc/passwd')",
    "from read_duckdb('/etc/passwd')",
    "select * from read_parquet('{store}/runs/*/metrics.parquet')",
    "select * from read_parquet(['{store}/catalog/segments/x/runs.parquet'])",
    "select * from parquet_scan('{store}/runs/*/metrics.parquet')",
    "select * from parquet_metadata('/etc/passwd')",
    "select * from parquet_kv_metadata('/etc/passwd')",
    "select * from '{store}/store.json'",
    "from '/etc/passwd'",
    "from 'file:///etc/passwd'",
    "select * from glob('/etc/*')",
    "select * from sniff_csv('/etc/passwd')",
    "select * from read_csv('https://example.com/x.csv')",
    "select * from 'https://example.com/x.parquet'",
    "select * from read_parquet('s3://bucket/x.parquet')",
    "select * from sqlite_scan('/etc/passwd', 'x')",
    "select * from duckdb_extensions()",
    "select getenv('HOME')",
    "with x as (select * from read_text('/etc/passwd')) select * from x",
    "with recursive x as (select * from read_text('/etc/passwd')) select * from x",
    "select (select content from read_text('/etc/passwd'))",
    "select * from runs where id in (select content from read_text('/etc/passwd'))",
    "select * from (values (1)) v(a), lateral (select * from read_text('/etc/passwd'))",
    "select id from runs union all select content from read_text('/etc/passwd')",
    "select * from query('select * from read_text(''/etc/passwd'')')",
    "select * from query_table('/etc/passwd')",
    "from json_execute_serialized_sql(json_serialize_sql('from read_text(''/etc/passwd'')'))",
    "explain analyze select * from read_text('/etc/passwd')",
    "describe select * from read_csv('/etc/passwd')",
    "summarize select * from read_csv('/etc/passwd')",
    "pivot (select * from read_text('/etc/passwd')) on filename using count(*)",
    "select * from arrow_scan(1, 1, 1)",
    "select * from pandas_scan(1)",
    "select * from secret_variable",
    # statements that are prepared, several at once, or none
    "prepare x as select 1",
    "prepare x as copy (select 1) to '{out}'",
    "execute x",
    "select $1",
    "select 1; select 2",
    "pivot runs on status using count(*)",
    "select 1; copy runs to '{out}'",
    "",
    "-- nothing",
    "selec 1",
]


@pytest.fixture(scope="module")
def attacked(tmp_path_factory) -> Store:
    return filled(Store.open(tmp_path_factory.mktemp("attacked") / "results"))


@pytest.mark.parametrize("sql", FORBIDDEN)
def test_queries_that_do_more_than_read_are_refused_in_one_line(attacked, sql):
    secret_variable = pa.table({"a": [1]})  # DuckDB must not find it
    parent = Path(attacked.uri).parent
    before = {path: path.stat().st_mtime_ns for path in parent.rglob("*")}
    with pytest.raises(QueryError) as caught:
        query(attacked, sql.format(out=parent / "out", store=attacked.uri))
    assert "\n" not in str(caught.value)
    assert "root:" not in str(caught.value)
    assert {path: path.stat().st_mtime_ns for path in parent.rglob("*")} == before
    assert secret_variable.num_rows == 1


def test_memory_is_bounded_and_the_rest_goes_to_a_folder_that_is_removed(own, monkeypatch):
    spill = Path(f"{own.uri}-temporary")
    spill.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(spill))
    monkeypatch.setitem(sql_query.SETTINGS, "memory_limit", "40MB")
    with stream(own, "select random() a, range b from range(3_000_000) order by a") as found:
        first = next(found)
        assert [path for path in spill.rglob("*") if path.is_file()]
        assert first.num_rows + sum(batch.num_rows for batch in found) == 3_000_000
    assert list(spill.iterdir()) == []


def test_the_error_for_an_unknown_column_lists_the_columns(store):
    with pytest.raises(QueryError) as caught:
        query(store, "select test_acuracy from runs")
    message = str(caught.value)
    assert message.startswith("unknown column 'test_acuracy' (did you mean test_accuracy")
    assert "columns of runs: id, kind, status" in message
    for sql in ("select runs.nope from runs", "select r.nope from runs r"):
        with pytest.raises(QueryError, match="unknown column 'nope'"):
            query(store, sql)


def test_the_error_for_an_unknown_table_lists_the_tables(store):
    for sql in ("select * from run", "describe run", "select * from run join runs using (id)"):
        with pytest.raises(
            QueryError,
            match=r"unknown table 'run' \(did you mean runs\?\); "
            "tables: cells, metrics, pgr, predictions",
        ):
            query(store, sql, extra_tables={"pgr": pa.table({"a": [1]})})


@pytest.mark.parametrize("folder", ["a=b", "it's", "x[1]*?"])
def test_a_folder_may_have_any_name(tmp_path, folder):
    store = filled(Store.open(tmp_path / folder / "results"))
    for _ in range(2):  # the second time from the catalog
        assert rows(store, "select count(distinct run_id), sum(label) from predictions") == [(2, 2)]
        assert rows(store, "select count(*), count(distinct split) from splits") == [(4, 1)]
        assert list(query(store, "from metrics").column_names) == TABLES["metrics"].names
        compact(store.files)


def test_a_query_reads_an_object_store():
    store = filled(Store.open(f"memory://{uuid.uuid4().hex}"))
    assert rows(store, "select count(*), count(distinct run_id), sum(label) from predictions") == [
        (6, 2, 2)
    ]
    assert rows(store, "select count(*) from runs") == [(4,)]


def test_a_query_imports_nothing_heavy(own):
    code = f"""
import sys
from w2s_ray.store import Store
assert "pyarrow" not in sys.modules and "duckdb" not in sys.modules
from w2s_ray.store.sql_query import query
found = query(Store.open({own.uri!r}), "select id, status, test_accuracy from runs")
found.to_pylist()
heavy = ["torch", "ray", "pandas", "pyarrow.dataset", "fsspec", "transformers", "optuna"]
print([name for name in heavy if name in sys.modules])
"""
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ran.stdout.strip() == "[]"


def test_splits_of_earlier_versions_lack_near_copies_and_choices(tmp_path):
    """A column that was added is null for splits that were stored without it."""
    store = Store.open(tmp_path / "results")
    sql = "select split, count(*), sum(near_copies) from splits group by split order by split"
    old = some_rows().drop(["near_copies", "choices"])
    store.splits.write("old", old, {})
    (tmp_path / "results/splits/old/rows.parquet").write_bytes(to_parquet(old))
    assert rows(store, sql) == [("old", 4, None)]
    for name in ("near_copies", "choices"):
        assert store.splits.rows("old").column(name).null_count == 4
    store.splits.write("new", some_rows(), {})
    assert rows(store, sql) == [("new", 4, 2), ("old", 4, None)]
