from __future__ import annotations

import json
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from rich.console import Console

from tests.report.stored import cells_of, write_sweep
from tests.store.builders import a_record, an_id, some_metrics, some_predictions
from tests.support import loaded_by
from w2s_ray.cli import app, query_view
from w2s_ray.cli.query_view import print_query
from w2s_ray.report import pgr_table
from w2s_ray.report.results import sql_tables
from w2s_ray.report.table_docs import ROW_IS, sql_schemas
from w2s_ray.store import Store
from w2s_ray.store.compaction import compact
from w2s_ray.store.sql_query import QueryError, query
from w2s_ray.store.tables import column_meanings


@pytest.fixture
def store(tmp_path) -> Store:
    made = Store.open(tmp_path / "results")
    made.write_run(a_record(), metrics=some_metrics(), predictions=some_predictions())
    return made


def shown(store: Store, sql: str, capsys, **options) -> tuple[str, str]:
    given = {"format": "table", "out": None, "limit": None, **options}
    print_query(store, sql, console=Console(width=160), **given)
    printed = capsys.readouterr()
    return printed.out, printed.err


METRICS = "select step, value from metrics order by step, metric"


def test_rows_are_printed_as_csv_json_and_json_lines(store, capsys):
    assert shown(store, METRICS, capsys, format="csv")[0] == "step,value\n1,0.7\n2,nan\n2,0.5\n"
    expected = [{"step": 1, "value": 0.7}, {"step": 2, "value": None}, {"step": 2, "value": 0.5}]
    assert json.loads(shown(store, METRICS, capsys, format="json")[0]) == expected
    lines = shown(store, METRICS, capsys, format="jsonl")[0].splitlines()
    assert [json.loads(line) for line in lines] == expected
    assert json.loads(shown(store, "from trials", capsys, format="json")[0]) == []


def test_rows_of_many_columns_are_printed_one_below_the_other(store, capsys):
    wide = "select " + ", ".join(f"{i} as c{i}" for i in range(21)) + " from range(2)"
    printed, _ = shown(store, wide, capsys)
    assert [line.strip() for line in printed.splitlines() if line.startswith("row ")] == [
        "row 1",
        "row 2",
    ]
    assert " c20    │ 20" in printed
    narrow = "select " + ", ".join(f"{i} as c{i}" for i in range(20))
    assert "row 1" not in shown(store, narrow, capsys)[0]


@pytest.mark.parametrize("limit", [None, 5])
def test_columns_of_one_name_keep_their_values(store, capsys, limit):
    sql = "select 1 as a, 2 as a, 3 as a_1, 4 as b"
    rows, _ = shown(store, sql, capsys, format="json", limit=limit)
    assert json.loads(rows) == [{"a": 1, "a_1": 2, "a_1_1": 3, "b": 4}]
    assert query(store, sql, limit=limit).column_names == ["a", "a_1", "a_1_1", "b"]


@pytest.mark.parametrize("format", query_view.FORMATS)
def test_every_format_is_written_to_a_file_atomically(store, capsys, tmp_path, format):
    out = tmp_path / "out" / f"rows.{format}"
    out.parent.mkdir()
    printed, notes = shown(store, METRICS, capsys, format=format, out=out)
    assert (printed, notes) == ("", f"3 rows written to {out}\n")
    if format == "parquet":
        assert pq.read_table(out)["step"].to_pylist() == [1, 2, 2]
    else:
        assert "0.7" in out.read_text()
    kept = out.read_bytes()
    with pytest.raises(QueryError):
        shown(
            store, "select error('at the first row') from metrics", capsys, format=format, out=out
        )
    assert out.read_bytes() == kept
    assert list(out.parent.iterdir()) == [out]


def test_the_error_for_an_unwritable_file_has_its_name(store, capsys, tmp_path):
    with pytest.raises(ValueError, match=r"can't write .*nowhere/x\.csv: No such file"):
        shown(store, METRICS, capsys, format="csv", out=tmp_path / "nowhere" / "x.csv")


def test_parquet_needs_a_file(store, capsys):
    with pytest.raises(ValueError, match="add --out FILE"):
        shown(store, METRICS, capsys, format="parquet")


@pytest.mark.parametrize("format", ["table", "csv", "json", "jsonl"])
def test_only_truncated_results_have_a_note(store, capsys, format):
    for limit, cut in ((1, True), (2, True), (3, False), (None, False)):
        printed, notes = shown(store, METRICS, capsys, format=format, limit=limit)
        assert notes == (
            f"cut after {limit} rows, there are more; a larger --limit shows them\n" * cut
        )
        assert ("0.5" in printed) == (not cut)


def test_a_printed_table_has_a_default_limit(store, capsys, monkeypatch):
    monkeypatch.setattr(query_view, "DEFAULT_LIMIT", 2)
    assert "cut after 2 rows" in shown(store, METRICS, capsys)[1]
    assert shown(store, METRICS, capsys, format="csv")[1] == ""


def test_every_table_of_a_query_is_documented_column_by_column(store):
    schemas = sql_schemas()
    assert set(schemas) >= set(sql_tables(store)) | {"runs", "metrics", "predictions", "trials"}
    for name, schema in schemas.items():
        assert all(len(meaning) > 2 for meaning in column_meanings(schema).values()), name
        assert (
            query(store, f"from {name}", extra_tables=sql_tables(store)).schema.names
            == schema.names
        )


def test_the_list_of_computed_tables_equals_the_reports(store):
    assert set(query_view.COMPUTED) == set(sql_tables(store))


def test_columns_are_listed_with_their_meaning(run_command):
    printed = run_command("query", "--columns", "--format", "json")
    rows = {(row["table"], row["column"]): row for row in json.loads(printed)}
    assert rows["trials", "cost"]["type"] == "double"
    assert "P(class 1)" in rows["predictions", "probability"]["meaning"]
    assert "supervisor_half, student_half, validation or test" in run_command("query", "--columns")


def test_the_documentation_of_tables_is_up_to_date(run_command):
    manual = Path(__file__).parents[2] / "docs" / "tables.md"
    printed = run_command("query", "--columns", "--format", "markdown")
    assert printed == manual.read_text(encoding="utf-8"), (
        "the tables have changed; run w2s query --columns --format markdown > docs/tables.md"
    )
    assert set(ROW_IS) == set(sql_schemas())


def test_compact_prints_a_summary(store, run_command):
    assert "1 run added, 1 in the catalog (1 segment" in run_command(
        "compact", "--store", store.uri
    )
    assert "0 runs added, 1 in the catalog" in run_command("compact", "--store", store.uri)
    assert an_id("run") in run_command("query", "select id from runs", "--store", store.uri)


@pytest.mark.parametrize("command", [["query", METRICS], ["query", "from pgr"], ["table"]])
def test_commands_on_a_compacted_store_import_no_heavy_libraries(tmp_path, command):
    made = Store.open(tmp_path / "results")
    write_sweep(made, cells_of(tasks=["a"], methods=["naive"]), students={("a", "naive"): 0.7})
    made.write_run(a_record(), metrics=some_metrics())
    compact(made.files)
    pgr_table(made)
    heavy = ("torch", "ray", "transformers", "pandas", "scipy", "sklearn", "datasets")
    assert loaded_by([*command, "--store", made.uri], *heavy) == []


@pytest.fixture
def run_command():
    from typer.testing import CliRunner

    def run(*arguments: str) -> str:
        ended = CliRunner().invoke(app, arguments)
        assert ended.exit_code == 0, ended.output
        return ended.stdout

    return run
