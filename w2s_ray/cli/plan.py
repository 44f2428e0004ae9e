"""`w2s plan`."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from w2s_ray.cli.inputs import load_sweep, open_store, output_console, plan_of
from w2s_ray.cli.options import (
    AcceleratorOption,
    AcceleratorsOption,
    CurrencyOption,
    FormatOption,
    Overrides,
    PriceOption,
    StoreOption,
    SweepFile,
    UtilisationOption,
    check_choice,
)
from w2s_ray.errors import InputError

if TYPE_CHECKING:
    from w2s_ray.plan import Plan
    from w2s_ray.store import Store


def plan(
    sweep_file: SweepFile,
    overrides: Overrides = None,
    store: StoreOption = None,
    runs: Annotated[bool, typer.Option("--runs", help="List every run with its id.")] = False,
    accelerator: AcceleratorOption = None,
    accelerators: AcceleratorsOption = None,
    utilisation: UtilisationOption = 0.4,
    price_per_hour: PriceOption = None,
    currency: CurrencyOption = None,
    cluster: Annotated[
        Path | None,
        typer.Option(
            help="A Ray cluster file: refuse fits that its nodes can't run.", show_default=False
        ),
    ] = None,
    format: FormatOption = "table",
) -> None:
    """Print a sweep's runs by kind, their resources, and estimates of their time and cost."""
    from w2s_ray.cli.cost_options import device_of
    from w2s_ray.cli.plan_view import one_class_lines, place_plan, print_plan
    from w2s_ray.cli.unused_overrides import unused_overrides
    from w2s_ray.config.budget import read_price

    check_choice(format, ("table", "json"), option="--format")
    device = device_of(accelerator, accelerators, utilisation)
    price = read_price(price_per_hour, currency)
    if price is not None and device is None:
        raise InputError("--price-per-hour needs device time; add --accelerator NAME")
    sweep = load_sweep(sweep_file, overrides)
    results = open_store(store, sweep)
    planned = plan_of(sweep, results)
    unused = unused_overrides(planned, results, sweep_file=sweep_file, overrides=overrides or ())
    placed, capacity = place_plan(planned, cluster_file=cluster, accelerator=accelerator)
    done = results.done([*placed.fits, *placed.studies]) if results.exists() else set()
    print_plan(
        placed,
        done=done,
        warnings=[*unused, *_few_seeds(placed, results)],
        store=results.uri,
        console=output_console(),
        every_run=runs,
        device=device,
        price=price,
        format=format,
    )
    if format == "table":
        for line in (*capacity, *one_class_lines(placed, results, done=done)):
            output_console().print(line, soft_wrap=True, markup=False)


def _few_seeds(plan: Plan, results: Store) -> list[str]:
    """A warning below three seeds; results of the sweep so far say how many would be enough."""
    from w2s_ray.report.seeds_needed import few_seeds_warning
    from w2s_ray.report.table import pgr_table
    from w2s_ray.store import StoreError

    sweep, rows = plan.sweep, ()
    if len(sweep.seeds) == 2 and not sweep.seal and results.exists():
        with suppress(StoreError):  # the sweep hasn't run yet
            rows = pgr_table(results, sweep=sweep.name).rows
    warning = few_seeds_warning(len(sweep.seeds), rows)
    return [warning] if warning else []
