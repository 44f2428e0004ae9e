"""Rows of any columns as a table on the terminal. It computes nothing and knows no report."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from rich.table import Table
from rich.text import Text

from w2s_ray.plain_console import PlainConsole

if TYPE_CHECKING:
    import pyarrow as pa


def show_rows(found: pa.Table, *, console: PlainConsole) -> None:
    """Print a table's rows, numbers to the right, and how many they are."""
    shown = Table(show_edge=False)
    for field in found.schema:
        numeric = str(field.type).startswith(("int", "uint", "float", "double"))
        shown.add_column(field.name, justify="right" if numeric else "left", overflow="fold")
    for row in found.to_pylist():
        shown.add_row(*(_cell(value) for value in row.values()))
    console.print(shown)
    console.print(Text(f"{found.num_rows} rows", style="dim"))


def _cell(value: Any) -> str:
    if value is None:
        return "–"
    return f"{value:.6g}" if isinstance(value, float) else str(value)
