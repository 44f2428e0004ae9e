"""`w2s report`."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

from w2s_ray.cli.inputs import open_snapshot, optional_sweep, print_looks
from w2s_ray.cli.options import OptionalSweepFile, StoreOption
from w2s_ray.errors import InputError
from w2s_ray.plain_console import PlainConsole


def report(
    sweep_file: OptionalSweepFile = None,
    store: StoreOption = None,
    out: Annotated[Path, typer.Option(help="The HTML file to write.")] = Path("report.html"),
) -> None:
    """Write a sweep's results, or those of a whole store, as one HTML page that works offline."""
    # The page shows a sweep as it was last started, even if the sweep file has changed since.
    from w2s_ray.report.page import page_content, to_html
    from w2s_ray.report.results import Results

    sweep = optional_sweep(sweep_file)
    results = open_snapshot(store, sweep)
    if os.path.isdir(out) or not os.path.isdir(out.parent):
        raise InputError(f"--out {out} is not a file in an existing folder; name one")
    print_looks(results, sweep, command="report")
    content = page_content(Results(results), None if sweep is None else [sweep.name])
    page = to_html(content).encode()
    try:
        out.write_bytes(page)
    except OSError as error:
        raise InputError(f"--out {out} can't be written ({error.strerror}); name a file") from error
    console = PlainConsole(stderr=True, soft_wrap=True)
    started_as = content["sweeps"][0]["text"]
    if sweep_file is not None and started_as != sweep_file.read_text(encoding="utf-8"):
        console.print(
            f"{sweep_file} has changed since the sweep was started; the page shows it as it was"
        )
    console.print(f"{out}: {len(content['runs'])} runs, {len(page) / 1e6:.1f} MB")
