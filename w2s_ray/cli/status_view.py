"""The output of `w2s status` for a sweep, once or repeatedly."""

from __future__ import annotations

import contextlib
import dataclasses
import json

import typer

from w2s_ray.config import Sweep
from w2s_ray.plain_console import PlainConsole
from w2s_ray.status.layout import status_layout
from w2s_ray.status.reader import StatusReader
from w2s_ray.status.values import Status
from w2s_ray.status.watch import show, statuses
from w2s_ray.store import Store


def print_sweep_status(
    sweep: Sweep, store: Store, *, every_s: float | None, format: str, console: PlainConsole
) -> Status | None:
    """Print the status of `sweep` as `table` or `json`: once, or every `every_s` seconds.

    Returns it if it is printed once.
    """
    reader = StatusReader(sweep, store)
    if every_s is None:
        status = reader.look(patient=True)
        if format == "json":
            _print_json(status, indent=1)
        else:
            console.print(status_layout(status))
        return status
    if format == "json":
        with contextlib.suppress(KeyboardInterrupt):
            for status in statuses(reader.look, every_s=every_s):
                _print_json(status)
    else:
        show(statuses(reader.look, every_s=every_s), console=console)
    return None


def _print_json(status: Status, *, indent: int | None = None) -> None:
    typer.echo(json.dumps(dataclasses.asdict(status), indent=indent))
