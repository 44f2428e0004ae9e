"""The commands. Thin: each reads its argument, calls one room and prints what comes back.

Owns words on the terminal and exit codes (0 fine, 1 a run failed, 2 bad input, 70 a bug). Heavy
rooms are imported inside the command that needs them, so that `plan`, `query` and `--help` start at
once.
"""

from __future__ import annotations

import contextlib
import errno
import gc
import os
import sys
import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, NoReturn

import typer
from rich.text import Text

from w2s_ray.cli.notes import Commands, SqlCommand
from w2s_ray.cli.terminal import print_anything, reader_left
from w2s_ray.errors import InputError
from w2s_ray.places import checked_place
from w2s_ray.terminal import PlainConsole

app = typer.Typer(
    name="w2s",
    cls=Commands,
    help="Weak-to-strong generalization experiments as sweeps on Ray.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

SweepFile = Annotated[Path, typer.Argument(help="The sweep file (YAML).", show_default=False)]
MaybeSweepFile = Annotated[
    Path | None, typer.Argument(help="The sweep file; or give --store.", show_default=False)
]
StoreOption = Annotated[
    str | None,
    typer.Option(help="Folder or URI of the results; default: the sweep file's `store`."),
]

RayOption = Annotated[
    str | None,
    typer.Option(
        help="A running Ray cluster, HOST:6379; default: RAY_ADDRESS, else this machine.",
        metavar="HOST:PORT",
    ),
]

TableFormat = Annotated[
    str, typer.Option(help="table, markdown, csv, json or latex.", metavar="FORMAT")
]
AcceleratorOption = Annotated[
    str | None,
    typer.Option(help="What fits run on: H100, A100-80G, L4, ...", show_default=False),
]
AcceleratorsOption = Annotated[
    Path | None, typer.Option(help="A file with more accelerators.", show_default=False)
]
UtilisationOption = Annotated[
    float, typer.Option(help="Share of the accelerator's peak that fits reach.")
]
PriceOption = Annotated[
    float | None,
    typer.Option(
        help="What one device costs for an hour, with --currency.",
        metavar="NUMBER",
        show_default=False,
    ),
]
CurrencyOption = Annotated[
    str | None, typer.Option(help="What prices are in: USD, EUR, ...", show_default=False)
]
BudgetOption = Annotated[
    str | None,
    typer.Option(
        help="Start nothing new once the sweep has spent this: '12 device-hours', or '50 USD' with "
        "--price-per-hour and --currency.",
        show_default=False,
    ),
]
DEBUG = "W2S_DEBUG"
"""Environment variable that adds the traceback to the one line of an `InputError`."""

ENVIRONMENT = {
    errno.ENOSPC: "free some space; the same command goes on from here",
    errno.EDQUOT: "free some of your quota; the same command goes on from here",
    errno.EROFS: "name a place that can be written",
    errno.EMFILE: "allow more open files (ulimit -n 65536)",
    errno.ENFILE: "the machine has no open files left; end what holds them",
    errno.ENOMEM: "the machine has no memory left; end what holds it",
}
"""Errors of the system that are the machine's and no bug, and the remedy."""

BUG = (
    "This is a bug in w2s_ray: please report it to its maintainers with the traceback above, the "
    "command and the sweep file. Results in the store are safe."
)

_TABLE_FORMATS = ("table", "markdown", "csv", "json", "latex")


@app.callback()
def _prepare() -> None:
    print_anything()


@app.command()
def plan(
    sweep_file: SweepFile,
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
            help="A cluster's file: refuse what none of its nodes can hold.", show_default=False
        ),
    ] = None,
    format: Annotated[str, typer.Option(help="table or json.", metavar="FORMAT")] = "table",
) -> None:
    """Print what a sweep will run: fits of each kind, what it needs, takes and costs."""
    with _errors():
        from w2s_ray.cli.cost_options import device_of
        from w2s_ray.cli.plan_view import render_plan
        from w2s_ray.cli.room_view import placed
        from w2s_ray.config.budget import read_price
        from w2s_ray.prepare import plan_sweep

        _one_of(format, ("table", "json"), "--format")
        device = device_of(accelerator, accelerators, utilisation)
        price = read_price(price_per_hour, currency)
        if price is not None and device is None:
            raise InputError("--price-per-hour needs device time; add --accelerator NAME")
        sweep = _sweep(sweep_file)
        results = _store(store or sweep.store)
        planned, room = placed(
            plan_sweep(sweep, store=results), cluster_file=cluster, accelerator=accelerator
        )
        done = results.done([*planned.fits, *planned.studies]) if results.exists() else set()
        render_plan(
            planned,
            done=done,
            store=results.uri,
            console=_console(),
            every_run=runs,
            device=device,
            price=price,
            format=format,
        )
        for line in room if format == "table" else ():
            _console().print(line)


