"""What `w2s cost` prints: the estimate against the bill, by role and model, and each cell's cost.

Owns words and units. It computes neither.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

import typer
from rich.table import Table

from w2s_ray.cli.estimate_view import flops, hours
from w2s_ray.cli.sheets_view import show_sheets
from w2s_ray.config.budget import Price
from w2s_ray.plan.estimates import PlanEstimate
from w2s_ray.report import cost_sheets
from w2s_ray.report.bill import Bill, CellCost
from w2s_ray.report.table import table_of
from w2s_ray.status.spending import Spent
from w2s_ray.store import Cell, Store
from w2s_ray.terminal import PlainConsole


def show_bill(
    bill: Bill, estimate: PlanEstimate, *, price: Price | None, format: str, console: PlainConsole
) -> None:
    """Print a sweep's bill beside its estimate."""
    each = _flops_of_a_run(estimate)
    if format == "json":
        typer.echo(json.dumps(_as_json(bill, estimate, each, price), indent=1))
        return
    console.print(_by_role(bill, each, price))
    console.print()
    console.print(_by_cell(bill, price))
    console.print()
    for line in _lines(bill, estimate, each, price):
        console.print(line, soft_wrap=True)


def show_cells(
    cells: Mapping[str, Sequence[Cell]], store: Store, *, format: str, console: PlainConsole
) -> None:
    """Print what each row of the PGR table took, as `table`, `markdown` or `latex`."""
    sheets = cost_sheets.sheets(cells, table_of(cells, store), store)
    show_sheets(sheets, format=format, console=console)


def _flops_of_a_run(estimate: PlanEstimate) -> dict[tuple[str, str], float]:
    """(what, model) -> estimated operations of one run; refits are students once they are done."""
    found: dict[tuple[str, str], float] = {}
    for kind in estimate.kinds:
        if kind.each is not None and kind.runs:
            found[kind.what, kind.model] = kind.flops.total / kind.runs
    return found


def _done_flops(bill: Bill, each: dict[tuple[str, str], float]) -> tuple[float, float]:
    """Operations of the runs that are done, and their device seconds, where both are known."""
    known = [row for row in bill.spent if (row.what, row.model) in each and row.runs]
    return (
        sum(each[row.what, row.model] * row.runs for row in known),
        sum(row.device_seconds for row in known),
    )


def _by_role(bill: Bill, each: dict[tuple[str, str], float], price: Price | None) -> Table:
    table = Table(box=None, pad_edge=False)
    table.add_column("spent")
    table.add_column("model")
    names = ["done", "device time", "failed tries", "pruned (guessed)", "a run", "estimate a run"]
    for name in (*names, "FLOP/s reached", *([price.currency] if price else [])):
        table.add_column(name, justify="right")
    for row in bill.spent:
        table.add_row(*_role_row(row, each.get((row.what, row.model)), price))
    return table


def _role_row(row: Spent, each: float | None, price: Price | None) -> list[str]:
    reached = each * row.runs / row.device_seconds if each and row.device_seconds else None
    told = [
        row.what,
        row.model,
        str(row.runs),
        hours(row.device_seconds),
        hours(row.failed_seconds),
        f"{row.pruned}: {hours(row.pruned_seconds)}" if row.pruned else "–",
        hours(row.device_seconds / row.runs) if row.runs else "–",
        flops(each) if each is not None else "–",
        f"{flops(reached)}/s" if reached is not None else "–",
    ]
    return [*told, f"{price.of(row.total):,.2f}"] if price else told


def _by_cell(bill: Bill, price: Price | None) -> Table:
    table = Table(box=None, pad_edge=False)
    for name in ("task", "weak → strong", "method"):
        table.add_column(name)
    names = ("student", "whole cell", "PGR", "PGR per device hour")
    for name in (*names, *([price.currency] if price else [])):
        table.add_column(name, justify="right")
    for cell in bill.cells:
        table.add_row(*_cell_row(cell, price))
    return table


def _cell_row(cell: CellCost, price: Price | None) -> list[str]:
    told = [
        cell.task,
        f"{cell.weak} → {cell.strong}",
        cell.method,
        hours(cell.student_seconds),
        hours(cell.cell_seconds),
        f"{cell.pgr:.2f}" if cell.pgr is not None else "–",
        f"{cell.pgr_per_hour:.3g}" if cell.pgr_per_hour is not None else "–",
    ]
    return [*told, f"{price.of(cell.cell_seconds):,.2f}"] if price else told


def _lines(
    bill: Bill, estimate: PlanEstimate, each: dict[tuple[str, str], float], price: Price | None
) -> list[str]:
    money = f" = {price.of(bill.device_seconds):,.2f} {price.currency}" if price else ""
    lines = [f"spent so far: {hours(bill.device_seconds)} of one device{money}"]
    done, seconds = _done_flops(bill, each)
    if done and estimate.flops_left:
        left = estimate.flops_left * seconds / done
        cost = f" = {price.of(left):,.2f} {price.currency}" if price else ""
        lines.append(
            f"left: {flops(estimate.flops_left)}, {hours(left)} at the speed reached so far{cost}"
        )
    if estimate.device_seconds:
        lines.append(f"estimated for the whole plan: {hours(estimate.device_seconds)}")
    lines.append(
        "device time is measured from the moment a fit has its device, setting up included; a "
        "cell counts its supervisors, ceilings and study in full, whoever shares them"
    )
    return lines


def _as_json(
    bill: Bill, estimate: PlanEstimate, each: dict[tuple[str, str], float], price: Price | None
) -> dict[str, Any]:
    told: dict[str, Any] = {
        "spent": [
            {**asdict(row), "estimated_flops_a_run": each.get((row.what, row.model))}
            for row in bill.spent
        ],
        "cells": [{**asdict(cell), "pgr_per_hour": cell.pgr_per_hour} for cell in bill.cells],
        "device_hours": bill.device_seconds / 3600,
        "flops_left": estimate.flops_left,
        "device_hours_estimated": estimate.device_seconds / 3600 or None,
    }
    if price is not None:
        told["cost"] = price.of(bill.device_seconds)
        told["price"] = vars(price)
    return told
