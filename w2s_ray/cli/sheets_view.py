"""Sheets of text in the forms that commands print. It computes nothing and knows no table."""

from __future__ import annotations

from collections.abc import Iterable

import typer

from w2s_ray.plain_console import PlainConsole
from w2s_ray.report import latex, sheet


def show_sheets(sheets: Iterable[sheet.Sheet], *, format: str, console: PlainConsole) -> None:
    """Print sheets as `table`, `markdown` or `latex`."""
    match format:
        case "markdown":
            typer.echo(sheet.to_markdown(sheets), nl=False)
        case "latex":
            typer.echo(latex.to_latex(list(sheets)), nl=False)
        case _:
            console.print(sheet.to_rich(sheets), crop=False)
