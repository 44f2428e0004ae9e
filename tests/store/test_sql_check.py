"""No query can write, not even to the files that it reads."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import duckdb
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.store.builders import a_record, an_id, some_metrics
from w2s_ray.store import Store
from w2s_ray.store.sql_check import check_reads_only
from w2s_ray.store.sql_query import QueryError, query, stream

COPY = "copy (select 1 as a) to '{file}' (format parquet)"
WRITING = [
    f"with x as ({COPY}) select * from x, metrics",
    f"from metrics, (with x as ({COPY}) select * from x) as y",
    f"select (with x as ({COPY}) select count(*) from x) from metrics",
    f"describe with x as ({COPY}) select * from x, metrics",
    f"summarize (with x as ({COPY}) select * from x, metrics)",
    f"explain with x as ({COPY}) select * from x, metrics",
    f"explain analyze {COPY}",
    f"explain analyze with x as ({COPY}) select * from x, metrics",
    f"explain /* ( */ analyze {COPY}",
    f"explain -- select 1 from metrics\n analyze {COPY}",
    f"/* explain */ explain analyze {COPY}",
    f"-- é\nexplain analyze {COPY}",
    f"/* ééééééééééééé */ explain /* x */ analyze {COPY}",
    f"explain (analyze) {COPY}",
    f"explain (format json, analyze) {COPY}",
    f"explain analyse {COPY}",
    f"select 1 from metrics; {COPY}",
    f"select 1 from metrics; -- {COPY}\n{COPY}",
    f";;{COPY}",
    "copy metrics to '{file}'",
    "copy metrics from '{file}'",
    "with x as (select * from query('copy metrics to ''{file}''')) from x, metrics",
    "select * from query($$ with x as (copy (select 1) to '{file}') select * from x, metrics $$)",
    "select * from QUERY('select 1'), metrics",
    "with recursive t(n) as (select 1 union all (with x as ({file}) select n from t, x)) from t",
    "attach '{file}' as other",
    "export database '{file}'",
    "prepare p as copy metrics to '{file}'",
    "call pragma_version()",
    "pragma enable_profiling",
    "set profiling_output = '{file}'",
    "install httpfs",
    "load httpfs",
    "vacuum metrics",
    "checkpoint",
    "explain analyze select 1 from metrics",
    "with x as (insert into metrics values (1) returning *) select * from x",
    "with x as (update metrics set value = 1 returning *) select * from x",
    "with x as (delete from metrics returning *) select * from x",
]
READING = [
    "select * from metrics",
    "  explain select * from metrics",
    "EXPLAIN from metrics",
    "explain (select 1)",
    "explain -- why\n select 1",
    "-- first\nselect 1;;",
    "/* explain analyze copy */ select 1",
    "select 'copy x to y' as a -- copy x to y",
    "with x as (from metrics) from x union all from x",
    "with recursive t(n) as (select 1 union all select n + 1 from t where n < 3) from t",
    "pivot metrics on metric in ('train/loss') using count(*)",
    "describe metrics",
    "summarize metrics",
    "show tables",
    "values (1)",
    "table metrics",
]


@pytest.fixture(scope="module")
def store(tmp_path_factory) -> Store:
    made = Store.open(tmp_path_factory.mktemp("sql") / "results")
    made.write_run(a_record(), metrics=some_metrics())
    return made


@pytest.mark.parametrize("sql", WRITING)
def test_statements_that_write_are_refused_and_change_no_file(store, sql):
    file = Path(store.uri) / "runs" / an_id("run") / "metrics.parquet"
    before = file.read_bytes()
    with pytest.raises(QueryError) as refused:
        query(store, sql.replace("{file}", str(file)))
    assert "\n" not in str(refused.value)
    assert file.read_bytes() == before
    assert {path.name for path in file.parent.iterdir()} == {"metrics.parquet", "record.json"}


@pytest.mark.parametrize("sql", READING)
def test_queries_that_read_are_answered(store, sql):
    query(store, sql)


WORDS = [
    *("select", "from", "with", "x", "as", "(", ")", "explain", "analyze", "copy", "to", "insert"),
    *(
        "into",
        "metrics",
        "1",
        "*",
        ",",
        ";",
        "--",
        "/*",
        "*/",
        "\n",
        "'",
        '"',
        "$$",
        "union",
        "all",
    ),
    *("{file}", "'{file}'", "describe", "summarize", "query", "returning", "values", "delete"),
    *("update", "set", "a", "=", "create", "table", "attach", "recursive", "é", "\0", "format"),
]


@pytest.mark.slow
@settings(max_examples=300)
@given(st.one_of(st.text(max_size=60), st.lists(st.sampled_from(WORDS), max_size=14).map(" ".join)))
def test_no_accepted_query_writes(sql):
    """Accepted queries run on a connection that could write, and leave no file."""
    import tempfile

    with tempfile.TemporaryDirectory() as folder, duckdb.connect() as connection:
        sql = sql.replace("{file}", f"{folder}/written")
        with contextlib.suppress(QueryError, duckdb.Error, UnicodeEncodeError):
            check_reads_only(connection, sql)
            connection.execute("create table metrics as select 1 as a, 2 as x")
            connection.execute(sql).fetchmany(10)
            assert connection.sql("select count(*) from metrics").fetchall() == [(1,)]
        assert os.listdir(folder) == []


# Small tables: DuckDB holds a side of a join in memory, and would end for want of it.
ENDLESS = "select count(*) from range(100_000) a, range(100_000) b, range(100_000) c"


@pytest.mark.parametrize("sql", [ENDLESS, f"select * from ({ENDLESS})", f"explain {ENDLESS}"])
def test_a_query_that_takes_too_long_is_ended(store, sql):
    began = time.monotonic()
    if sql.startswith("explain"):
        query(store, sql)
        return
    with (
        pytest.raises(QueryError, match="took longer than its time limit"),
        stream(store, sql, timeout_s=0.2) as rows,
    ):
        rows.read_all()
    assert time.monotonic() - began < 60


def test_the_time_limit_applies_while_rows_are_read(store):
    with (
        pytest.raises(QueryError, match="took longer than its time limit"),
        stream(store, "select * from range(1_000_000_000_000)", timeout_s=0.3) as rows,
    ):
        for _ in rows:
            pass


def test_a_query_leaves_no_thread_and_no_handler_behind(store):
    before = threading.active_count()
    query(store, "select 1")
    with contextlib.suppress(QueryError):
        query(store, "select nope from metrics")
    assert threading.active_count() == before
    assert signal.set_wakeup_fd(-1) == -1


def is_waiting_for_signals(pid: int) -> bool:
    """Whether a process has the two sockets that interrupt a query."""
    links = []
    for name in os.listdir(f"/proc/{pid}/fd"):
        with contextlib.suppress(FileNotFoundError):
            links.append(os.readlink(f"/proc/{pid}/fd/{name}"))
    return sum(link.startswith("socket:") for link in links) >= 2


def until(is_so: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not is_so():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_ctrl_c_ends_a_query(store):
    command = [sys.executable, "-m", "w2s_ray", "query", ENDLESS, "--store", store.uri]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as running:
        try:
            until(lambda: is_waiting_for_signals(running.pid))
            time.sleep(0.5)
            running.send_signal(signal.SIGINT)
            _, stderr = running.communicate(timeout=60)
        finally:
            running.kill()
    assert running.returncode == 130
    assert stderr == "stopped; run the same command again to resume\n"


@pytest.mark.parametrize(
    "sql",
    [
        "select repeat('x', 3000000000) as a",
        "select list(a) from range(400000000) t(a)",
        "select repeat('x', 3000000) as a from range(10000)",
    ],
)
def test_a_query_that_needs_too_much_memory_gives_a_one_line_error(store, sql):
    code = (
        "import resource, sys\nfrom w2s_ray.cli import app\n"
        "try:\n    app(sys.argv[1:])\nfinally:\n"
        "    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, file=sys.stderr)\n"
    )
    command = [sys.executable, "-c", code, "query", sql, "--format", "csv", "--store", store.uri]
    ran = subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)
    *stderr, peak = ran.stderr.splitlines()
    assert ran.returncode == 2, ran.stderr
    assert len(stderr) == 1
    assert "memory" in stderr[0] or "string size" in stderr[0]
    assert int(peak) < 3_000_000
