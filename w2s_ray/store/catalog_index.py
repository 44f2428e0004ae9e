"""The catalog's files: segments, each a copy of many runs, and the index that says which count.

    catalog/index.json                              replaced in one step
    catalog/segments/NAME/{runs,trials,metrics,predictions}.parquet    written once, sorted by run

Owns their names and columns, the index and its exchange. A segment that is missing or damaged is
left out with a warning: its runs are then read from their own files. It decides neither what is
copied nor what still holds.
"""

from __future__ import annotations

import contextlib
import logging
import uuid
from bisect import bisect_left
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cached_property, lru_cache

import numpy as np
import pyarrow as pa

from w2s_ray.store import layout
from w2s_ray.store.columns import LABELLED_PREDICTIONS, RUNS, TRIALS
from w2s_ray.store.damage import Damaged, note
from w2s_ray.store.errors import StoreError, StoreUnavailable
from w2s_ray.store.files import Files
from w2s_ray.store.records import Moment, Name, Stored, utc_now
from w2s_ray.store.tables import METRICS, field, from_rows, scan, schema

_log = logging.getLogger(__name__)

FORMAT = 1
INDEX = "catalog/index.json"
FOLDER = "catalog/segments"

VERSION = field("version", pa.int64(), "the run's folder when it was read; see `Listing`")

KINDS: Mapping[str, pa.Schema] = {
    "runs": pa.schema([*RUNS, VERSION]),
    "trials": TRIALS,
    "metrics": METRICS,
    "predictions": LABELLED_PREDICTIONS,
}
"""What a segment has a file of -> its columns; a kind without rows has no file."""

RUN_OF: Mapping[str, str] = {
    "runs": "id",
    "trials": "study",
    "metrics": "run_id",
    "predictions": "run_id",
}
"""Kind -> the column that names the run; rows are sorted by it."""

_RETIRED_FOR = timedelta(hours=1)
"""Whoever read the old index may need its segments for so long."""
_ABANDONED_AFTER = timedelta(days=1)
"""A segment in no index is a writer's leftover by then."""


class Segment(Stored):
    """One segment, as the index describes it."""

    name: Name
    runs: int
    sizes: dict[str, int]
    """Kind -> bytes of its file."""
    splits: dict[str, bool]
    """Split of its runs -> whether it was there, so that predictions have its labels."""
    gone: tuple[Name, ...] = ()
    """Runs whose rows no longer held when the index was written."""


class Retired(Stored):
    """A segment that others replaced, whose files go when nobody can be reading them."""

    name: Name
    at: Moment


class Index(Stored):
    """The segments that count, a newer one before an older one, oldest first."""

    format: int = FORMAT
    segments: tuple[Segment, ...] = ()
    retired: tuple[Retired, ...] = ()
    stood: int | None = None
    """Version of the folder of all runs when it was written; while that is so, no run came or
    went. None where it isn't known."""
    others: tuple[Name, ...] = ()
    """Runs that were there then and that no segment answers for."""


@dataclass(frozen=True)
class Held:
    """Which runs a segment holds: columns of equal length, sorted by id."""

    table: pa.Table
    """Its status is dictionary-encoded."""

    @cached_property
    def ids(self) -> Sequence[str]:
        return self.table["id"].to_pylist()

    @cached_property
    def versions(self) -> Sequence[int]:
        return self.table["version"].to_pylist()

    @cached_property
    def splits(self) -> Sequence[str | None]:
        return self.table["split"].to_pylist()

    @cached_property
    def done(self) -> frozenset[str]:
        """Those of its runs that are done."""
        return frozenset(self.ids) - self.not_done.keys()

    @cached_property
    def not_done(self) -> Mapping[str, int]:
        """Its other runs, with their versions."""
        statuses = self.table["status"].combine_chunks()
        others = [i for i, status in enumerate(statuses.dictionary.to_pylist()) if status != "done"]
        numbers = np.from_dlpack(statuses.indices)  # Arrow's to_numpy imports pandas
        rows = sorted(int(row) for other in others for row in (numbers == other).nonzero()[0])
        ids, versions = self.table["id"], self.table["version"]
        return {ids[row].as_py(): versions[row].as_py() for row in rows}


def new_name() -> str:
    """A name that no other segment has, and that tells when it was begun."""
    return f"{datetime.now(UTC):%Y%m%dT%H%M%SZ}-{uuid.uuid4().hex[:8]}"


def path(segment: str, kind: str) -> str:
    """The file of one kind of a segment's rows."""
    return f"{FOLDER}/{layout.name(segment)}/{kind}.parquet"


def read_index(files: Files) -> tuple[Index, str | None]:
    """The index and its version for `swap`; empty and None where there is none.

    An index that is damaged, or of a newer version, counts as empty, with a warning.
    """
    try:
        data, version = files.read_versioned(INDEX)
    except (FileNotFoundError, NotADirectoryError):
        return Index(), None
    try:
        index = layout.parse(Index, data, where=files.locate(INDEX))
        if index.format == FORMAT:
            return index, version
        reason = f"it has format {index.format}"
    except StoreError as error:
        reason = str(error).partition(";")[0]
    _log.warning("the catalog is not used, runs are read one by one (%s)", reason)
    return Index(), version


