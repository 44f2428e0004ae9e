"""Writing segments: from the files of runs, and from other segments.

Owns the format of a segment's Parquet files (order, row groups, encodings). The number of rows in
memory is bounded and does not depend on the segment's size. `compaction` chooses the runs.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from w2s_ray.store import layout, tables
from w2s_ray.store.catalog_index import KINDS, RUN_OF
from w2s_ray.store.columns import LABELLED_PREDICTIONS
from w2s_ray.store.record_rows import run_rows, trial_rows
from w2s_ray.store.records import Record
from w2s_ray.store.snapshot import StoreSnapshot

_log = logging.getLogger(__name__)

GROUP_ROWS = {"runs": 8_192, "trials": 32_768, "metrics": 262_144, "predictions": 262_144}
"""Rows of a row group, the smallest unit that a filter reads."""
_BATCH_RUNS = 128
"""Runs whose files are read together."""
_DICTIONARIES = {
    "runs": True,
    "trials": True,
    "metrics": ["run_id", "metric", "step"],
    "predictions": ["run_id", "example_id", "part", "label"],
}
_ENCODINGS = {
    "metrics": {"value": "BYTE_STREAM_SPLIT"},
    "predictions": {"probability": "BYTE_STREAM_SPLIT"},
}
"""Columns of floats with many digits, which compress better when split by byte."""

Source = Callable[[str], Iterator[pa.Table]]
"""Kind -> its rows, sorted by run."""

Labels = Callable[[str | None], pa.Table | None]
"""Split -> its rows; None if it does not exist."""


class SegmentWriter:
    """Writes the files of one segment into a local folder, from tables sorted by run."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._writers: dict[str, _FileWriter] = {}

    def add(self, kind: str, table: pa.Table) -> None:
        """Append rows of one kind."""
        if table.num_rows:
            if kind not in self._writers:
                self._writers[kind] = _FileWriter(self._folder / f"{kind}.parquet", kind)
            self._writers[kind].add(table)

    def close(self) -> dict[str, int]:
        """Finish the files; kind -> number of its rows."""
        return {kind: writer.close() for kind, writer in self._writers.items()}


class _FileWriter:
    """Writes the file of one kind; rows are buffered until they fill a row group."""

    def __init__(self, path: Path, kind: str) -> None:
        import pyarrow.parquet as pq

        self._schema, self._limit = KINDS[kind].remove_metadata(), GROUP_ROWS[kind]
        self._writer = pq.ParquetWriter(
            path,
            self._schema,
            compression="zstd",
            use_dictionary=_DICTIONARIES[kind],
            column_encoding=_ENCODINGS.get(kind),
            write_page_checksum=True,
        )
        self._buffer: list[pa.Table] = []
        self._count = self._total = 0

    def add(self, table: pa.Table) -> None:
        self._buffer.append(table.select(self._schema.names).cast(self._schema))
        self._count += table.num_rows
        self._total += table.num_rows
        if self._count >= self._limit:
            full = self._count - self._count % self._limit
            joined = pa.concat_tables(self._buffer)
            self._writer.write_table(joined.slice(0, full), row_group_size=self._limit)
            self._buffer, self._count = [joined.slice(full)], self._count - full

    def close(self) -> int:
        if self._count:
            self._writer.write_table(pa.concat_tables(self._buffer))
        self._writer.close()
        return self._total


def copy_runs(
    writer: SegmentWriter, snapshot: StoreSnapshot, ids: Sequence[str], *, labels: Labels
) -> None:
    """Add runs from their own files, as listed in `snapshot`; `ids` are sorted.

    A run with a damaged Parquet file is left out with a warning.
    """
    for start in range(0, len(ids), _BATCH_RUNS):
        records = {r.id: r for r in snapshot.latest(ids[start : start + _BATCH_RUNS])}
        chosen = list(records)  # a run whose record is damaged is left out
        intact: dict[str, dict[str, pa.Table]] = {}
        for id_, files in _read(snapshot, chosen).items():
            try:
                intact[id_] = _tables(records[id_], files, labels)
            except (pa.ArrowException, OSError, ValueError) as error:
                _log.warning("run %s is left out of the catalog (%s)", id_, error)
        versions = [snapshot.listing.versions[id_] for id_ in intact]
        rows = run_rows(records[id_] for id_ in intact)
        writer.add("runs", rows.append_column("version", pa.array(versions, pa.int64())))
        trials = ((id_, t) for id_ in intact for t in snapshot.trials([id_])[id_])
        writer.add("trials", trial_rows(trials))
        for kind in tables.OF_RUN:
            found = [of_run[kind] for of_run in intact.values() if kind in of_run]
            if found:
                writer.add(kind, pa.concat_tables(found))


