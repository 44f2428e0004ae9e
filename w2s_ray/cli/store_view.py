"""The output of `w2s status` for a whole store: runs by state, sweeps, drivers and failures."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from typing import Any

import typer
from rich.table import Table

from w2s_ray.plain_console import PlainConsole
from w2s_ray.store import Record, Store
from w2s_ray.store.heartbeats import DriverState, LivenessMonitor, read_driver_states

_NOUNS = {"fit": ("fit", "fits"), "study": ("study", "studies")}
"""Kind of run -> singular and plural."""


def print_store_status(store: Store, *, format: str, console: PlainConsole) -> None:
    """Print the status of `store` as `table` or `json`."""
    status = store_status(store)
    if format == "json":
        typer.echo(json.dumps(status, indent=1))
    else:
        _print_table(status, console)


def store_status(store: Store) -> dict[str, Any]:
    """The status of a store as JSON."""
    latest = {record.id: record for record in store.latest()}
    monitor = LivenessMonitor()
    return {
        "store": store.uri,
        "runs": Counter(f"{_NOUNS[record.kind][1]} {record.status}" for record in latest.values()),
        "sweeps": {name: _cell_counts(store, name, latest) for name in store.manifests.sweeps()},
        "drivers": [
            {**_driver(state), "alive": monitor.liveness(state) != "dead"}
            for state in read_driver_states(store.files)
        ],
        "failed": [_failed(record) for record in latest.values() if record.status == "failed"],
        "retried": sum((Counter(record.retries) for record in latest.values()), Counter[str]()),
    }


def _print_table(status: Mapping[str, Any], console: PlainConsole) -> None:
    runs = ", ".join(_counted(*run) for run in Counter(status["runs"]).most_common())
    console.print(f"{status['store']}: {runs or 'no runs'}", soft_wrap=True)
    for name, cells in status["sweeps"].items():
        console.print(f"sweep {name}: {cells['complete']} of {cells['cells']} cells complete")
    for driver in status["drivers"]:
        state = f"{driver['running']} fits running" if driver["alive"] else "gone"
        console.print(
            f"driver of {driver['sweep']} on {driver['host']}, process {driver['pid']}: {state}"
        )
    if status["failed"]:
        console.print(_failures(status["failed"]))
    if status["retried"]:
        causes = Counter(status["retried"]).most_common()
        console.print(f"retried after: {', '.join(f'{cause} {count}' for cause, count in causes)}")


def _counted(state: str, count: int) -> str:
    plural, status = state.split(" ", 1)
    singular = next(one for one, many in _NOUNS.values() if many == plural)
    return f"{count} {singular if count == 1 else plural} {status}"


def _cell_counts(store: Store, name: str, latest: Mapping[str, Record]) -> dict[str, int]:
    """Number of a sweep's cells, and of its cells whose three runs are all done."""
    cells = store.manifests.latest(name).cells
    complete = sum(
        len(cell.runs) == 3
        and all(run in latest and latest[run].status == "done" for run in cell.runs)
        for cell in cells
    )
    return {"cells": len(cells), "complete": complete}


def _driver(state: DriverState) -> dict[str, Any]:
    runs = state.about.get("runs", ())
    return {
        "sweep": str(state.about.get("sweep")),
        "host": state.host,
        "pid": state.holder.pid,
        "running": sum(run["state"] == "running" and "roles" in run for run in runs),
    }


def _failed(record: Record) -> dict[str, Any]:
    return {
        "run": record.id,
        "task": record.about.get("task"),
        "model": record.about.get("model"),
        "attempts": record.attempts,
        "cause": record.cause,
        "reason": record.reason,
    }


def _failures(failed: list[dict[str, Any]]) -> Table:
    table = Table(box=None, pad_edge=False)
    for name in ("failed run", "task", "model", "attempts", "reason"):
        table.add_column(name)
    for run in failed:
        table.add_row(
            run["run"],
            str(run["task"] or ""),
            str(run["model"] or ""),
            str(run["attempts"]),
            run["reason"],
        )
    return table
