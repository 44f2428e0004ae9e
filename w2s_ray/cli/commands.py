"""The commands. Thin: each reads its argument, calls one room and prints what comes back.

Owns words on the terminal and exit codes (0 fine, 1 a run failed, 2 bad input). Heavy rooms are
imported inside the command that needs them, so that `plan`, `query` and `--help` start at once.
"""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape

app = typer.Typer(
    name="w2s",
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


@app.command()
def plan(
    sweep_file: SweepFile,
    store: StoreOption = None,
    runs: Annotated[bool, typer.Option("--runs", help="List every run with its id.")] = False,
) -> None:
    """Print what a sweep will run: fits of each kind, shared and done ones, what it needs."""
    with _errors():
        from w2s_ray.cli.plan_view import render_plan
        from w2s_ray.execute.prepare import plan_sweep

        sweep = _sweep(sweep_file)
        results = _store(store or sweep.store)
        planned = plan_sweep(sweep, store=results)
        done = results.done([*planned.fits, *planned.studies]) if results.exists() else set()
        render_plan(planned, done=done, store=results.uri, console=Console(), every_run=runs)


@app.command()
def run(sweep_file: SweepFile, store: StoreOption = None) -> None:
    """Run a sweep, or what is left of it, and print its table."""
    with _errors():
        from w2s_ray.execute.driver import run_sweep

        sweep = _sweep(sweep_file)
        results = _store(store or sweep.store)
        text = sweep_file.read_text(encoding="utf-8")
        outcome = run_sweep(sweep, store=results, sweep_text=text, console=Console(stderr=True))
    _print_table(results, outcome.plan, "table")
    said = Console(stderr=True, highlight=False, soft_wrap=True)
    total = len(outcome.plan.fits) + len(outcome.plan.studies)
    said.print(
        f"{outcome.trained} fits trained by this call, trials included; "
        f"{outcome.done} of {total} planned runs are in {results.uri}"
    )
    for run_id, reason in outcome.failed.items():
        said.print(f"[red]failed[/red] {run_id}: {escape(reason)}")
    if outcome.blocked:
        said.print(f"{len(outcome.blocked)} runs are blocked by those that failed")
    if outcome.failed:
        said.print(
            f"`w2s explain RUN --store {results.uri}` shows a run's traceback; the same "
            "command tries failed runs again"
        )
        raise typer.Exit(1)


@app.command()
def status(sweep_file: MaybeSweepFile = None, store: StoreOption = None) -> None:
    """Show how far a sweep is: runs done, failed and why, still to do."""
    with _errors():
        from w2s_ray.cli.status_view import render_status

        sweep = _sweep(sweep_file) if sweep_file is not None else None
        results = _existing(store, sweep)
        if sweep is not None:
            from w2s_ray.execute.prepare import plan_sweep

            render_status(results, plan=plan_sweep(sweep, store=results), console=_console())
        else:
            render_status(results, plan=None, console=_console())


@app.command()
def table(
    sweep_file: MaybeSweepFile = None,
    store: StoreOption = None,
    format: Annotated[
        str, typer.Option(help="table, markdown, csv or json.", metavar="FORMAT")
    ] = "table",
    by_seed: Annotated[bool, typer.Option("--by-seed", help="One row for each seed.")] = False,
) -> None:
    """Print the PGR table of a sweep, or of every sweep in a store."""
    with _errors():
        _one_of(format, ("table", "markdown", "csv", "json"), "--format")
        sweep = _sweep(sweep_file) if sweep_file is not None else None
        results = _existing(store, sweep)
        planned = None
        if sweep is not None:
            from w2s_ray.execute.prepare import plan_sweep

            planned = plan_sweep(sweep, store=results)
        _print_table(results, planned, format, by_seed=by_seed)


@app.command()
def query(
    sql: Annotated[
        str,
        typer.Argument(
            help="A SELECT over runs, metrics, predictions, trials, cells, splits and pgr.",
            show_default=False,
        ),
    ],
    sweep_file: MaybeSweepFile = None,
    store: StoreOption = None,
    format: Annotated[str, typer.Option(help="table, csv or json.", metavar="FORMAT")] = "table",
    limit: Annotated[int | None, typer.Option(min=1, help="Print at most so many rows.")] = None,
) -> None:
    """Answer a read-only SQL query from the store."""
    with _errors():
        from w2s_ray.cli.show import show_arrow
        from w2s_ray.report.results import sql_tables
        from w2s_ray.store.catalog import query as query_store

        _one_of(format, ("table", "csv", "json"), "--format")
        sweep = _sweep(sweep_file) if sweep_file is not None else None
        results = _existing(store, sweep)
        found = query_store(results, sql, limit=limit, extra_tables=sql_tables(results))
        show_arrow(found, format=format, console=_console())


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
            raise ValueError(f"explain takes one or two runs, not {len(runs)}")
        results = _existing(store, None)
        if len(runs) == 1:
            render_run(results, runs[0], console=_console())
        else:
            render_difference(results, runs[0], runs[1], console=_console())


def main() -> None:
    """The entry point of the `w2s` command."""
    app()


def _console() -> Console:
    """Standard output; wide where no terminal limits it."""
    return Console(width=None if sys.stdout.isatty() else 160)


def _sweep(path: Path) -> Any:
    from w2s_ray.spec import load_sweep

    return load_sweep(path)


def _store(uri: str) -> Any:
    from w2s_ray.store import Store

    return Store.open(uri)


def _existing(store: str | None, sweep: Any) -> Any:
    """The store that is asked about; it must hold something."""
    results = _store(store or (sweep.store if sweep is not None else "results"))
    results.check_readable()
    return results


def _print_table(results: Any, planned: Any, format: str, *, by_seed: bool = False) -> None:
    """The table of a plan's cells, or of every sweep that the store knows."""
    from w2s_ray.cli.show import show_pgr, show_savings
    from w2s_ray.report.savings import savings_of
    from w2s_ray.report.table import table_of

    if planned is None:
        cells = {name: results.latest_manifest(name).cells for name in results.sweep_names()}
    else:
        from w2s_ray.execute.prepare import cells_of

        cells = {planned.sweep.name: cells_of(planned)}
    show_pgr(table_of(cells, results), format=format, by_seed=by_seed, console=_console())
    if format == "table" and not by_seed:
        saved = [savings_of(of_sweep, results, sweep=name) for name, of_sweep in cells.items()]
        show_savings(saved, console=_console())


def _one_of(value: str, known: tuple[str, ...], option: str) -> None:
    if value not in known:
        raise ValueError(f"{option} is {value!r}; choose one of {', '.join(known)}")


@contextlib.contextmanager
def _errors() -> Iterator[None]:
    """Bad input is one line and exit code 2; anything else is a bug and keeps its traceback."""
    try:
        yield
    except ValueError as error:
        typer.echo(f"error: {error}", err=True)
        sys.exit(2)
    except KeyboardInterrupt:
        typer.echo("stopped; the same command goes on from here", err=True)
        sys.exit(130)
    except BrokenPipeError:
        sys.exit(0)