@app.command()
def run(
    sweep_file: SweepFile,
    store: StoreOption = None,
    address: RayOption = None,
    budget: BudgetOption = None,
    price_per_hour: PriceOption = None,
    currency: CurrencyOption = None,
) -> None:
    """Run a sweep, or what is left of it, and print its table. Ctrl-C stops it cleanly."""
    with _errors():
        from w2s_ray.cli.again import begin_again
        from w2s_ray.cli.cost_options import budget_of
        from w2s_ray.execute.driver import run_sweep

        limit = budget_of(budget, price_per_hour=price_per_hour, currency=currency)
        sweep = _sweep(sweep_file)
        results = _store(store or sweep.store)
        text = sweep_file.read_text(encoding="utf-8")
        outcome = run_sweep(
            sweep,
            store=results,
            sweep_text=text,
            console=PlainConsole(stderr=True),
            address=address,
            on_ray_lost=begin_again,
            budget=limit,
        )
    said = PlainConsole(stderr=True, soft_wrap=True)
    total = len(outcome.plan.fits) + len(outcome.plan.studies)
    if outcome.spent is not None:
        said.print(f"{outcome.spent}; {outcome.left} fits are left undone, trials included")
    if outcome.stopped is not None:
        more = " with a larger budget, or none," if outcome.stopped.startswith("its budget") else ""
        said.print(
            f"stopped by {outcome.stopped}: {outcome.done} of {total} planned runs are in "
            f"{results.uri}, and the same command{more} goes on from here"
        )
        raise typer.Exit(130)
    _print_table(results, outcome.plan, "table")
    said.print(
        f"{outcome.trained} fits trained by this call, trials included; "
        f"{outcome.done} of {total} planned runs are in {results.uri}"
    )
    for run_id, reason in outcome.failed.items():
        said.print(Text.assemble(("failed", "red"), f" {run_id}: {reason}"))
    if outcome.blocked:
        said.print(f"{len(outcome.blocked)} runs are blocked by those that failed")
    if outcome.failed:
        said.print(
            f"`w2s explain RUN --store {results.uri}` shows a run's traceback; the same "
            "command tries failed runs again"
        )
        raise typer.Exit(1)


@app.command()
def submit(
    sweep_file: SweepFile,
    address: Annotated[
        str,
        typer.Option(
            help="The cluster's dashboard, such as http://127.0.0.1:8265.",
            metavar="URL",
            show_default=False,
        ),
    ],
    store: StoreOption = None,
    shared: Annotated[
        bool,
        typer.Option("--shared", help="Folders of this machine are on every node, at these paths."),
    ] = False,
    env: Annotated[
        list[str] | None,
        typer.Option(help="A variable that the job gets from here; repeatable.", metavar="NAME"),
    ] = None,
    image_has_package: Annotated[
        bool,
        typer.Option("--image-has-package", help="Don't send this installation's w2s_ray along."),
    ] = False,
    detach: Annotated[bool, typer.Option("--detach", help="Don't follow the log.")] = False,
    budget: BudgetOption = None,
    price_per_hour: PriceOption = None,
    currency: CurrencyOption = None,
) -> None:
    """Run a sweep as a job on a cluster, and follow it. The same command follows it again."""
    with _errors():
        from w2s_ray.cli.cost_options import budget_of
        from w2s_ray.cli.jobs_view import submit_sweep
        from w2s_ray.execute.job_submission import submission

        limit = budget_of(budget, price_per_hour=price_per_hour, currency=currency)
        wanted = submission(
            _sweep(sweep_file),
            sweep_file=sweep_file,
            store=store,
            shared=shared,
            variables=env or (),
            budget=limit,
        )
        code = submit_sweep(
            wanted,
            sweep_file=sweep_file,
            address=address,
            package=not image_has_package,
            detach=detach,
        )
    if code:
        raise typer.Exit(code)


