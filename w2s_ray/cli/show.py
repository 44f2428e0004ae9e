"""Tables and query results on the terminal, or as text for other programs. It computes nothing."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from w2s_ray.report.render import to_csv, to_json, to_markdown, to_rich
from w2s_ray.report.savings import Savings
from w2s_ray.report.table import PgrTable

if TYPE_CHECKING:
    import pyarrow as pa


def show_pgr(table: PgrTable, *, format: str, by_seed: bool, console: Console) -> None:
    """Print a PGR table in one of the formats `table`, `markdown`, `csv` and `json`."""
    match format:
        case "table" if not by_seed:
            console.print(to_rich(table))
        case "table":
            from w2s_ray.report.render import to_arrow

            rows = to_arrow(table, "by_seed").drop_columns(["sweep", "supervisor", "ceiling"])
            show_arrow(rows, format="table", console=console)
        case "markdown" if by_seed:
            raise ValueError("--by-seed comes as table, csv or json; choose one of these")
        case "markdown":
            typer.echo(to_markdown(table), nl=False)
        case "csv":
            typer.echo(to_csv(table, "by_seed" if by_seed else "rows"), nl=False)
        case _:
            typer.echo(to_json(table))


def show_savings(found: Sequence[Savings], *, console: Console) -> None:
    """Print what early stopping and pruning saved, a line each."""
    for savings in found:
        of = f"{savings.sweep}: " if len(found) > 1 else ""
        for line in savings.lines():
            console.print(Text(f"{of}{line}"), soft_wrap=True)


def show_arrow(found: pa.Table, *, format: str, console: Console) -> None:
    """Print the rows of a query in one of the formats `table`, `csv` and `json`."""
    rows = found.to_pylist()
    match format:
        case "json":
            typer.echo(json.dumps(rows, indent=1, default=str))
        case "csv":
            buffer = io.StringIO()
            writer = csv.writer(buffer, lineterminator="\n")
            writer.writerow(found.column_names)
            writer.writerows(list(row.values()) for row in rows)
            typer.echo(buffer.getvalue(), nl=False)
        case _:
            shown = Table(show_edge=False)
            for field in found.schema:
                numeric = str(field.type).startswith(("int", "uint", "float", "double"))
                shown.add_column(
                    field.name, justify="right" if numeric else "left", overflow="fold"
                )
            for row in rows:
                shown.add_row(*(Text(_cell(value)) for value in row.values()))
            console.print(shown)
            console.print(f"[dim]{len(rows)} rows[/dim]")


def _cell(value: Any) -> str:
    if value is None:
        return "–"
    return f"{value:.6g}" if isinstance(value, float) else str(value)
