"""The output of `w2s cost`: the bill beside the estimate, by role and model, and each cell's cost.

Owns texts and units. It computes neither bill nor estimate.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import typer
from rich.table import Table

from w2s_ray.cli.estimate_view import flops, hours
from w2s_ray.config.budget import Price
from w2s_ray.plain_console import PlainConsole
from w2s_ray.plan.estimates import PlanEstimate
from w2s_ray.plan.estimates.memory import GIB
from w2s_ray.report.bill import Bill, CellCost
from w2s_ray.report.speeds import Speed
from w2s_ray.status.spending import Spent


def print_bill(
    bill: Bill,
    estimate: PlanEstimate,
    *,
    speeds: Sequence[Speed],
    price: Price | None,
    format: str,
    console: PlainConsole,
) -> None:
    """Print a sweep's bill beside its estimate, and how fast its models were trained."""
    run_flops = _flops_per_run(estimate)
    if format == "json":
        content = _as_json(bill, estimate, run_flops, price)
        content["speeds"] = [asdict(speed) for speed in speeds]
        typer.echo(json.dumps(content, indent=1))
        return
    console.print(_by_role(bill, run_flops, price))
    console.print()
    console.print(_by_cell(bill, price))
    console.print()
    if speeds:
        console.print(_by_device(speeds))
        console.print()
    for line in _lines(bill, estimate, run_flops, price):
        console.print(line, soft_wrap=True)


def _flops_per_run(estimate: PlanEstimate) -> dict[tuple[str, str], float]:
    """(role, model) -> estimated FLOPs of one run; refits count as students once they are done."""
    per_run: dict[tuple[str, str], float] = {}
    for group in estimate.groups:
        if group.largest is not None and group.runs:
            per_run[group.role, group.model] = group.flops.total / group.runs
    return per_run


def _done_flops(bill: Bill, run_flops: dict[tuple[str, str], float]) -> tuple[float, float]:
    """FLOPs of done runs, and their device seconds, for runs with both."""
    known = [row for row in bill.spent if (row.role, row.model) in run_flops and row.runs]
    return (
        sum(run_flops[row.role, row.model] * row.runs for row in known),
        sum(row.device_seconds for row in known),
    )


def _by_role(bill: Bill, run_flops: dict[tuple[str, str], float], price: Price | None) -> Table:
    table = Table(box=None, pad_edge=False)
    table.add_column("spent")
    table.add_column("model")
    names = ["done", "device time", "failed tries", "pruned (guessed)", "a run", "estimate a run"]
    for name in (*names, "FLOP/s reached", *([price.currency] if price else [])):
        table.add_column(name, justify="right")
    for row in bill.spent:
        table.add_row(*_role_row(row, run_flops.get((row.role, row.model)), price))
    return table


def _role_row(row: Spent, flops_each: float | None, price: Price | None) -> list[str]:
    total_flops = (flops_each or 0) * row.runs
    reached = total_flops / row.device_seconds if total_flops and row.device_seconds else None
    texts = [
        row.role,
        row.model,
        str(row.runs),
        hours(row.device_seconds),
        hours(row.failed_seconds),
        f"{row.pruned}: {hours(row.pruned_seconds)}" if row.pruned else "–",
        hours(row.device_seconds / row.runs) if row.runs else "–",
        flops(flops_each) if flops_each is not None else "–",
        f"{flops(reached)}/s" if reached is not None else "–",
    ]
    return [*texts, f"{price.cost_of(row.total):,.2f}"] if price else texts


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


def _by_device(speeds: Sequence[Speed]) -> Table:
    table = Table(box=None, pad_edge=False)
    for name in ("speed", "device", "precision"):
        table.add_column(name)
    for name in ("fits", "compiled", "tokens/s", "FLOP/s", "of peak", "peak memory"):
        table.add_column(name, justify="right")
    for speed in speeds:
        share, memory = speed.share_of_peak, speed.peak_memory_bytes
        table.add_row(
            *(speed.model, speed.device, speed.precision),
            *(str(speed.fits), str(speed.compiled_fits)),
            f"{speed.tokens_per_second:,.0f}",
            f"{flops(speed.flops_per_second)}/s",
            "–" if share is None else f"{share:.1%}",
            "–" if memory is None else f"{memory / GIB:.1f} GiB",
        )
    return table


def _cell_row(cell: CellCost, price: Price | None) -> list[str]:
    texts = [
        cell.task,
        f"{cell.weak} → {cell.strong}",
        cell.method,
        hours(cell.student_seconds),
        hours(cell.cell_seconds),
        f"{cell.pgr:.2f}" if cell.pgr is not None else "–",
        f"{cell.pgr_per_hour:.3g}" if cell.pgr_per_hour is not None else "–",
    ]
    return [*texts, f"{price.cost_of(cell.cell_seconds):,.2f}"] if price else texts


def _lines(
    bill: Bill,
    estimate: PlanEstimate,
    run_flops: dict[tuple[str, str], float],
    price: Price | None,
) -> list[str]:
    money = f" = {price.cost_of(bill.device_seconds):,.2f} {price.currency}" if price else ""
    lines = [f"spent so far: {hours(bill.device_seconds)} of one device{money}"]
    done, seconds = _done_flops(bill, run_flops)
    if done and estimate.flops_left:
        left = estimate.flops_left * seconds / done
        cost = f" = {price.cost_of(left):,.2f} {price.currency}" if price else ""
        lines.append(
            f"left: {flops(estimate.flops_left)}, {hours(left)} at the speed reached so far{cost}"
        )
    if estimate.device_seconds:
        lines.append(f"estimated for the whole plan: {hours(estimate.device_seconds)}")
    lines.append(
        "device time is measured from the moment a fit has its device, setup included; a cell "
        "counts its supervisors, ceilings and studies in full, even if other cells share them"
    )
    return lines


def _as_json(
    bill: Bill,
    estimate: PlanEstimate,
    run_flops: dict[tuple[str, str], float],
    price: Price | None,
) -> dict[str, Any]:
    content: dict[str, Any] = {
        "spent": [
            {**asdict(row), "estimated_flops_a_run": run_flops.get((row.role, row.model))}
            for row in bill.spent
        ],
        "cells": [{**asdict(cell), "pgr_per_hour": cell.pgr_per_hour} for cell in bill.cells],
        "device_hours": bill.device_seconds / 3600,
        "flops_left": estimate.flops_left,
        "device_hours_estimated": estimate.device_seconds / 3600 or None,
    }
    if price is not None:
        content["cost"] = price.cost_of(bill.device_seconds)
        content["price"] = vars(price)
    return content
