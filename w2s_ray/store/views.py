"""The rows of the tables in SQL: for each table, the parts that form it.

Rows come from the catalog's segments and from the own files of all runs without a valid copy in a
segment. Files are read only when they are needed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping

import pyarrow as pa

from w2s_ray.store import columns, record_rows, tables
from w2s_ray.store.parquet_source import ParquetFiles
from w2s_ray.store.snapshot import StoreSnapshot
from w2s_ray.store.store import Store

Source = pa.Table | ParquetFiles


def runs(store: Store, snapshot: StoreSnapshot) -> Iterator[Source]:
    """The latest record of every run, done or not."""
    yield from _copied(snapshot, "runs")
    yield record_rows.run_rows(snapshot.latest(snapshot.fresh))


def cells(store: Store, snapshot: StoreSnapshot) -> Iterator[Source]:
    """The latest grid of every sweep."""
    latest = {manifest.name: manifest for manifest in store.manifests.all()}
    found = (
        {"sweep": name, **cell.model_dump(mode="json"), "control": cell.control}
        for name, manifest in sorted(latest.items())
        for cell in manifest.cells
    )
    yield tables.from_rows(found, columns.CELLS)


def trials(store: Store, snapshot: StoreSnapshot) -> Iterator[Source]:
    """Ended trials of every study."""
    yield from _copied(snapshot, "trials")
    fresh = snapshot.trials(snapshot.fresh_studies())
    yield record_rows.trial_rows(
        (study, trial) for study, of_study in fresh.items() for trial in of_study
    )


def metrics(store: Store, snapshot: StoreSnapshot) -> Iterator[Source]:
    """Metrics of every done run."""
    yield from _copied(snapshot, "metrics")
    yield _parquet(snapshot, _run_parquet(snapshot, "metrics"), tables.METRICS)


def labelled_predictions(store: Store, snapshot: StoreSnapshot) -> Iterator[Source]:
    """Predictions, with labels, of every done run with a valid copy in a segment."""
    yield from _copied(snapshot, "predictions")


def fresh_predictions(snapshot: StoreSnapshot) -> Source:
    """Predictions of the other done runs, with a column of the run and without labels."""
    paths = _run_parquet(snapshot, "predictions")
    return _parquet(snapshot, paths, tables.PREDICTIONS, owner="run_id")


def fresh_splits(snapshot: StoreSnapshot) -> pa.Table:
    """The fingerprint of the split of each run in `fresh_predictions`."""
    ids = _run_parquet(snapshot, "predictions").values()
    found = (
        {"run_id": record.id, "split": record.recipe.get("split")}
        for record in snapshot.records(ids)
    )
    return tables.from_rows(found, tables.schema(("run_id split", pa.string())))


def splits(store: Store, snapshot: StoreSnapshot) -> Iterator[Source]:
    """Rows of every split, with a column `split` of its fingerprint."""
    paths = [f"splits/{name}/rows.parquet" for name in store.splits.fingerprints()]
    yield _parquet(snapshot, paths, tables.SPLIT_ROWS, owner="split")


VIEWS: Mapping[str, Callable[[Store, StoreSnapshot], Iterator[Source]]] = {
    "runs": runs,
    "cells": cells,
    "trials": trials,
    "metrics": metrics,
    "predictions": labelled_predictions,
    "splits": splits,
}
"""Name of a table -> the parts of its rows; of `predictions`, only the labelled part."""


def _copied(snapshot: StoreSnapshot, kind: str) -> Iterator[Source]:
    """The rows of one kind in the catalog's segments."""
    for copies in snapshot.copies:
        if (found := copies.rows(snapshot.files, kind)) is not None:
            yield found


def _run_parquet(snapshot: StoreSnapshot, kind: str) -> dict[str, str]:
    """Path of its file -> run id, for each done run without a valid copy in a segment."""
    required = {"record.json", f"{kind}.parquet"}
    return {
        f"runs/{id_}/{kind}.parquet": id_
        for id_, names in sorted(snapshot.fresh.items())
        if required <= names
    }


def _parquet(
    snapshot: StoreSnapshot, paths: Iterable[str], schema: pa.Schema, *, owner: str | None = None
) -> Source:
    """The files at `paths` as one source; the column `owner` has the name of each file's folder."""
    if found := tuple(paths):
        return ParquetFiles(snapshot.files, found, schema, owner)
    fields = schema.remove_metadata()
    if owner is not None:
        fields = fields.insert(0, pa.field(owner, pa.string()))
    return pa.Table.from_batches([], schema=fields)
