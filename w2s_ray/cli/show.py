"""PGR tables on the terminal, or as text for other programs. It computes nothing."""

from __future__ import annotations

from collections.abc import Sequence

import typer
from rich.text import Text

from w2s_ray.cli.sheets_view import show_sheets
from w2s_ray.plain_console import PlainConsole
from w2s_ray.report import seed_sheets
from w2s_ray.report.render import sheets, to_csv, to_json, to_markdown, to_rich
from w2s_ray.report.savings import Savings
from w2s_ray.report.table import PgrTable


def show_pgr(table: PgrTable, *, format: str, by_seed: bool, console: PlainConsole) -> None:
    """Print a PGR table as `table`, `markdown`, `csv`, `json` or `latex`."""
    match format:
        case "table" | "markdown" | "latex" if by_seed:
            show_sheets(seed_sheets.sheets(table.by_seed), format=format, console=console)
        case "table":
            console.print(to_rich(table), crop=False)
        case "markdown":
            typer.echo(to_markdown(table), nl=False)
        case "latex":
            show_sheets(sheets(table), format=format, console=console)
        case "csv":
            typer.echo(to_csv(table, "by_seed" if by_seed else "rows"), nl=False)
        case _:
            typer.echo(to_json(table))


def show_savings(found: Sequence[Savings], *, console: PlainConsole) -> None:
    """Print what early stopping and pruning saved, a line each."""
    for savings in found:
        of = f"{savings.sweep}: " if len(found) > 1 else ""
        for line in savings.lines():
            console.print(Text(f"{of}{line}"), soft_wrap=True)
