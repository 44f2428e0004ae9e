"""`w2s data`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from w2s_ray.cli.inputs import load_sweep, open_store, output_console, plan_of
from w2s_ray.cli.options import Overrides, StoreOption, SweepFile, check_choice
from w2s_ray.errors import InputError
from w2s_ray.printable import shown

if TYPE_CHECKING:
    from w2s_ray.config import Sweep


def data(
    sweep_file: SweepFile,
    overrides: Overrides = None,
    store: StoreOption = None,
    task: Annotated[
        list[str] | None,
        typer.Option(help="Show this task alone; may be repeated.", metavar="NAME"),
    ] = None,
    rows: Annotated[
        int, typer.Option(min=0, max=1000, help="How many rows of each class to print; 0 = none.")
    ] = 1,
    tokens: Annotated[
        bool, typer.Option("--tokens", help="Print the tokens of these rows, special ones too.")
    ] = False,
    model: Annotated[
        str | None,
        typer.Option(
            help="The model in whose form rows are printed; default: the first.", metavar="LABEL"
        ),
    ] = None,
    format: Annotated[
        str, typer.Option(help="table, markdown or json.", metavar="FORMAT")
    ] = "table",
) -> None:
    """Show what a model sees of each task: rows, lengths in tokens, baselines, first rows."""
    from w2s_ray.cli.data_tasks import DataRequest, sweep_data
    from w2s_ray.cli.data_view import print_tasks

    check_choice(format, ("table", "markdown", "json"), option="--format")
    sweep = load_sweep(sweep_file, overrides)
    _check_names(sweep, task, model)
    results = open_store(store, sweep)
    request = DataRequest(
        tasks=tuple(task or (each.name for each in sweep.tasks)),
        rows=rows,
        tokens=tokens,
        model=None if model is None else sweep.model(model).label,
    )
    found = sweep_data(plan_of(sweep, results), results, request)
    print_tasks(found, format=format, console=output_console())


def _check_names(sweep: Sweep, tasks: list[str] | None, model: str | None) -> None:
    """Refuse options that name no task or no model of the sweep."""
    known = [task.name for task in sweep.tasks]
    for name in tasks or ():
        if name not in known:
            raise InputError(f"--task {shown(name)} is no task of the sweep: {', '.join(known)}")
    if model is not None:
        try:
            sweep.model(model)
        except InputError as error:
            raise InputError(f"--model: {error}") from None
