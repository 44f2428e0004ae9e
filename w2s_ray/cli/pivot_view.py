"""What `w2s table --pivot` prints, and the order of models in it. It computes nothing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import typer

from w2s_ray.cli.sheets_view import show_sheets
from w2s_ray.config import SweepError, parse_sweep
from w2s_ray.plain_console import PlainConsole
from w2s_ray.plan import Plan
from w2s_ray.report import pivot_sheets
from w2s_ray.report.pivot import pivot
from w2s_ray.report.table_rows import PgrTable
from w2s_ray.store import Store


def show_pivot(
    table: PgrTable,
    *,
    store: Store,
    models: Mapping[str, Sequence[str]],
    format: str,
    console: PlainConsole,
) -> None:
    """Print a PGR table's grids as `table`, `markdown`, `csv`, `json` or `latex`.

    `store` is what the table was made from; `models` gives each sweep's, weakest first.
    """
    grids = pivot(table, store=store, models=models)
    match format:
        case "csv":
            typer.echo(pivot_sheets.to_csv(grids), nl=False)
        case "json":
            typer.echo(pivot_sheets.to_json(grids))
        case _:
            show_sheets(pivot_sheets.sheets(grids), format=format, console=console)


def declared_models(store: Store, sweep: str, planned: Plan | None) -> tuple[str, ...]:
    """The models of a sweep, weakest first, from its plan or from the file that the store keeps;
    none where that was not kept or is of another version, so that no order is known.
    """
    try:
        declared = (
            planned.sweep if planned else parse_sweep(store.latest_manifest(sweep).sweep_text)
        )
    except SweepError:
        return ()
    return tuple(model.label for model in declared.models)