def _read(snapshot: StoreSnapshot, ids: Sequence[str]) -> dict[str, dict[str, bytes]]:
    """Run -> kind -> its Parquet file, for the files that a done run has."""
    existing = [
        (id_, kind)
        for id_ in ids
        for kind in tables.OF_RUN
        if {"record.json", f"{kind}.parquet"} <= snapshot.fresh[id_]
    ]
    found: dict[str, dict[str, bytes]] = {id_: {} for id_ in ids}
    contents = snapshot.files.read_many([f"{layout.run(i)}/{kind}.parquet" for i, kind in existing])
    for (id_, kind), data in zip(existing, contents, strict=True):
        found[id_][kind] = data
    return found


def _tables(record: Record, files: Mapping[str, bytes], labels: Labels) -> dict[str, pa.Table]:
    """Kind -> a run's rows in the format of segments."""
    by_kind = {}
    for kind, data in files.items():
        what = f"{kind} of run {record.id}"
        table = tables.conform(tables.from_parquet(data), tables.OF_RUN[kind], what=what)
        if kind == "predictions":
            table = _labelled(table, record, labels(record.recipe.get("split")))
        elif set(table["run_id"].unique().to_pylist()) - {record.id}:
            raise ValueError(f"{what} belong to another run")
        by_kind[kind] = table
    return by_kind


def _labelled(predictions: pa.Table, record: Record, split: pa.Table | None) -> pa.Table:
    """Predictions with two more columns: their run, and the label of each example or null."""
    count = predictions.num_rows
    label = pa.nulls(count, pa.int8())
    if split is not None:
        options = pc.SetLookupOptions(split["example_id"].combine_chunks())
        place = pc.call_function("index_in", [predictions["example_id"]], options)
        part = pc.call_function("equal", [pc.take(split["part"], place), predictions["part"]])
        label = pc.call_function("if_else", [part, pc.take(split["label"], place), label])
    columns = [pa.repeat(pa.scalar(record.id), count), *predictions.columns, label]
    return pa.Table.from_arrays(columns, schema=LABELLED_PREDICTIONS)


def merge(writer: SegmentWriter, sources: Sequence[Source]) -> None:
    """Add the rows of several sources, sorted by run; no run is in two sources."""
    for kind in KINDS:
        for table in _merged([source(kind) for source in sources], key=RUN_OF[kind]):
            writer.add(kind, table)


def _merged(streams: Sequence[Iterator[pa.Table]], *, key: str) -> Iterator[pa.Table]:
    """The rows of all streams sorted by `key`: at each step, those up to the least last key."""
    heads: dict[int, pa.Table] = {}
    open_ = dict(enumerate(streams))
    while True:
        for number in [n for n in open_ if n not in heads]:
            table = next((table for table in open_[number] if table.num_rows), None)
            if table is None:
                del open_[number]
            else:
                heads[number] = table
        if not heads:
            return
        bound = min(table[key][-1].as_py() for table in heads.values())
        taken = {}
        for number, table in list(heads.items()):
            count = pc.call_function(
                "sum", [pc.call_function("less_equal", [table[key], pa.scalar(bound)])]
            ).as_py()
            taken[number] = table.slice(0, count)
            if count == table.num_rows:
                del heads[number]
            else:
                heads[number] = table.slice(count)
        yield _by_run([table for table in taken.values() if table.num_rows], key=key)


def _by_run(found: Sequence[pa.Table], *, key: str) -> pa.Table:
    """One sorted table from tables that are each sorted by `key`; equal keys keep their order."""
    if len(found) == 1:
        return found[0]
    joined = pa.concat_tables(found)
    codes = joined[key].combine_chunks().dictionary_encode()
    ranks = pc.call_function(
        "rank", [codes.dictionary], pc.RankOptions("ascending", tiebreaker="dense")
    )
    return joined.take(pc.call_function("array_sort_indices", [pc.take(ranks, codes.indices)]))
