"""The output of `w2s table` and `w2s compare` in each format. It computes no figures."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Sequence

import typer
from rich.text import Text

from w2s_ray.cli.inputs import cells_of, output_console
from w2s_ray.config import SweepError, parse_sweep
from w2s_ray.errors import InputError
from w2s_ray.plain_console import PlainConsole
from w2s_ray.plan import Plan
from w2s_ray.report import (
    comparison_sheets,
    cost_sheets,
    latex,
    pivot_sheets,
    render,
    sheet,
)
from w2s_ray.report.comparison import Comparison
from w2s_ray.report.medians import medians_over_tasks
from w2s_ray.report.metric import Metric
from w2s_ray.report.pivot import pivot
from w2s_ray.report.savings import savings_of
from w2s_ray.report.table import table_of
from w2s_ray.store import Store


def print_table(
    store: Store,
    plan: Plan | None,
    *,
    format: str,
    by_seed: bool = False,
    metric: Metric = "pgr",
    over_tasks: bool = False,
    computing: contextlib.AbstractContextManager[object] | None = None,
) -> None:
    """Print the PGR table of a plan, or of every sweep in the store.

    Its figures are computed within `computing`.
    """
    cells, console = cells_of(store, plan), output_console()
    with computing or contextlib.nullcontext():
        table = table_of(cells, store)
        if over_tasks:
            table = medians_over_tasks(table)
    match format:
        case "csv":
            typer.echo(render.to_csv(table, "by_seed" if by_seed else "rows"), nl=False)
        case "json":
            typer.echo(render.to_json(table))
        case _ if by_seed:
            print_sheets(
                render.seed_sheets(table.by_seed, metric=metric), format=format, console=console
            )
        case "markdown":
            typer.echo(render.to_markdown(table, metric=metric), nl=False)
        case "latex":
            print_sheets(render.sheets(table, metric=metric), format=format, console=console)
        case _:
            console.print(render.to_rich(table, metric=metric), crop=False)
            for savings in savings_of(cells, store):
                sweep = f"{savings.sweep}: " if len(cells) > 1 else ""
                for line in savings.lines():
                    console.print(Text(f"{sweep}{line}"), soft_wrap=True)


def print_pivot(store: Store, plan: Plan | None, *, format: str, metric: Metric = "pgr") -> None:
    """Print the grids, weak by strong, of a plan, or of every sweep in the store."""
    cells = cells_of(store, plan)
    models = {name: _declared_models(store, name, plan) for name in cells}
    grids = pivot(table_of(cells, store), store=store, models=models)
    match format:
        case "csv":
            typer.echo(pivot_sheets.to_csv(grids), nl=False)
        case "json":
            typer.echo(pivot_sheets.to_json(grids))
        case _:
            sheets = pivot_sheets.sheets(grids, metric=metric)
            print_sheets(sheets, format=format, console=output_console())


def print_costs(store: Store, plan: Plan | None, *, format: str) -> None:
    """Print the cost of each row of the PGR table."""
    cells = cells_of(store, plan)
    sheets = cost_sheets.sheets(cells, table_of(cells, store), store)
    print_sheets(sheets, format=format, console=output_console())


def print_comparisons(
    comparisons: Sequence[Comparison], *, against: str, format: str, console: PlainConsole
) -> None:
    """Print comparisons of methods.

    Raises:
        InputError: there are no comparisons.
    """
    if not comparisons:
        raise InputError(
            f"nothing to compare: no sweep has a method other than {against!r}; add one to a sweep"
        )
    match format:
        case "csv":
            typer.echo(comparison_sheets.to_csv(comparisons), nl=False)
        case "json":
            typer.echo(comparison_sheets.to_json(comparisons))
        case _:
            print_sheets(comparison_sheets.sheets(comparisons), format=format, console=console)


def print_sheets(sheets: Iterable[sheet.Sheet], *, format: str, console: PlainConsole) -> None:
    """Print sheets as `table`, `markdown` or `latex`."""
    match format:
        case "markdown":
            typer.echo(sheet.to_markdown(sheets), nl=False)
        case "latex":
            typer.echo(latex.to_latex(list(sheets)), nl=False)
        case _:
            console.print(sheet.to_rich(sheets), crop=False)


def _declared_models(store: Store, sweep: str, plan: Plan | None) -> tuple[str, ...]:
    """The models of a sweep, weakest first, from its plan or from the sweep file in the store.

    Empty if the order is unknown because that file belongs to another version.
    """
    try:
        declared = plan.sweep if plan else parse_sweep(store.manifests.latest(sweep).sweep_text)
    except SweepError:
        return ()
    return tuple(model.label for model in declared.models)
