"""Conversion of records and trials to rows of a table, and of rows to records.

Owns the mapping from the values of a record, its recipe and its summary to columns. A row of `runs`
has all values of its record, so that the record can be restored. It reads no files.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import pyarrow as pa
import pydantic_core

from w2s_ray.store import layout, tables
from w2s_ray.store.columns import RUNS, TRIALS
from w2s_ray.store.records import Record

_REPEATED = {"about": "about", "execution": "execution", "environment": "environment"}
_REPEATED |= {"retries": "retries", "sizes": "bytes"}
_JSON = {"recipe": "recipe", "summary": "summary", **_REPEATED}
"""Column of JSON -> field of the record."""

_PLAIN = (
    *("id", "kind", "status", "cause", "reason", "traceback", "started_at", "ended_at"),
    *("seconds", "device_seconds", "attempts", "identity_version"),
)
"""Fields of a record that are columns of the same name."""

_PARSED: Mapping[str, Callable[[Any], Any]] = {
    "parents": tuple,
    "recipe": pydantic_core.from_json,
    "summary": pydantic_core.from_json,
}

RECORD_COLUMNS = [*_PLAIN, "parents", *_JSON]
"""The columns that `records` reads."""


def run_rows(records: Iterable[Record]) -> pa.Table:
    """One row per record, with the columns of `RUNS`."""
    return tables.from_rows(map(_run_row, records), RUNS)


def trial_rows(trials: Iterable[tuple[str, Mapping[str, Any]]]) -> pa.Table:
    """One row per study's id and trial, with the columns of `TRIALS`."""
    return tables.from_rows((_trial_row(study, trial) for study, trial in trials), TRIALS)


def records(table: pa.Table) -> Iterator[Record]:
    """The records of rows of `RUNS`, in their order.

    Records share the objects of equal executions, environments and similar fields.
    """
    columns = []
    for name in RECORD_COLUMNS:
        column = table[name]
        if name in _REPEATED:
            distinct = column.combine_chunks().dictionary_encode()
            parsed = [json.loads(text) for text in distinct.dictionary.to_pylist()]
            columns.append([parsed[index] for index in distinct.indices.to_pylist()])
        elif name in _PARSED:
            columns.append(map(_PARSED[name], column.to_pylist()))
        else:
            columns.append(column.to_pylist())
    fields = [_JSON.get(name, name) for name in RECORD_COLUMNS]
    for values in zip(*columns, strict=True):
        record = Record.model_construct(**dict(zip(fields, values, strict=True)))
        layout.checked_name(record.id)
        yield record


def _run_row(record: Record) -> dict[str, Any]:
    """One row of `runs`: the values of a record, its recipe and its summary that have a column."""
    recipe, training = record.recipe, record.recipe.get("training") or {}
    loss, stopping = recipe.get("loss") or {}, recipe.get("early_stopping") or {}
    columns = {
        **record.summary,
        **record.about,
        **training,
        **recipe,
        "labels": record.labels,
        "loss": loss.get("kind"),
        "alpha": loss.get("alpha"),
        "tuning": (training.get("tuning") or {}).get("kind"),
        "early_stopping": stopping.get("metric"),
        "stops_on_oracle": stopping.get("oracle"),
        "model": record.about.get("model"),
        **dict(record),
        "bytes": sum(record.bytes.values()),
        **{name: json.dumps(getattr(record, field)) for name, field in _JSON.items()},
    }
    return {name: _typed(columns.get(name), RUNS.field(name).type) for name in RUNS.names}


def _trial_row(study: str, trial: Mapping[str, Any]) -> dict[str, Any]:
    plain = ("number", "state", "value", "cost", "fits", "reason")
    row = {
        "study": study,
        **{name: trial.get(name) for name in plain},
        "settings": json.dumps(trial.get("settings")),
        "trial": json.dumps(trial),
    }
    return {name: _typed(value, TRIALS.field(name).type) for name, value in row.items()}


def _typed(value: Any, kind: pa.DataType) -> Any:
    """`value` if its type is the column's, else None, so that one odd record affects no others."""
    match value:
        case bool():
            fits = pa.types.is_boolean(kind)
        case int():
            fits = pa.types.is_integer(kind) or pa.types.is_floating(kind)
        case float():
            fits = pa.types.is_floating(kind) and math.isfinite(value)
        case str():
            fits = pa.types.is_string(kind)
        case list() | tuple():
            fits = pa.types.is_list(kind)
        case _:
            fits = False
    return value if fits else None
