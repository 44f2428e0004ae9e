"""`w2s rank`."""

from __future__ import annotations

from typing import Annotated

import typer

from w2s_ray.cli.inputs import cells_of, output_console, results_and_plan
from w2s_ray.cli.options import (
    TABLE_FORMATS,
    OptionalSweepFile,
    Overrides,
    OverTasksOption,
    StoreOption,
    TableFormatOption,
    check_choice,
)
from w2s_ray.errors import InputError


def rank(
    sweep_file: OptionalSweepFile = None,
    overrides: Overrides = None,
    store: StoreOption = None,
    format: TableFormatOption = "table",
    pairs: Annotated[
        bool, typer.Option("--pairs", help="One line for each two methods: wins, ties, losses.")
    ] = False,
    over_tasks: OverTasksOption = False,
) -> None:
    """Rank the methods over tasks and pairs: mean rank, probability of being best, wins."""
    from w2s_ray.cli.tables_view import print_sheets
    from w2s_ray.report import rank_sheets
    from w2s_ray.report.rank import rank as rank_methods
    from w2s_ray.report.table import table_of

    check_choice(format, TABLE_FORMATS, option="--format")
    if pairs and over_tasks:
        raise InputError(
            "--over-tasks is about mean ranks, and --pairs counts wins in single rows, which have "
            "no interval for new tasks; leave out one of them"
        )
    results, plan = results_and_plan(sweep_file, overrides, store, command="rank")
    rankings = rank_methods(
        table_of(cells_of(results, plan), results), results, over_tasks=over_tasks
    )
    reasons = [one.reason for one in rankings if one.reason]
    if len(reasons) == len(rankings):
        why = reasons[0] if reasons else f"{results.uri} has no sweep with a finished run"
        raise InputError(f"nothing to rank: {why}")
    match format:
        case "csv":
            typer.echo(rank_sheets.to_csv(rankings, pairs=pairs), nl=False)
        case "json":
            typer.echo(rank_sheets.to_json(rankings))
        case _:
            make = rank_sheets.pair_sheets if pairs else rank_sheets.sheets
            console = output_console()
            print_sheets(make(rankings), format=format, console=console)
            if format == "table":
                for reason in reasons:
                    console.print(f"not ranked: {reason}", soft_wrap=True, markup=False)
