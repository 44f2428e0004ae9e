"""The output of `w2s diff`: differing keys with both values, and the fits that are shared."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

import typer
from rich.table import Table
from rich.text import Text

from w2s_ray.cli.inputs import plan_of
from w2s_ray.config import Sweep
from w2s_ray.config.sweep_diff import MISSING, Difference, sweep_differences
from w2s_ray.errors import InputError
from w2s_ray.methods.kinds import SOURCE
from w2s_ray.plain_console import PlainConsole
from w2s_ray.plan.overlap import Overlap, overlap_of
from w2s_ray.printable import cut
from w2s_ray.store import Store

LONGEST_VALUE = 200
"""Characters of a value in the table; longer ones lose their middle."""


def print_diff(
    sweeps: Mapping[str, tuple[str, Sweep]],
    stores: Mapping[str, Store],
    *,
    format: str,
    console: PlainConsole,
) -> None:
    """Print the difference of two sweeps, each with its title, by their letters."""
    (first_title, first), (second_title, second) = sweeps.values()
    differences = sweep_differences(first, second)
    fits, notes = _fits(sweeps, stores)
    notes += _edited_plugins(first)
    if format == "json":
        content = {
            "a": first_title,
            "b": second_title,
            "keys": {one.key: _json_values(one) for one in differences},
            "fits": fits and {kind: asdict(overlap) for kind, overlap in fits.items()},
            "notes": notes,
        }
        typer.echo(json.dumps(content, indent=1))
        return
    for letter, (title, _) in sweeps.items():
        console.print(f"{letter}: {title}", soft_wrap=True)
    console.print()
    console.print(_keys(differences) if differences else "no key differs")
    console.print()
    if fits:
        console.print(_overlaps(fits))
    for note in notes:
        console.print(note, soft_wrap=True)


def _fits(
    sweeps: Mapping[str, tuple[str, Sweep]], stores: Mapping[str, Store]
) -> tuple[dict[str, Overlap] | None, list[str]]:
    """The numbers of shared fits, and what limits them; None where a sweep can't be planned."""
    plans = []
    for letter, (_, sweep) in sweeps.items():
        try:
            plans.append(plan_of(sweep, stores[letter]))
        except InputError as error:
            return None, [f"fits are not compared, since {letter} can't be planned: {error}"]
    missing = {reason for plan in plans for reason in plan.inputs.unresolved}
    note = "not on this machine, so that ids of runs are provisional"
    return overlap_of(*plans), [f"{note}: {reason}" for reason in sorted(missing)]


def _edited_plugins(first: Sweep) -> list[str]:
    """A note for each plugin whose source was another one when the sweep ran."""
    return [
        f"{plugin.name} has changed since A ran; fits of A are counted with its source as it is now"
        for plugin in first.plugins
        if any(kind.model_fields[SOURCE].default != plugin.source.digest for kind in plugin.kinds)
    ]


def _json_values(difference: Difference) -> dict[str, Any]:
    values = {"a": difference.first, "b": difference.second}
    return {side: value for side, value in values.items() if value is not MISSING}


def _keys(differences: Sequence[Difference]) -> Table:
    table = Table(box=None, pad_edge=False)
    for name in ("key", "A", "B"):
        table.add_column(name, overflow="fold")
    for one in differences:
        table.add_row(one.key, _text(one.first), _text(one.second))
    return table


def _text(value: Any) -> Text | str:
    if value is MISSING:
        return Text("–", style="dim")
    return cut(json.dumps(_short(value), ensure_ascii=False), most=LONGEST_VALUE)


def _short(value: Any) -> Any:
    """An entry without the keys that have no value."""
    if isinstance(value, dict):
        parts = {key: _short(part) for key, part in value.items()}
        return {key: part for key, part in parts.items() if part not in (None, {}, [])}
    return value


def _overlaps(fits: Mapping[str, Overlap]) -> Table:
    table = Table(box=None, pad_edge=False)
    table.add_column("")
    for name in ("in both", "only in A", "only in B"):
        table.add_column(name, justify="right")
    for kind, overlap in fits.items():
        counts = (overlap.both, overlap.only_first, overlap.only_second)
        if any(counts):
            table.add_row(kind, *map(str, counts))
    return table
