"""What `w2s compare` prints. It computes nothing."""

from __future__ import annotations

from collections.abc import Sequence

import typer

from w2s_ray.cli.sheets_view import show_sheets
from w2s_ray.errors import InputError
from w2s_ray.plain_console import PlainConsole
from w2s_ray.report import comparison_sheets
from w2s_ray.report.comparison import Comparison


def show_comparisons(
    found: Sequence[Comparison], *, against: str, format: str, console: PlainConsole
) -> None:
    """Print comparisons as `table`, `markdown`, `csv`, `json` or `latex`.

    Raises:
        InputError: there are none.
    """
    if not found:
        raise InputError(
            f"nothing to compare: no sweep has a method beside {against!r}; add one to the sweep"
        )
    match format:
        case "csv":
            typer.echo(comparison_sheets.to_csv(found), nl=False)
        case "json":
            typer.echo(comparison_sheets.to_json(found))
        case _:
            show_sheets(comparison_sheets.sheets(found), format=format, console=console)