@app.command()
def cancel(
    target: Annotated[
        str, typer.Argument(help="A sweep file; with --address also a job.", show_default=False)
    ],
    store: StoreOption = None,
    address: Annotated[
        str | None,
        typer.Option(help="The dashboard of the cluster whose job is stopped.", metavar="URL"),
    ] = None,
) -> None:
    """Stop a sweep cleanly: fits write a checkpoint first, results stay."""
    with _errors():
        from w2s_ray.cli.jobs_view import cancel_drivers, cancel_jobs

        sweep = _sweep(Path(target)) if os.path.isfile(target) else None
        if address is not None:
            cancel_jobs(target, sweep, address=address)
        elif sweep is not None:
            cancel_drivers(sweep, _store(store or sweep.store))
        else:
            raise InputError(f"{target} is no sweep file; for a job, say where: --address URL")


@app.command()
def status(
    sweep_file: MaybeSweepFile = None,
    store: StoreOption = None,
    format: Annotated[str, typer.Option(help="table or json.", metavar="FORMAT")] = "table",
    watch: Annotated[
        bool, typer.Option("--watch", help="Look again and again, until the sweep ends.")
    ] = False,
    every: Annotated[
        float, typer.Option(min=0.1, help="Seconds between two looks of --watch.")
    ] = 2.0,
) -> None:
    """Show how far a sweep is: runs running, waiting and why, failed and why, time left."""
    with _errors():
        _one_of(format, ("table", "json"), "--format")
        if sweep_file is not None:
            from w2s_ray.cli.status_view import show_sweep

            sweep = _sweep(sweep_file)
            results = _store(store or sweep.store)
            every_s = every if watch else None
            show_sweep(sweep, results, every_s=every_s, format=format, console=_console())
        elif watch:
            raise InputError("--watch looks at one sweep; name its file")
        else:
            from w2s_ray.cli.store_view import show_store

            show_store(_existing(store, None), format=format, console=_console())


@app.command()
def table(
    sweep_file: MaybeSweepFile = None,
    store: StoreOption = None,
    format: TableFormat = "table",
    by_seed: Annotated[bool, typer.Option("--by-seed", help="One row for each seed.")] = False,
    pivot: Annotated[
        bool,
        typer.Option("--pivot", help="A grid, weak by strong, for each task and method."),
    ] = False,
    cost: Annotated[
        bool, typer.Option("--cost", help="What each row took, and its PGR per device hour.")
    ] = False,
) -> None:
    """Print the PGR table of a sweep, or of every sweep in a store."""
    with _errors():
        _one_of(format, _TABLE_FORMATS, "--format")
        if by_seed + pivot + cost > 1:
            raise InputError("give one of --by-seed, --pivot and --cost: the latter are over seeds")
        if cost and format in ("csv", "json"):
            raise InputError(
                f"--cost is no {format}; `w2s cost SWEEP --format json` has the figures"
            )
        sweep = _sweep(sweep_file) if sweep_file is not None else None
        results = _existing(store, sweep)
        planned = _planned(sweep, results)
        if cost:
            from w2s_ray.cli.cost_view import show_cells

            show_cells(_cells(results, planned), results, format=format, console=_console())
            return
        _print_table(results, planned, format, by_seed=by_seed, pivot=pivot)


@app.command()
def compare(
    sweep_file: MaybeSweepFile = None,
    store: StoreOption = None,
    against: Annotated[str, typer.Option(help="The method to compare with.")] = "naive",
    format: TableFormat = "table",
) -> None:
    """Compare each method with one: differences over tasks and pairs, intervals and p values."""
    with _errors():
        from w2s_ray.cli.compare_view import show_comparisons
        from w2s_ray.report.compare import compare as compared
        from w2s_ray.report.table import table_of

        _one_of(format, _TABLE_FORMATS, "--format")
        sweep = _sweep(sweep_file) if sweep_file is not None else None
        results = _existing(store, sweep)
        made = table_of(_cells(results, _planned(sweep, results)), results)
        found = compared(made, results, against=against)
        show_comparisons(found, against=against, format=format, console=_console())


