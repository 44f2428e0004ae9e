"""What `w2s status` prints of a whole store: runs by state, sweeps, who is at work. It decides
nothing.
"""

from __future__ import annotations

import json
from collections import Counter
from typing import Any

import typer
from rich.table import Table

from w2s_ray.plain_console import PlainConsole
from w2s_ray.store import Record, Store
from w2s_ray.store.heartbeats import DriverState, LivenessMonitor, heard

KINDS = {"fit": "fits", "study": "studies"}
_ONE = {"fits": "fit", "studies": "study"}


def show_store(store: Store, *, format: str, console: PlainConsole) -> None:
    """Print how `store` stands, as `table` or `json`."""
    status = store_status(store)
    if format == "json":
        typer.echo(json.dumps(status, indent=1))
    else:
        render_store(status, console=console)


def store_status(store: Store) -> dict[str, Any]:
    """How a store stands, as JSON."""
    latest = {record.id: record for record in store.latest()}
    hearts = LivenessMonitor()
    return {
        "store": store.uri,
        "runs": Counter(f"{KINDS[record.kind]} {record.status}" for record in latest.values()),
        "sweeps": {name: _cells(store, name, latest) for name in store.sweep_names()},
        "drivers": [
            {**_driver(news), "alive": hearts.heart(news) != "silent"}
            for news in heard(store.files)
        ],
        "failed": [_failed(record) for record in latest.values() if record.status == "failed"],
        "retried": sum((Counter(record.retries) for record in latest.values()), Counter[str]()),
    }


def render_store(status: dict[str, Any], *, console: PlainConsole) -> None:
    """Print what `store_status` found."""
    runs = Counter(status["runs"])
    said = ", ".join(_counted(*run) for run in runs.most_common())
    console.print(f"{status['store']}: {said or 'no runs'}", soft_wrap=True)
    for name, cells in status["sweeps"].items():
        console.print(f"sweep {name}: {cells['complete']} of {cells['cells']} cells complete")
    for driver in status["drivers"]:
        state = f"{driver['running']} fits running" if driver["alive"] else "gone"
        console.print(
            f"driver of {driver['sweep']} on {driver['host']}, process {driver['pid']}: {state}"
        )
    _print_failed(status["failed"], console)
    if status["retried"]:
        causes = Counter(status["retried"]).most_common()
        said = ", ".join(f"{cause} {count}" for cause, count in causes)
        console.print(f"tried again: {said}")


def _counted(state: str, count: int) -> str:
    kind, status = state.split(" ", 1)
    return f"{count} {_ONE[kind] if count == 1 else kind} {status}"


def _cells(store: Store, name: str, latest: dict[str, Record]) -> dict[str, int]:
    """How many cells a sweep has, and how many have all their runs."""
    cells = store.latest_manifest(name).cells
    whole = sum(
        cell.student is not None
        and all(
            run in latest and latest[run].status == "done"
            for run in (cell.supervisor, cell.ceiling, cell.student)
        )
        for cell in cells
    )
    return {"cells": len(cells), "complete": whole}


def _driver(news: DriverState) -> dict[str, Any]:
    runs = news.about.get("runs", ())
    return {
        "sweep": str(news.about.get("sweep")),
        "host": news.host,
        "pid": news.holder.pid,
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


def _print_failed(failed: list[dict[str, Any]], console: PlainConsole) -> None:
    if not failed:
        return
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
    console.print(table)
