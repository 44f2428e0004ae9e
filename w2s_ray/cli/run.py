"""`w2s run`."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated

import typer
from rich.text import Text

from w2s_ray.cli.inputs import open_store
from w2s_ray.cli.next_steps import RunArguments, next_steps
from w2s_ray.cli.options import (
    BudgetOption,
    CurrencyOption,
    Overrides,
    PriceOption,
    StoreOption,
    SweepFile,
)
from w2s_ray.plain_console import PlainConsole

if TYPE_CHECKING:
    from w2s_ray.execute.driver import Outcome
    from w2s_ray.store import Store


def run(
    sweep_file: SweepFile,
    overrides: Overrides = None,
    store: StoreOption = None,
    address: Annotated[
        str | None,
        typer.Option(
            help="A running Ray cluster, HOST:6379; default: RAY_ADDRESS, else this machine.",
            metavar="HOST:PORT",
        ),
    ] = None,
    budget: BudgetOption = None,
    price_per_hour: PriceOption = None,
    currency: CurrencyOption = None,
) -> None:
    """Run or resume a sweep, and print its table. Ctrl-C stops it cleanly."""
    console = PlainConsole(stderr=True, soft_wrap=True)
    with console.status(f"reading {sweep_file}"):  # imports take a second
        from w2s_ray.cli.cost_options import budget_of
        from w2s_ray.cli.restart import restart
        from w2s_ray.cli.tables_view import print_table
        from w2s_ray.cli.unused_overrides import unused_overrides
        from w2s_ray.config import read_sweep
        from w2s_ray.execute.driver import run_sweep
        from w2s_ray.execute.steps import step

    limit = budget_of(budget, price_per_hour=price_per_hour, currency=currency)
    source = read_sweep(sweep_file, overrides=overrides or ())
    results = open_store(store, source.sweep)
    outcome = run_sweep(
        source.sweep,
        store=results,
        sweep_text=source.text,
        console=PlainConsole(stderr=True),
        address=address,
        on_ray_lost=restart,
        budget=limit,
        warnings=lambda plan: unused_overrides(
            plan, results, sweep_file=sweep_file, overrides=overrides or ()
        ),
    )
    options = _given(
        address=address, budget=budget, price_per_hour=price_per_hour, currency=currency
    )
    call = RunArguments(sweep_file, overrides or (), store, tuple(options))
    steps = next_steps(call, outcome, name=source.sweep.name, store=results.uri)
    if outcome.spent is not None:
        console.print(f"{outcome.spent}; {outcome.left} fits are not done, trials included")
    if outcome.stopped is not None:
        _print_stopped(outcome, results, console)
        _print_steps(steps, console)
        raise typer.Exit(130)
    if source.sweep.seal:
        console.print(f"the test is sealed: `{call.command('table')}` shows it and counts the look")
    else:
        computing = step(console, "computing the table and its intervals")
        print_table(results, outcome.plan, format="table", computing=computing)
    _print_outcome(outcome, results, console)
    _print_steps(steps, console)
    if outcome.failed:
        raise typer.Exit(1)


def _print_stopped(outcome: Outcome, store: Store, console: PlainConsole) -> None:
    assert outcome.stopped is not None
    more = " with a larger budget, or none," if outcome.stopped.startswith("its budget") else ""
    console.print(
        f"stopped by {outcome.stopped}: {_done(outcome, store)}; run the same command again{more} "
        "to resume"
    )


def _print_outcome(outcome: Outcome, store: Store, console: PlainConsole) -> None:
    failed = f"; {outcome.failed_fits} more failed" if outcome.failed_fits else ""
    console.print(
        f"{outcome.trained} fits trained by this call, trials included{failed}; "
        f"{_done(outcome, store)}"
    )
    for run_id, reason in outcome.failed.items():
        console.print(Text.assemble(("failed", "red"), f" {run_id}: {reason}"))
    if outcome.blocked:
        console.print(f"{len(outcome.blocked)} runs are blocked by failed runs")


def _print_steps(steps: list[str], console: PlainConsole) -> None:
    """Print the next commands, as lines to copy."""
    console.print("next:")
    for line in steps:
        console.print(line)


def _given(**options: object) -> Iterator[str]:
    """The options that have a value, as on the command line."""
    for name, value in options.items():
        if value is not None:
            text = f"{value:.15g}" if isinstance(value, float) else str(value)
            yield from (f"--{name.replace('_', '-')}", text)


def _done(outcome: Outcome, store: Store) -> str:
    total = len(outcome.plan.fits) + len(outcome.plan.studies)
    return f"{outcome.done} of {total} planned runs are in {store.uri}"