@app.command()
def cost(
    sweep_file: SweepFile,
    store: StoreOption = None,
    accelerator: AcceleratorOption = None,
    accelerators: AcceleratorsOption = None,
    utilisation: UtilisationOption = 0.4,
    price_per_hour: PriceOption = None,
    currency: CurrencyOption = None,
    format: Annotated[str, typer.Option(help="table or json.", metavar="FORMAT")] = "table",
) -> None:
    """Show what a sweep has cost so far, beside the estimate, and what each cell cost."""
    with _errors():
        from w2s_ray.cli.cost_options import device_of
        from w2s_ray.cli.cost_view import show_bill
        from w2s_ray.config.budget import read_price
        from w2s_ray.data.shapes import Shapes
        from w2s_ray.plan.estimates import estimate_plan
        from w2s_ray.report.bill import bill
        from w2s_ray.report.table import table_of
        from w2s_ray.status.spending import SpendingReader

        _one_of(format, ("table", "json"), "--format")
        device = device_of(accelerator, accelerators, utilisation)
        price = read_price(price_per_hour, currency)
        sweep = _sweep(sweep_file)
        results = _existing(store, sweep)
        planned = _planned(sweep, results)
        done = results.done([*planned.fits, *planned.studies])
        cells = _cells(results, planned)
        spending = SpendingReader(results).of_plan(planned)
        made = bill(cells[sweep.name], table_of(cells, results), spending)
        estimate = estimate_plan(planned, Shapes(planned.inputs), done=done, device=device)
        show_bill(made, estimate, price=price, format=format, console=_console())


@app.command()
def figures(
    sweep_file: MaybeSweepFile = None,
    store: StoreOption = None,
    out: Annotated[Path, typer.Option(help="Folder to write to.")] = Path("figures"),
    format: Annotated[
        str, typer.Option(help="Any of svg, png, html, json.", metavar="FORMAT,...")
    ] = "svg",
    only: Annotated[
        list[str] | None, typer.Option(help="A figure's name; may be repeated.", metavar="NAME")
    ] = None,
    x: Annotated[str, typer.Option(help="A model's size: parameters or flops.")] = "parameters",
    theme: Annotated[str, typer.Option(help="light or dark.")] = "light",
) -> None:
    """Write the figures of a sweep, or of every sweep in a store."""
    with _errors():
        from w2s_ray.cli.figures_view import write_figures

        sweep = _sweep(sweep_file) if sweep_file is not None else None
        write_figures(
            _existing(store, sweep),
            sweep=sweep.name if sweep is not None else None,
            out=out,
            formats=format,
            only=only or (),
            x=x,
            theme=theme,
            console=_console(),
        )


@app.command(cls=SqlCommand)
def query(
    sql: Annotated[
        str | None,
        typer.Argument(
            help="A SELECT over runs, metrics, predictions, trials, cells, splits and pgr.",
            show_default=False,
        ),
    ] = None,
    sweep_file: MaybeSweepFile = None,
    store: StoreOption = None,
    format: Annotated[
        str, typer.Option(help="table, csv, json, jsonl or parquet.", metavar="FORMAT")
    ] = "table",
    out: Annotated[
        Path | None, typer.Option(help="Write to this file.", show_default=False)
    ] = None,
    limit: Annotated[int | None, typer.Option(min=1, help="At most so many rows.")] = None,
    timeout: Annotated[
        float | None,
        typer.Option(min=0.001, help="End the query after so many seconds.", metavar="SECONDS"),
    ] = None,
    columns: Annotated[
        bool,
        typer.Option(
            "--columns",
            help="List every table and column with its meaning, as table, markdown or json.",
        ),
    ] = False,
) -> None:
    """Answer a read-only SQL query from the store."""
    with _errors():
        from w2s_ray.cli.query_view import COLUMN_FORMATS, FORMATS, show_columns, show_query

        _one_of(format, COLUMN_FORMATS if columns else FORMATS, "--format")
        if columns:
            show_columns(format=format, console=_console())
            return
        if sql is None:
            raise InputError("there is no query; give SQL, or --columns for what can be asked")
        sweep = _sweep(sweep_file) if sweep_file is not None else None
        results = _existing(store, sweep)
        show_query(
            results,
            sql,
            format=format,
            out=out,
            limit=limit,
            timeout_s=timeout,
            console=_console(),
        )


@app.command()
def compact(sweep_file: MaybeSweepFile = None, store: StoreOption = None) -> None:
    """Copy a store's runs to few large files, from which queries and tables read them faster."""
    with _errors():
        from w2s_ray.cli.compact_view import show_compaction

        sweep = _sweep(sweep_file) if sweep_file is not None else None
        show_compaction(_existing(store, sweep), console=_console())


@app.command()
def report(
    sweep_file: MaybeSweepFile = None,
    store: StoreOption = None,
    out: Annotated[Path, typer.Option(help="The HTML file to write.")] = Path("report.html"),
) -> None:
    """Write a sweep's results, or those of a whole store, as one HTML page that works offline."""
    with _errors():
        from w2s_ray.cli.report_view import write_report

        sweep = _sweep(sweep_file) if sweep_file is not None else None
        results = _existing(store, sweep)
        name = sweep.name if sweep is not None else None
        write_report(
            results, sweep=name, sweep_file=sweep_file, out=out, console=PlainConsole(stderr=True)
        )


