"""Compaction: copying the small files of many runs to a few large ones, which are read faster.

Owns the choice of the runs to copy and of the segments to merge. It may run beside sweeps, readers
and other compactions, and may be killed: a run's own files are only read, segments are written
under new names, and the index is replaced by compare-and-swap. Reads of a store return the same
before, during and after.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import pyarrow as pa

from w2s_ray.store import catalog_index, layout, tables
from w2s_ray.store.catalog_index import Index, Segment
from w2s_ray.store.catalog_writer import SegmentWriter, copy_runs, merge
from w2s_ray.store.errors import StoreError
from w2s_ray.store.files import Files
from w2s_ray.store.local_files import LocalFiles
from w2s_ray.store.snapshot import Copies, StoreSnapshot, take_snapshot

TRIES = 5
_GROWTH = 2
"""A segment is merged with newer ones if it has at most this multiple of their runs."""


@dataclass(frozen=True)
class Compaction:
    """The result of a compaction."""

    added: int
    """Runs that were copied from their own files."""
    not_copied: int
    """Runs that are still read from their own files: running, or just changed."""
    runs: int
    """Runs in the catalog after it."""
    segments: int
    bytes: int
    """Size of these segments."""


def compact(files: Files) -> Compaction:
    """Copy every settled run that is in no segment yet, and merge small segments.

    Raises:
        StoreError: other compactions replaced the index first in every try.
    """
    for _ in range(TRIES):
        index, version = catalog_index.read_index(files)
        snapshot = take_snapshot(files)
        new = _worth_copying(snapshot)
        merged = _worth_merging(snapshot.copies, new=len(new))
        damaged = {c.segment.name for c in merged if not catalog_index.is_whole(files, c.segment)}
        if damaged:
            snapshot = take_snapshot(files, without=damaged)
            new = _worth_copying(snapshot)
            merged = [copies for copies in merged if copies.segment.name not in damaged]
        kept = [
            copies.segment.model_copy(update={"gone": tuple(sorted(copies.gone))})
            for copies in snapshot.copies
            if copies not in merged
        ]
        with tempfile.TemporaryDirectory(prefix="w2s-compact-") as spool:
            added = _write_segment(LocalFiles(Path(spool)), snapshot, new, merged)
            for segment in added:
                _upload(files, segment, spool=LocalFiles(Path(spool)))
        replaced = {segment.name for segment in index.segments} - {kept.name for kept in kept}
        copied = {
            id_ for segment in added for id_ in catalog_index.segment_runs(files, segment.name).ids
        }
        after = Index(
            segments=(*kept, *added),
            retired=catalog_index.retire(index, sorted(replaced)),
            stood=snapshot.listing.version,
            others=tuple(sorted(snapshot.fresh.keys() - copied)),
        )
        after = catalog_index.clean(files, after)
        if after == index or catalog_index.swap(files, after, version=version):
            return _summary(snapshot, after)
        for segment in added:
            files.remove_folder(f"{catalog_index.FOLDER}/{segment.name}")
    raise StoreError(
        f"other compactions of {files.locate('')} were faster {TRIES} times; try again"
    )


def _worth_copying(snapshot: StoreSnapshot) -> list[str]:
    """Runs that will probably not change, and whose changes would be detected.

    Running studies are left out: their trials are added one by one.
    """
    return sorted(
        id_
        for id_, names in snapshot.fresh.items()
        if "record.json" in names
        or (
            layout.outcomes(names)
            and id_ not in snapshot.listing.unsettled
            and not any(name.startswith("trials/") for name in names)
        )
    )


def _worth_merging(copies: Sequence[Copies], *, new: int) -> list[Copies]:
    """Segments that are small compared with the new rows, or have few valid rows."""
    found, total = [], new
    for segment in reversed(copies):
        count = segment.count
        if count <= _GROWTH * total or len(segment.gone) > count:
            found.append(segment)
            total += count
    return found[::-1]


def _write_segment(
    spool: LocalFiles, snapshot: StoreSnapshot, new: Sequence[str], merged: Sequence[Copies]
) -> list[Segment]:
    """Write a segment of the runs `new` and the valid rows of `merged` to `spool`, if any."""
    files = snapshot.files
    sources = [copies.source(files) for copies in merged if copies.count]
    splits = {split: existed for copies in merged for split, existed in copies.splits(files)}
    segment = None
    if new:
        segment = _copy_to_segment(spool, snapshot, new)
        splits |= segment.splits
        if sources:
            sources.append(Copies(segment, frozenset()).source(spool))
    if sources:
        segment = _fill_segment(spool, lambda writer: merge(writer, sources), splits)
    return [segment] if segment is not None and segment.runs else []


def _copy_to_segment(spool: LocalFiles, snapshot: StoreSnapshot, new: Sequence[str]) -> Segment:
    """Write a segment from the runs' own files."""
    splits: dict[str, bool] = {}

    @lru_cache(maxsize=32)
    def labels(split: str | None) -> pa.Table | None:
        if split is None:
            return None
        folder = layout.split(split)
        splits[split] = snapshot.files.exists(f"{folder}/about.json")
        if not splits[split]:
            return None
        return tables.from_parquet(snapshot.files.read(f"{folder}/rows.parquet"))

    def fill(writer: SegmentWriter) -> None:
        copy_runs(writer, snapshot, new, labels=labels)

    return _fill_segment(spool, fill, splits)


def _fill_segment(
    spool: LocalFiles, fill: Callable[[SegmentWriter], None], splits: dict[str, bool]
) -> Segment:
    name = catalog_index.new_name()
    folder = Path(spool.locate(f"{catalog_index.FOLDER}/{name}"))
    folder.mkdir(parents=True)
    writer = SegmentWriter(folder)
    fill(writer)
    rows = writer.close()
    sizes = {
        kind: Path(spool.locate(catalog_index.path(name, kind))).stat().st_size for kind in rows
    }
    return Segment(name=name, runs=rows.get("runs", 0), sizes=sizes, splits=splits)


def _upload(files: Files, segment: Segment, *, spool: LocalFiles) -> None:
    for kind in segment.sizes:
        path = catalog_index.path(segment.name, kind)
        files.put_file(path, Path(spool.locate(path)))


def _summary(snapshot: StoreSnapshot, after: Index) -> Compaction:
    before = sum(copies.count for copies in snapshot.copies)
    runs = sum(segment.runs - len(segment.gone) for segment in after.segments)
    return Compaction(
        added=runs - before,
        not_copied=len(snapshot.fresh) - (runs - before),
        runs=runs,
        segments=len(after.segments),
        bytes=sum(sum(segment.sizes.values()) for segment in after.segments),
    )
