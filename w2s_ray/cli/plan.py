"""`w2s plan`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from w2s_ray.cli.inputs import load_sweep, open_store, output_console, plan_of
from w2s_ray.cli.options import (
    AcceleratorOption,
    AcceleratorsOption,
    FormatOption,
    PricesOption,
    SpotOption,
    StoreOption,
    SweepFile,
    UtilisationOption,
    check_choice,
)


def plan(
    sweep_file: SweepFile,
    store: StoreOption = None,
    runs: Annotated[bool, typer.Option("--runs", help="List every run with its id.")] = False,
    accelerator: AcceleratorOption = None,
    accelerators: AcceleratorsOption = None,
    utilisation: UtilisationOption = 0.4,
    prices: PricesOption = None,
    spot: SpotOption = False,
    cluster: Annotated[
        Path | None,
        typer.Option(
            help="A cluster's file: refuse what none of its nodes can hold.", show_default=False
        ),
    ] = None,
    format: FormatOption = "table",
) -> None:
    """Print what a sweep will run: fits of each kind, what it needs, takes and costs."""
    from w2s_ray.cli.cost_options import device_and_rate
    from w2s_ray.cli.plan_view import place_plan, print_plan

    check_choice(format, ("table", "json"), option="--format")
    device, rate = device_and_rate(accelerator, accelerators, utilisation, prices, spot=spot)
    sweep = load_sweep(sweep_file)
    results = open_store(store, sweep)
    placed, capacity = place_plan(
        plan_of(sweep, results), cluster_file=cluster, accelerator=accelerator
    )
    done = results.done([*placed.fits, *placed.studies]) if results.exists() else set()
    print_plan(
        placed,
        done=done,
        store=results.uri,
        console=output_console(),
        every_run=runs,
        device=device,
        rate=rate,
        format=format,
    )
    for line in capacity if format == "table" else ():
        output_console().print(line)
