"""What SQL sees of a store: the columns of each view, and how its rows are read.

Owns the flattening of records, trials and cells to columns, and the Arrow datasets over Parquet
files. Nothing is read before it is asked for. It knows nothing of SQL, and of PGR only that
someone else provides it.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, TypeAlias

import pyarrow as pa

from w2s_ray.store import tables
from w2s_ray.store.records import Record
from w2s_ray.store.store import Store
from w2s_ray.store.tables import schema

if TYPE_CHECKING:
    from pyarrow import dataset as arrow_dataset

Source: TypeAlias = "pa.Table | arrow_dataset.Dataset"

_TEXT, _REAL, _WHOLE, _TRUTH = pa.string(), pa.float64(), pa.int64(), pa.bool_()


RUNS = schema(
    ("id kind status reason task model method labels train_on loss", _TEXT),
    ("alpha", _REAL),
    ("seed", _WHOLE),
    ("lr", _REAL),
    ("epochs batch_size", _WHOLE),
    ("precision tuning early_stopping", _TEXT),
    ("stops_on_oracle", _TRUTH),
    ("test_accuracy validation_accuracy validation_agreement", _REAL),
    ("steps total_steps best_step parameters attempts", _WHOLE),
    ("seconds device_seconds", _REAL),
    ("bytes", _WHOLE),
    ("started_at ended_at split", _TEXT),
    ("parents", pa.list_(_TEXT)),
    ("identity_version", _WHOLE),
    ("traceback recipe summary about execution environment", _TEXT),
)
"""`runs`: one row per run, as it stands. `labels` is `ground_truth` or the supervisor's id; times
are ISO 8601 in UTC; `bytes` is what the store keeps of it beside the record; the last five columns
are JSON: `summary->>'test_accuracy'`."""

_AS_JSON = ("recipe", "summary", "about", "execution", "environment")

CELLS = schema(
    ("sweep task weak strong method", _TEXT),
    ("seed", _WHOLE),
    ("objective", _TEXT),
    ("searched", _TRUTH),
    ("study supervisor ceiling student", _TEXT),
)
"""`cells`: the grid of every sweep's latest manifest, with run ids."""

TRIALS = schema(
    ("study", _TEXT),
    ("number", _WHOLE),
    ("state", _TEXT),
    ("value", _REAL),
    ("settings", _TEXT),
    ("fits", pa.list_(_TEXT)),
    ("reason trial", _TEXT),
)
"""`trials`: one row per ended trial; `settings` and the whole `trial` are JSON."""


def runs(store: Store) -> pa.Table:
    """Every run as it stands, done or not."""
    return tables.from_rows(map(_run_row, store.latest()), RUNS)


def run_splits(store: Store) -> pa.Table:
    """Run id -> fingerprint of the split that it was trained on."""
    rows = (
        {"run_id": record.id, "split": record.recipe.get("split")} for record in store.records()
    )
    return tables.from_rows(rows, pa.schema([("run_id", _TEXT), ("split", _TEXT)]))


def cells(store: Store) -> pa.Table:
    """The latest grid of every sweep."""
    latest = {manifest.name: manifest for manifest in store.manifests()}
    rows = (
        {"sweep": name, **cell.model_dump(mode="json")}
        for name, manifest in sorted(latest.items())
        for cell in manifest.cells
    )
    return tables.from_rows(rows, CELLS)


def trials(store: Store) -> pa.Table:
    """Ended trials of every study."""
    studies = [
        id_
        for id_, names in sorted(store.run_files().items())
        if any(name.startswith("trials/") for name in names)
    ]
    rows = (_trial_row(id_, trial) for id_ in studies for trial in store.trials(id_))
    return tables.from_rows(rows, TRIALS)


def metrics(store: Store) -> Source:
    """Metrics of every done run."""
    return _dataset(store, _run_parquet(store, "metrics"), tables.METRICS)


def predictions(store: Store) -> Source:
    """Predictions of every done run, with its `run_id`."""
    return _dataset(store, _run_parquet(store, "predictions"), tables.PREDICTIONS, key="run_id")


def splits(store: Store) -> Source:
    """Rows of every split, with the `split`'s fingerprint."""
    paths = {f"splits/{name}/rows.parquet": name for name in store.split_fingerprints()}
    return _dataset(store, paths, tables.SPLIT_ROWS, key="split")


VIEWS: Mapping[str, Callable[[Store], Source]] = {
    "runs": runs,
    "cells": cells,
    "trials": trials,
    "metrics": metrics,
    "predictions": predictions,
    "splits": splits,
}
"""Name of a view -> what reads its rows."""


def _run_row(record: Record) -> dict[str, Any]:
    """One line of `runs`: what of the record, its recipe and its summary has a column."""
    recipe, training = record.recipe, record.recipe.get("training") or {}
    loss, stopping = recipe.get("loss") or {}, recipe.get("early_stopping") or {}
    columns = {
        **record.summary,
        **record.about,
        **training,
        **recipe,
        "loss": loss.get("kind"),
        "alpha": loss.get("alpha"),
        "tuning": (training.get("tuning") or {}).get("kind"),
        "early_stopping": stopping.get("metric"),
        "stops_on_oracle": stopping.get("oracle"),
        "model": record.about.get("model"),
        **dict(record),
        "bytes": sum(record.bytes.values()),
        **{name: json.dumps(getattr(record, name)) for name in _AS_JSON},
    }
    return {name: _typed(columns.get(name), RUNS.field(name).type) for name in RUNS.names}


def _trial_row(study: str, trial: Mapping[str, Any]) -> dict[str, Any]:
    row = {
        "study": study,
        **{name: trial.get(name) for name in ("number", "state", "value", "fits", "reason")},
        "settings": json.dumps(trial.get("settings")),
        "trial": json.dumps(trial),
    }
    return {name: _typed(value, TRIALS.field(name).type) for name, value in row.items()}


def _typed(value: Any, kind: pa.DataType) -> Any:
    """`value` if a column of `kind` can hold it, else None: one odd record hides no others."""
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


def _run_parquet(store: Store, name: str) -> dict[str, str]:
    """Path of each done run's `name`.parquet -> run id."""
    wanted = {"record.json", f"{name}.parquet"}
    return {
        f"runs/{id_}/{name}.parquet": id_
        for id_, names in sorted(store.run_files().items())
        if wanted <= names
    }


def _dataset(
    store: Store, paths: Mapping[str, str], columns: pa.Schema, *, key: str | None = None
) -> Source:
    """The files at `paths` as one source; column `key` holds what each path maps to."""
    fields = columns.remove_metadata()
    if key is not None:
        fields = fields.insert(0, pa.field(key, pa.string()))
    if not paths:
        return pa.Table.from_batches([], schema=fields)
    from pyarrow import dataset

    files = store.files
    full = [files.locate(path) for path in paths]
    guarantees = [dataset.field(key) == name for name in paths.values()] if key else None
    return dataset.FileSystemDataset.from_paths(
        full,
        schema=fields,
        format=dataset.ParquetFileFormat(),
        filesystem=files.arrow(),
        partitions=guarantees,
    )
