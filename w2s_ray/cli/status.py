"""`w2s status`."""

from __future__ import annotations

from typing import Annotated

import typer

from w2s_ray.cli.inputs import load_sweep, open_snapshot, open_store, output_console
from w2s_ray.cli.next_steps import RunArguments
from w2s_ray.cli.options import (
    FormatOption,
    OptionalSweepFile,
    Overrides,
    StoreOption,
    check_choice,
)
from w2s_ray.cli.other_overrides import print_other_overrides
from w2s_ray.errors import InputError


def status(
    sweep_file: OptionalSweepFile = None,
    overrides: Overrides = None,
    store: StoreOption = None,
    format: FormatOption = "table",
    watch: Annotated[
        bool, typer.Option("--watch", help="Update the display until the sweep ends.")
    ] = False,
    every: Annotated[
        float, typer.Option(min=0.1, help="Seconds between two updates of --watch.")
    ] = 2.0,
) -> None:
    """Show a sweep's progress: running, waiting and failed runs with reasons, and time left."""
    check_choice(format, ("table", "json"), option="--format")
    console = output_console()
    if sweep_file is not None:
        from w2s_ray.cli.status_view import print_sweep_status

        sweep = load_sweep(sweep_file, overrides)
        results = open_store(store, sweep)
        every_s = every if watch else None
        found = print_sweep_status(sweep, results, every_s=every_s, format=format, console=console)
        if found is not None:
            counts = {"done": found.done, "total": found.total}
            call = RunArguments(sweep_file, overrides or (), store)
            print_other_overrides(call, results, sweep, command="status", **counts)
    elif watch:
        raise InputError("--watch is for one sweep; name its file")
    else:
        from w2s_ray.cli.store_view import print_store_status

        print_store_status(open_snapshot(store, None), format=format, console=console)
