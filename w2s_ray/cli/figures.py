"""`w2s figures`: a sweep's figures as files, one folder for each sweep."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, get_args

import typer

from w2s_ray.cli.completion import complete_figure
from w2s_ray.cli.inputs import (
    check_output,
    open_snapshot,
    optional_sweep,
    output_console,
    print_looks,
)
from w2s_ray.cli.next_steps import RunArguments
from w2s_ray.cli.options import OptionalSweepFile, Overrides, StoreOption, check_choice
from w2s_ray.cli.other_overrides import check_ran
from w2s_ray.errors import InputError

if TYPE_CHECKING:
    from w2s_ray.report.figures import Figure, Format


def figures(
    sweep_file: OptionalSweepFile = None,
    overrides: Overrides = None,
    store: StoreOption = None,
    out: Annotated[Path, typer.Option(help="Folder to write to.")] = Path("figures"),
    format: Annotated[
        str, typer.Option(help="Any of svg, png, html, json.", metavar="FORMAT,...")
    ] = "svg",
    only: Annotated[
        list[str] | None,
        typer.Option(
            help="A figure's name; may be repeated.",
            metavar="NAME",
            autocompletion=complete_figure,
        ),
    ] = None,
    x: Annotated[str, typer.Option(help="A model's size: parameters or flops.")] = "parameters",
    theme: Annotated[str, typer.Option(help="light or dark.")] = "light",
) -> None:
    """Write the figures of a sweep, or of every sweep in a store."""
    from w2s_ray.report.figures import Theme, XAxis, export, figures_of
    from w2s_ray.report.results import Results

    sweep = optional_sweep(sweep_file, overrides)
    results = open_snapshot(store, sweep)
    check_output(out, results, sweep_file=sweep_file)
    if sweep_file is not None and sweep is not None:
        call = RunArguments(sweep_file, overrides or (), store)
        check_ran(call, results, sweep, command="figures")
    formats, axis = _formats(format), check_choice(x, get_args(XAxis), option="--x")
    chosen_theme = check_choice(theme, get_args(Theme), option="--theme")
    print_looks(results, sweep, command="figures")
    names = results.manifests.sweeps() if sweep is None else [sweep.name]

    def drawn(only: Sequence[str] | None) -> dict[str, dict[str, Figure]]:
        return {name: figures_of(Results(results), name, x=axis, only=only) for name in names}

    by_sweep = drawn(only or None)
    unknown = [name for name in only or () if not any(name in of for of in by_sweep.values())]
    if unknown:
        known = dict.fromkeys(name for of_sweep in drawn(None).values() for name in of_sweep)
        raise InputError(
            f"--only is {unknown[0]!r}; {', '.join(names) or 'the store'} has the figures "
            f"{', '.join(known) or 'none: no run is done'}"
        )
    console = output_console()
    for name, of_sweep in by_sweep.items():
        for figure in of_sweep.values():
            path = out / name / figure.name
            for each in formats:
                content = export(figure, each, theme=chosen_theme)
                _write(path.with_name(f"{figure.name}.{each}"), content)
            console.print(f"{path}: {figure.title}", soft_wrap=True)
        if not of_sweep and not only:
            console.print(f"{name}: no run is done, so there is nothing to draw")


def _write(path: Path, content: bytes) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    except OSError as error:
        raise InputError(f"--out: {path} can't be written ({error.strerror})") from error


def _formats(text: str) -> tuple[Format, ...]:
    """The formats in a comma-separated list.

    Raises:
        InputError: an unknown format, or none.
    """
    from w2s_ray.report.figures import FORMATS

    words = [word.strip() for word in text.split(",") if word.strip()]
    unknown = [word for word in words if word not in FORMATS]
    if unknown or not words:
        raise InputError(
            f"--format is {text!r}; choose among {', '.join(FORMATS)}, separated by commas"
        )
    return tuple(known for known in FORMATS if known in words)
