"""`w2s diff`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from w2s_ray.cli.completion import complete_override, complete_sweep_file
from w2s_ray.cli.inputs import open_snapshot, open_store, output_console
from w2s_ray.cli.options import FormatOption, StoreOption, SweepFile, check_choice

if TYPE_CHECKING:
    from w2s_ray.config import Sweep
    from w2s_ray.store import Store


def diff(
    sweep_file: SweepFile,
    second_file: Annotated[
        str | None,
        typer.Argument(
            help="Another sweep file; default: compare with the sweep as it last ran.",
            show_default=False,
            autocompletion=complete_sweep_file,
        ),
    ] = None,
    overrides: Annotated[
        list[str] | None,
        typer.Argument(
            help="Values that replace the file's, or the second file's.",
            metavar="[KEY=VALUE]...",
            show_default=False,
            autocompletion=complete_override,
        ),
    ] = None,
    store: StoreOption = None,
    format: FormatOption = "table",
) -> None:
    """Show the keys in which two sweeps differ, and how many fits they share."""
    from w2s_ray import config
    from w2s_ray.cli.diff_view import print_diff

    check_choice(format, ("table", "json"), option="--format")
    given = list(overrides or ())
    if second_file is not None and "=" in second_file and not Path(second_file).exists():
        given, second_file = [second_file, *given], None
    last = config.load_sweep(second_file or sweep_file, overrides=given)
    title = " ".join((second_file or str(sweep_file), *given))
    if second_file is not None:
        sweeps = {"A": (str(sweep_file), config.load_sweep(sweep_file)), "B": (title, last)}
    else:
        sweeps = {
            "A": (f"{last.name} as it last ran", _last_run(last, store, sweep_file.parent)),
            "B": (title, last),
        }
    stores = {side: open_store(store, sweep) for side, (_, sweep) in sweeps.items()}
    print_diff(sweeps, stores, format=format, console=output_console())


def _last_run(sweep: Sweep, uri: str | None, folder: Path) -> Sweep:
    """The sweep of this name as it last ran in its store.

    Its plugins are loaded from `folder` as they are now. Those whose kinds a done run had from
    another source have that source's digest.
    """
    from w2s_ray.cli.ran_sources import with_sources_of_runs
    from w2s_ray.config import parse_sweep
    from w2s_ray.errors import InputError

    results: Store = open_snapshot(uri, sweep)
    manifest = results.manifests.latest(sweep.name)
    text = manifest.sweep_text
    if not text:
        raise InputError(
            f"sweep {sweep.name} in {results.uri} ran from Python, and has no file; give two files"
        )
    ran = parse_sweep(text, name=f"{sweep.name} in {results.uri}", folder=folder)
    return with_sources_of_runs(ran, manifest, results)
