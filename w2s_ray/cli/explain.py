"""`w2s explain`."""

from __future__ import annotations

from typing import Annotated

import typer

from w2s_ray.cli.completion import complete_run
from w2s_ray.cli.inputs import open_snapshot, output_console
from w2s_ray.cli.options import StoreOption
from w2s_ray.errors import InputError


def explain(
    runs: Annotated[
        list[str],
        typer.Argument(
            help="One run id, or two to compare; the first digits are enough.",
            show_default=False,
            autocompletion=complete_run,
        ),
    ],
    store: StoreOption = None,
) -> None:
    """Show a run's whole recipe and outcome, or why two runs differ."""
    from w2s_ray.cli.explain_view import print_difference, print_run

    if len(runs) > 2:
        raise InputError(f"explain takes one or two runs, not {len(runs)}")
    results = open_snapshot(store, None)
    if len(runs) == 1:
        print_run(results, runs[0], console=output_console())
    else:
        print_difference(results, runs[0], runs[1], console=output_console())
