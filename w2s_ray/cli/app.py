"""The `w2s` application: its commands, in the order in which `--help` lists them.

Every command is thin: it checks its options, calls one package and prints the result. Heavy
packages are imported inside the command that needs them, so that `plan`, `query` and `--help`
start fast.
"""

from __future__ import annotations

from typing import Annotated

import typer

from w2s_ray.cli.check import check
from w2s_ray.cli.command_types import Command, CommandGroup, SqlCommand
from w2s_ray.cli.compact import compact
from w2s_ray.cli.cost import cost
from w2s_ray.cli.data import data
from w2s_ray.cli.diff import diff
from w2s_ray.cli.doctor import doctor
from w2s_ray.cli.explain import explain
from w2s_ray.cli.figures import figures
from w2s_ray.cli.init import init
from w2s_ray.cli.jobs import cancel, submit
from w2s_ray.cli.plan import plan
from w2s_ray.cli.query import query
from w2s_ray.cli.rank import rank
from w2s_ray.cli.report import report
from w2s_ray.cli.run import run
from w2s_ray.cli.schema import schema
from w2s_ray.cli.serve import serve
from w2s_ray.cli.standard_streams import replace_unencodable
from w2s_ray.cli.status import status
from w2s_ray.cli.tables import compare, table

app = typer.Typer(
    name="w2s",
    cls=CommandGroup,
    help="Weak-to-strong generalization experiments as sweeps on Ray.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _print_version(wanted: bool) -> None:
    if wanted:
        from w2s_ray import __version__

        typer.echo(f"w2s_ray {__version__}")
        raise typer.Exit


@app.callback()
def main(
    version: Annotated[
        bool,
        typer.Option(
            "--version", help="Print the version.", callback=_print_version, is_eager=True
        ),
    ] = False,
) -> None:
    """What precedes every command."""
    replace_unencodable()


for command in (
    *(init, data, plan, diff, run, submit, cancel, status, table, compare, rank, cost),
    *(figures, query, compact, report, serve, explain, schema, check, doctor),
):
    app.command(cls=SqlCommand if command is query else Command)(command)
