"""`w2s doctor`."""

from __future__ import annotations

import json
from dataclasses import asdict

import typer

from w2s_ray.cli.inputs import optional_sweep, output_console
from w2s_ray.cli.options import (
    FormatOption,
    OptionalSweepFile,
    Overrides,
    StoreOption,
    check_choice,
)


def doctor(
    sweep_file: OptionalSweepFile = None,
    overrides: Overrides = None,
    store: StoreOption = None,
    format: FormatOption = "table",
) -> None:
    """Check versions, Ray, GPU, hub, token, store and disk of this machine; starts nothing."""
    from w2s_ray.execute.doctor import examine
    from w2s_ray.paths import checked_folder_or_uri
    from w2s_ray.store import Store

    check_choice(format, ("table", "json"), option="--format")
    sweep = optional_sweep(sweep_file, overrides)
    uri = store or (sweep.store if sweep is not None else "results")
    findings = examine(Store.open(checked_folder_or_uri(uri)))
    if format == "json":
        typer.echo(json.dumps([asdict(finding) for finding in findings], indent=2))
    else:
        console = output_console()
        for finding in findings:
            remedy = f"; {finding.remedy}" if finding.remedy else ""
            line = f"{finding.state:<7} {finding.check:<9} {finding.detail}{remedy}"
            console.print(line, soft_wrap=True)
    if any(finding.state == "broken" for finding in findings):
        raise typer.Exit(1)
