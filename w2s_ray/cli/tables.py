"""`w2s table` and `w2s compare`."""

from __future__ import annotations

from typing import Annotated

import typer

from w2s_ray.cli.completion import complete_method
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


def table(
    sweep_file: OptionalSweepFile = None,
    overrides: Overrides = None,
    store: StoreOption = None,
    format: TableFormatOption = "table",
    by_seed: Annotated[bool, typer.Option("--by-seed", help="One row for each seed.")] = False,
    pivot: Annotated[
        bool,
        typer.Option("--pivot", help="A grid, weak by strong, for each task and method."),
    ] = False,
    metric: Annotated[
        str,
        typer.Option(
            help="What grids and medians show: accuracy, gain (student minus weak, in points), pgr."
        ),
    ] = "pgr",
    cost: Annotated[
        bool, typer.Option("--cost", help="Device time of each row, and its PGR per device hour.")
    ] = False,
    over_tasks: OverTasksOption = False,
) -> None:
    """Print the PGR table of a sweep, or of every sweep in a store."""
    from w2s_ray.cli.tables_view import print_costs, print_pivot, print_table
    from w2s_ray.report.metric import METRICS

    shown = check_choice(metric, METRICS, option="--metric")
    check_choice(format, TABLE_FORMATS, option="--format")
    if by_seed + pivot + cost > 1:
        raise InputError("give at most one of --by-seed, --pivot and --cost")
    if cost and format in ("csv", "json"):
        raise InputError(
            f"--cost has no format {format}; `w2s cost SWEEP --format json` prints the figures"
        )
    if over_tasks and (by_seed or pivot or cost or format == "csv"):
        raise InputError(
            "--over-tasks is about medians over tasks; leave out --by-seed, --pivot, --cost and "
            "--format csv, which have none"
        )
    results, plan = results_and_plan(sweep_file, overrides, store, command="table")
    if cost:
        print_costs(results, plan, format=format)
    elif pivot:
        print_pivot(results, plan, format=format, metric=shown)
    else:
        print_table(
            results, plan, format=format, by_seed=by_seed, metric=shown, over_tasks=over_tasks
        )


def compare(
    sweep_file: OptionalSweepFile = None,
    overrides: Overrides = None,
    store: StoreOption = None,
    against: Annotated[
        str, typer.Option(help="The method to compare with.", autocompletion=complete_method)
    ] = "naive",
    over_tasks: OverTasksOption = False,
    format: TableFormatOption = "table",
) -> None:
    """Compare each method with one: differences over tasks and pairs, intervals and p values."""
    from w2s_ray.cli.tables_view import print_comparisons
    from w2s_ray.report.compare import compare as compare_methods
    from w2s_ray.report.table import table_of

    check_choice(format, TABLE_FORMATS, option="--format")
    results, plan = results_and_plan(sweep_file, overrides, store, command="compare")
    pgr_table = table_of(cells_of(results, plan), results)
    comparisons = compare_methods(pgr_table, results, against=against, over_tasks=over_tasks)
    print_comparisons(comparisons, against=against, format=format, console=output_console())
