"""`w2s check`."""

from __future__ import annotations

from typing import Annotated

import typer

from w2s_ray.cli.inputs import output_console


def check(
    plugin: Annotated[
        str,
        typer.Argument(
            help="A Python file, or the name of a module that can be imported.", show_default=False
        ),
    ],
) -> None:
    """Check what a plugin has: losses, transforms, extractors, tasks; one line for each check."""
    from rich.text import Text

    from w2s_ray.checks import check_plugin
    from w2s_ray.plugins import find_source, loaded

    console, failed = output_console(), 0
    for found in check_plugin(loaded(find_source(plugin))):
        outcome = ("ok    ", "green") if found.passed else ("failed", "red")
        line = f"  {found.subject}: {found.name}: {found.figures}"
        console.print(Text.assemble(outcome, line), soft_wrap=True)
        failed += not found.passed
    if failed:
        raise typer.Exit(1)
