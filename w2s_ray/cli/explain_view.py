"""The output of `w2s explain`: a run's whole recipe and outcome, or why two runs differ."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from rich.table import Table
from rich.text import Text

from w2s_ray.plain_console import PlainConsole
from w2s_ray.store import Record, Store, StoreError

_HEADING = "bold white"


def print_run(store: Store, prefix: str, *, console: PlainConsole) -> None:
    """Print the recipe, outcome and attempts of one run.

    Raises:
        StoreError: no run, or more than one, begins with `prefix`.
    """
    record = _record(store, prefix)
    console.print(
        Text.assemble(
            (record.id, "bold"),
            f"  {record.kind}, {record.status}",
            f": {record.reason}" if record.reason else "",
        ),
        soft_wrap=True,
    )
    table = Table(box=None, pad_edge=False, show_header=False)
    table.add_column(overflow="fold", style="cyan")
    table.add_column(overflow="fold")
    for section in ("about", "recipe", "summary", "execution", "environment"):
        table.add_row(Text(section, style=_HEADING), "")
        for key, value in _flat(getattr(record, section)):
            table.add_row(f"  {key}", _text(value))
    table.add_row(Text("run", style=_HEADING), "")
    for key in (
        "started_at",
        "ended_at",
        "seconds",
        "device_seconds",
        "attempts",
        "retries",
        "bytes",
    ):
        table.add_row(f"  {key}", _text(getattr(record, key)))
    for parent in record.parents:
        table.add_row(f"  {_relation(record, parent)}", parent)
    console.print(table, soft_wrap=True)
    if record.summary.get("repeats"):
        console.print(
            f"{record.summary['repeats']} of {record.summary['trials']} trials repeated an earlier "
            "trial of this study and took its result",
            highlight=False,
            soft_wrap=True,
        )
    for attempt in store.attempts(record.id):
        console.print(
            f"attempt {attempt.ended_at}: {attempt.cause or attempt.status}: {attempt.reason}",
            soft_wrap=True,
        )
    if record.traceback:
        console.print(record.traceback, soft_wrap=True)


def _relation(record: Record, parent: str) -> str:
    """How a run uses the run `parent`."""
    recipe, labels = record.recipe, record.recipe.get("labels") or {}
    if parent in (recipe.get("warm_start") or ()):
        return "warm start from"
    if parent in (recipe.get("boosted_after") or ()):
        return "weights of rows from"
    if parent == labels.get("student"):
        return "labels of an earlier student from"
    if parent == labels.get("agreed_with"):
        return "answers compared with"
    return "labels from" if parent in record.labelled_by else "initial weights from"


def print_difference(store: Store, first: str, second: str, *, console: PlainConsole) -> None:
    """Print the settings in which two runs differ, and those of their differing supervisors.

    Raises:
        StoreError: as for `print_run`.
    """
    a, b = _record(store, first), _record(store, second)
    if a.id == b.id:
        console.print(f"{first} and {second} are the same run, {a.id}")
        return
    if a.kind != b.kind:
        console.print(f"{a.id} is a {a.kind}, {b.id} is a {b.kind}")
        return
    table = Table(box=None, pad_edge=False)
    for name in ("recipe", a.id[:12], b.id[:12]):
        table.add_column(name, overflow="fold")
    for key, left, right in _differences(store, a, b):
        table.add_row(key, _text(left), _text(right))
    console.print(table, soft_wrap=True)


def _differences(store: Store, a: Record, b: Record) -> Iterator[tuple[str, Any, Any]]:
    """Differing keys with both values, followed by those of differing supervisors."""
    left, right = dict(_flat(a.recipe)), dict(_flat(b.recipe))
    for key in dict.fromkeys((*left, *right)):
        one, other = left.get(key, "(absent)"), right.get(key, "(absent)")
        if one == other:
            continue
        yield key, one, other
        if key == "labels.source" and a.labelled_by and b.labelled_by:
            weak, other_weak = store.find(a.labelled_by[0]), store.find(b.labelled_by[0])
            if weak is not None and other_weak is not None:
                for inner, *values in _differences(store, weak, other_weak):
                    yield f"  supervisor's {inner}", values[0], values[1]


def _record(store: Store, prefix: str) -> Record:
    id_ = store.resolve_id(prefix)
    record = next(store.latest([id_]), None)
    if record is None:
        raise StoreError(f"run {id_} has no record that can be read")
    return record


def _flat(values: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Nested mappings as dotted keys; a list of mappings by index."""
    for key, value in values.items():
        name = f"{prefix}{key}"
        if isinstance(value, Mapping) and value:
            yield from _flat(value, f"{name}.")
        elif isinstance(value, list) and value and isinstance(value[0], Mapping):
            yield from _flat({str(i): item for i, item in enumerate(value)}, f"{name}.")
        else:
            yield name, value


def _text(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.6g}"
    return "null" if value is None else str(value)
