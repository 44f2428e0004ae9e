"""The estimate in the output of `w2s plan`: a table by group of runs, totals and assumptions.

Owns wording and units; `--format json` has the same figures unrounded. It computes no estimates.
"""

from __future__ import annotations

import json
from typing import Any

import typer
from rich.table import Table
from rich.text import Text

from w2s_ray.config import Execution
from w2s_ray.config.budget import Price
from w2s_ray.data.lengths import TOKENS_PER_WORD
from w2s_ray.plain_console import PlainConsole
from w2s_ray.plan.estimates import Device, GroupEstimate, PlanEstimate
from w2s_ray.plan.estimates.memory import GIB, RESERVE

LENGTH_SOURCES = {
    "tokenized": "from tokens counted on this machine",
    "words": f"guessed from words, {TOKENS_PER_WORD:g} tokens each for tokenizers of subwords",
    "longest": "at max_tokens each, since the rows are not on this machine",
}


def print_estimate(
    estimate: PlanEstimate, *, device: Device | None, price: Price | None, console: PlainConsole
) -> None:
    """Print an estimate."""
    console.print(_table(estimate, device, price))
    console.print()
    for line in _lines(estimate, device, price):
        console.print(line, soft_wrap=True)


def print_json(
    estimate: PlanEstimate, *, plan: dict[str, Any], device: Device | None, price: Price | None
) -> None:
    """Print a plan's counts and its estimate as JSON."""
    content: dict[str, Any] = {
        **plan,
        "kinds": [_as_json(group, price) for group in estimate.groups],
        "flops": vars(estimate.flops),
        "flops_left": estimate.flops_left,
        "lengths": estimate.length_sources,
        "not_estimated": estimate.not_estimated,
    }
    if device is not None:
        content["accelerator"] = {
            "name": device.name,
            "utilisation": device.utilisation,
            **device.accelerator.model_dump(),
        }
        content["device_hours"] = estimate.device_seconds / 3600
        content["device_hours_left"] = estimate.seconds_left / 3600
    if price is not None:
        content["price"] = vars(price)
        content["cost"] = price.cost_of(estimate.device_seconds)
        content["cost_left"] = price.cost_of(estimate.seconds_left)
    typer.echo(json.dumps(content, indent=1))


def flops(value: float) -> str:
    """FLOPs with a unit."""
    for exponent, prefix in ((21, "Z"), (18, "E"), (15, "P"), (12, "T"), (9, "G")):
        if value >= 10**exponent:
            return f"{value / 10**exponent:.3g} {prefix}FLOP"
    return f"{value / 1e6:.3g} MFLOP"


def size(value: float) -> str:
    """Bytes with a unit."""
    return f"{value / GIB:.3g} GiB" if value >= GIB / 10 else f"{value / 2**20:.3g} MiB"


def hours(seconds: float) -> str:
    """Seconds with a unit."""
    return f"{seconds / 3600:,.1f} h" if seconds >= 3600 else f"{seconds:,.1f} s"


def _table(estimate: PlanEstimate, device: Device | None, price: Price | None) -> Table:
    table = Table(box=None, pad_edge=False)
    table.add_column("estimate")
    table.add_column("model")
    for name in ("runs", "parameters", "tokens a run", "a run", "in all"):
        table.add_column(name, justify="right")
    table.add_column("memory a device", justify="right")
    if device is not None:
        table.add_column("smallest that fits")
        table.add_column("of a GPU", justify="right")
        table.add_column("device time", justify="right")
    if price is not None:
        table.add_column(price.currency, justify="right")
    for group in estimate.groups:
        table.add_row(*_row(group, device, price))
    return table


def _row(group: GroupEstimate, device: Device | None, price: Price | None) -> list[str]:
    each = group.largest
    if each is None:
        return [group.role, group.model, str(group.runs), "–", "–", "–", "–", "–"]
    runs = max(1, group.runs)
    texts = [
        group.role,
        group.model,
        f"{group.runs:,}",
        f"{each.parameters:,}",
        f"{group.tokens / runs:,.0f}",
        flops(group.flops.total / runs),
        flops(group.flops.total),
        f"{size(each.memory.total)} {layout(group.execution)}",
    ]
    if device is not None:
        too_large = "" if group.fits else " (doesn't fit with its settings)"
        smallest = group.smallest.text if group.smallest else "nothing tried fits"
        share = f"{group.gpu_fraction:.2g}" if group.gpu_fraction is not None else "–"
        texts += [smallest + too_large, share, hours(group.device_seconds or 0.0)]
    if price is not None:
        texts.append(f"{price.cost_of(group.device_seconds or 0.0):,.2f}")
    return texts


def layout(execution: Execution) -> str:
    """The devices of a fit, and how DeepSpeed splits it."""
    if execution.engine == "torch":
        return "on 1"
    offload = " + offload" if execution.offload == "cpu" else ""
    return f"on {execution.workers}, ZeRO-{execution.zero_stage}{offload}"


def _lines(estimate: PlanEstimate, device: Device | None, price: Price | None) -> list[Text]:
    total = estimate.flops
    lines = [
        f"in all {flops(total.total)}: forward {flops(total.forward)}, backward "
        f"{flops(total.backward)}, evaluation {flops(total.evaluation)}, weak labelling "
        f"{flops(total.labelling)}; left {flops(estimate.flops_left)}"
    ]
    if device is not None:
        source = device.accelerator.source or "your file"
        lines.append(
            f"on {device.name} at {device.utilisation:.0%} of its peak ({source}): "
            f"{hours(estimate.device_seconds)} of one device, left {hours(estimate.seconds_left)}"
        )
    if price is not None:
        lines.append(
            f"at {price.per_hour:g} {price.currency} for a device hour: "
            f"{price.cost_of(estimate.device_seconds):,.2f} {price.currency}, left "
            f"{price.cost_of(estimate.seconds_left):,.2f}"
        )
    lengths = "; ".join(
        f"{count:,} runs {LENGTH_SOURCES[source]}"
        for source, count in estimate.length_sources.items()
    )
    lines.append(f"tokens: {lengths}" if lengths else "tokens: none known")
    lines.append(
        "every run is assumed to train to its schedule's end, trials and refits with the declared "
        f"settings; start-up isn't counted; a device needs {size(RESERVE)} in addition to the "
        "memory shown"
    )
    by_reason: dict[str, list[str]] = {}
    for model, reason in estimate.not_estimated.items():
        by_reason.setdefault(reason, []).append(model)
    unknown = [
        Text.assemble(("not estimated", "yellow"), f" {', '.join(models)}: {reason}")
        for reason, models in by_reason.items()
    ]
    return [*map(Text, lines), *unknown]


def _as_json(group: GroupEstimate, price: Price | None) -> dict[str, Any]:
    each = group.largest
    content: dict[str, Any] = {
        "what": group.role,
        "model": group.model,
        "runs": group.runs,
        "left": group.runs_left,
        "precision": group.precision,
        "flops": {**vars(group.flops), "total": group.flops.total},
        "flops_left": group.flops_left,
        "tokens": group.tokens,
        "not_estimated": group.not_estimated or None,
    }
    if each is not None:
        content["parameters"] = each.parameters
        content["trained_parameters"] = each.trained_parameters
        content["memory_bytes"] = {**vars(each.memory), "total": each.memory.total}
    if group.device_seconds is not None:
        content["device_seconds"] = group.device_seconds
        content["fits"] = group.fits
        content["smallest_that_fits"] = group.smallest.text if group.smallest else None
        content["gpu_fraction"] = group.gpu_fraction
        if price is not None:
            content["cost"] = price.cost_of(group.device_seconds)
    return content