@app.command()
def explain(
    runs: Annotated[
        list[str],
        typer.Argument(
            help="One run id, or two to compare; the first digits are enough.", show_default=False
        ),
    ],
    store: StoreOption = None,
) -> None:
    """Show a run's whole recipe and outcome, or why two runs differ."""
    with _errors():
        from w2s_ray.cli.explain import render_difference, render_run

        if len(runs) > 2:
            raise InputError(f"explain takes one or two runs, not {len(runs)}")
        results = _existing(store, None)
        if len(runs) == 1:
            render_run(results, runs[0], console=_console())
        else:
            render_difference(results, runs[0], runs[1], console=_console())


def main() -> None:
    """The entry point of the `w2s` command."""
    app()


def _console() -> PlainConsole:
    """Standard output; wide where no terminal limits it."""
    return PlainConsole(width=None if sys.stdout.isatty() else 160)


def _sweep(path: Path) -> Any:
    from w2s_ray.config import load_sweep

    return load_sweep(path)


def _store(uri: str) -> Any:
    from w2s_ray.store import Store

    return Store.open(checked_place(uri))


def _existing(store: str | None, sweep: Any) -> Any:
    """The store that is asked about, as it stands now; it must hold something.

    A command that only reads keeps nearly all that it makes: looked for garbage at Python's usual
    rate, 100,000 records would be gone through again and again.
    """
    gc.set_threshold(200_000)
    results = _store(store or (sweep.store if sweep is not None else "results"))
    results.check_readable()
    return results.snapshot()


def _planned(sweep: Any, results: Any) -> Any:
    """The sweep's plan; None without a sweep."""
    if sweep is None:
        return None
    from w2s_ray.prepare import plan_sweep

    return plan_sweep(sweep, store=results)


def _cells(results: Any, planned: Any) -> Any:
    """A plan's cells by its sweep's name, or those of every sweep that the store knows."""
    if planned is None:
        return {name: results.latest_manifest(name).cells for name in results.sweep_names()}
    from w2s_ray.prepare import cells_of

    return {planned.sweep.name: cells_of(planned)}


def _print_table(
    results: Any, planned: Any, format: str, *, by_seed: bool = False, pivot: bool = False
) -> None:
    """The table of a plan's cells, or of every sweep that the store knows."""
    from w2s_ray.cli.show import show_pgr, show_savings
    from w2s_ray.report.savings import savings_of
    from w2s_ray.report.table import table_of

    cells = _cells(results, planned)
    made = table_of(cells, results)
    if pivot:
        from w2s_ray.cli.pivot_view import declared_models, show_pivot

        models = {name: declared_models(results, name, planned) for name in cells}
        show_pivot(made, store=results, models=models, format=format, console=_console())
        return
    show_pgr(made, format=format, by_seed=by_seed, console=_console())
    if format == "table" and not by_seed:
        show_savings(savings_of(cells, results), console=_console())


def _one_of(value: str, known: tuple[str, ...], option: str) -> None:
    if value not in known:
        raise InputError(f"{option} is {value!r}; choose one of {', '.join(known)}")


@contextlib.contextmanager
def _errors() -> Iterator[None]:
    """Bad input: one line, exit code 2. Any other error is a bug: its traceback, exit code 70."""
    try:
        yield
    except InputError as error:
        if os.environ.get(DEBUG):
            traceback.print_exc()
        typer.echo(f"error: {error}", err=True)
        sys.exit(2)
    except KeyboardInterrupt:
        typer.echo("stopped; the same command goes on from here", err=True)
        sys.exit(130)
    except BrokenPipeError:
        if reader_left():
            raise
        _report_bug()
    except typer.Exit:
        raise
    except OSError as error:
        if error.errno not in ENVIRONMENT:
            _report_bug()
        where = f" ({error.filename})" if error.filename else ""
        typer.echo(f"error: {error.strerror}{where}: {ENVIRONMENT[error.errno]}", err=True)
        sys.exit(2)
    except Exception:  # noqa: BLE001  # the boundary of the program: reported, then the end
        _report_bug()


def _report_bug() -> NoReturn:
    traceback.print_exc()
    typer.echo(BUG, err=True)
    sys.exit(70)
