"""`w2s report`."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

from w2s_ray.cli.inputs import check_output, open_snapshot, print_looks
from w2s_ray.cli.next_steps import RunArguments
from w2s_ray.cli.options import NoTextsOption, OptionalSweepFile, Overrides, StoreOption
from w2s_ray.cli.other_overrides import check_ran
from w2s_ray.errors import InputError
from w2s_ray.plain_console import PlainConsole


def report(
    sweep_file: OptionalSweepFile = None,
    overrides: Overrides = None,
    store: StoreOption = None,
    out: Annotated[Path, typer.Option(help="The HTML file to write.")] = Path("report.html"),
    no_texts: NoTextsOption = False,
) -> None:
    """Write a sweep's results, or those of a whole store, as one HTML page that works offline."""
    # The page shows a sweep as it was last started, even if the sweep file has changed since.
    from w2s_ray.config import read_sweep
    from w2s_ray.execute.steps import step
    from w2s_ray.report.page import page_content, to_html
    from w2s_ray.report.page.content import every_sweep
    from w2s_ray.report.results import Results

    source = None if sweep_file is None else read_sweep(sweep_file, overrides=overrides or ())
    results = open_snapshot(store, source.sweep if source else None)
    if os.path.isdir(out) or not os.path.isdir(out.parent):
        raise InputError(f"--out {out} is not a file in an existing folder; name one")
    check_output(out, results, sweep_file=sweep_file)
    if sweep_file is not None and source is not None:
        call = RunArguments(sweep_file, overrides or (), store)
        check_ran(call, results, source.sweep, command="report")
    print_looks(results, source.sweep if source else None, command="report")
    names = [source.sweep.name] if source else every_sweep(results)
    console = PlainConsole(stderr=True, soft_wrap=True)
    with step(console, "computing tables and figures of the page"):
        content = page_content(Results(results), names, has_texts=not no_texts)
        page = to_html(content).encode()
    try:
        out.write_bytes(page)
    except OSError as error:
        raise InputError(f"--out {out} can't be written ({error.strerror}); name a file") from error
    started_as = content["sweeps"][0]["text"]
    if source is not None and started_as != source.text:
        console.print(
            f"{sweep_file} or its overrides have changed since the sweep was started; the page "
            "shows it as it was"
        )
    runs = f"{len(content['runs'])} runs, trials included"
    console.print(f"{out}: {runs}, {len(page) / 1e6:.1f} MB")