def swap(files: Files, index: Index, *, version: str | None) -> bool:
    """Put `index` in place if that of `version` is still there; False if it isn't."""
    if version is None:
        return files.create(INDEX, index.to_json())
    return files.replace_if(INDEX, index.to_json(), version=version)


def usable(files: Files, index: Index) -> tuple[Segment, ...]:
    """The segments whose files are all there, whole by their size."""
    if not index.segments:
        return ()
    there = files.sizes(FOLDER)
    found = []
    for segment in index.segments:
        sizes = {path(segment.name, kind): size for kind, size in segment.sizes.items()}
        if sizes.items() <= there.items() and _opens(files, segment):
            found.append(segment)
        else:
            note_damage(files, segment.name, "its files are not those that the index lists")
    return tuple(found)


def _opens(files: Files, segment: Segment) -> bool:
    try:
        return held(files, segment.name).table.num_rows == segment.runs
    except (pa.ArrowException, OSError):
        return False


@lru_cache(maxsize=64)
def held(files: Files, segment: str) -> Held:
    """The runs that a segment holds."""
    import pyarrow.parquet as pq

    full, columns = files.locate(path(segment, "runs")), ["id", "version", "status", "split"]
    file = pq.ParquetFile(
        full,
        filesystem=files.arrow(),
        read_dictionary=["status"],
        page_checksum_verification=True,
    )
    return Held(file.read(columns=columns))


def rows_of(
    files: Files, segment: str, kind: str, columns: Sequence[str], runs: Iterable[str] | None
) -> Iterator[pa.Table]:
    """Those `columns` of the rows of some runs in a segment, or of all, in order.

    The column of the run must be among them. Row groups that hold none of the runs are not read.
    """
    wanted = None if runs is None else sorted(runs)
    if wanted == []:
        return
    import pyarrow.compute as pc
    import pyarrow.parquet as pq

    full = files.locate(path(segment, kind))
    file = pq.ParquetFile(full, filesystem=files.arrow(), page_checksum_verification=True)
    groups = range(file.metadata.num_row_groups)
    if wanted is None:
        yield from (file.read_row_group(group, columns=list(columns)) for group in groups)
        return
    key = RUN_OF[kind]
    values = from_rows(({"run": id_} for id_ in wanted), schema(("run", pa.string())))["run"]
    options = pc.SetLookupOptions(values.combine_chunks())
    for group in groups:
        about = file.metadata.row_group(group).column(file.schema_arrow.names.index(key)).statistics
        place = bisect_left(wanted, about.min) if about is not None else 0
        if place < len(wanted) and (about is None or wanted[place] <= about.max):
            table = file.read_row_group(group, columns=list(columns))
            yield table.filter(pc.call_function("is_in", [table[key]], options))


@contextlib.contextmanager
def damage_noted(files: Files, segment: str) -> Iterator[None]:
    """Suppress what reading a damaged segment raises, with a warning."""
    try:
        yield
    except (pa.ArrowException, OSError, ValueError) as error:
        if isinstance(error, StoreUnavailable):
            raise
        note_damage(files, segment, error)


def note_damage(files: Files, segment: str, why: object) -> None:
    """Warn that a segment can't be used."""
    where = files.locate(f"{FOLDER}/{segment}")
    costs = "its runs are read one by one, which costs time alone"
    remedy = "it is a copy: delete it, and `w2s compact` makes another"
    note(Damaged(where, why, costs=costs, remedy=remedy))


def is_whole(files: Files, segment: Segment) -> bool:
    """Whether all of a segment can be read; a warning where it can't."""
    for kind in segment.sizes:
        with damage_noted(files, segment.name):
            scan(files.locate(path(segment.name, kind)), KINDS[kind], filesystem=files.arrow())
            continue
        return False
    return True


def retire(index: Index, replaced: Iterable[str]) -> tuple[Retired, ...]:
    """What is retired when the segments `replaced` are too."""
    return (*index.retired, *(Retired(name=name, at=utc_now()) for name in replaced))


def clean(files: Files, index: Index) -> Index:
    """`index` without the retired segments that nobody reads any more; their files are removed.

    So are the leftovers of compactions that were killed.
    """
    now = datetime.now(UTC)
    young = [r for r in index.retired if now - datetime.fromisoformat(r.at) < _RETIRED_FOR]
    kept = {segment.name for segment in index.segments} | {retired.name for retired in young}
    old = {retired.name for retired in index.retired} - kept
    for name in {found.split("/")[2] for found in files.find(FOLDER)} - kept:
        if name in old or now - _begun(name) > _ABANDONED_AFTER:
            files.remove_folder(f"{FOLDER}/{name}")
    return index.model_copy(update={"retired": tuple(young)})


def _begun(name: str) -> datetime:
    """When the segment of this name was begun; now, where it was not named by us."""
    try:
        return datetime.strptime(name.partition("-")[0], "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)
    except ValueError:
        return datetime.now(UTC)
