"""`w2s query`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from w2s_ray.cli.completion import complete_sql
from w2s_ray.cli.inputs import (
    check_output,
    open_snapshot,
    optional_sweep,
    output_console,
    print_looks,
)
from w2s_ray.cli.options import OptionalSweepFile, Overrides, StoreOption, check_choice
from w2s_ray.errors import InputError


def query(
    sql: Annotated[
        str | None,
        typer.Argument(
            help="A SELECT over runs, metrics, predictions, trials, cells, splits and pgr.",
            show_default=False,
            autocompletion=complete_sql,
        ),
    ] = None,
    sweep_file: OptionalSweepFile = None,
    overrides: Overrides = None,
    store: StoreOption = None,
    format: Annotated[
        str | None,
        typer.Option(
            help="table, csv, json, jsonl or parquet; default: by the name of --out, or table.",
            metavar="FORMAT",
            show_default=False,
        ),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            help="Write to this file: .csv, .json, .jsonl, .parquet or .txt.", show_default=False
        ),
    ] = None,
    limit: Annotated[int | None, typer.Option(min=1, help="Maximum number of rows.")] = None,
    timeout: Annotated[
        float | None,
        typer.Option(min=0.001, help="Time limit of the query.", metavar="SECONDS"),
    ] = None,
    columns: Annotated[
        bool,
        typer.Option(
            "--columns",
            help="List every table and column with its meaning, as table, markdown or json.",
        ),
    ] = False,
) -> None:
    """Run a read-only SQL query on a store."""
    from w2s_ray.cli.query_view import COLUMN_FORMATS, chosen_format, print_columns, print_query

    if columns:
        shown = check_choice(format or "table", COLUMN_FORMATS, option="--format")
        print_columns(format=shown, console=output_console())
        return
    chosen = chosen_format(format, out)
    if sql is None:
        raise InputError("there is no query; give SQL, or --columns to list tables and columns")
    results = open_snapshot(store, optional_sweep(sweep_file, overrides))
    if out is not None:
        check_output(out, results, sweep_file=sweep_file)
    print_looks(results, None, command="query")
    print_query(
        results,
        sql,
        format=chosen,
        out=out,
        limit=limit,
        timeout_s=timeout,
        console=output_console(),
    )
