"""The catalog's files: segments, each a copy of many runs, and the index of current segments.

    catalog/index.json                              replaced in one step
    catalog/segments/NAME/{runs,trials,metrics,predictions}.parquet    written once, sorted by run

Owns their names and columns, the index and its replacement. A missing or damaged segment is left
out with a warning: its runs are then read from their own files. `compaction` decides which runs are
copied, `snapshot` which copies are valid.
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
from w2s_ray.store.damage import Damaged, warn
from w2s_ray.store.errors import StoreError, StoreUnavailable
from w2s_ray.store.files import Files
from w2s_ray.store.records import Moment, Name, Stored, utc_now
from w2s_ray.store.tables import METRICS, completed, field, from_rows, scan, schema

_log = logging.getLogger(__name__)

FORMAT = 1
INDEX = "catalog/index.json"
FOLDER = "catalog/segments"

VERSION = field("version", pa.int64(), "the version of the run's folder when it was copied")

KINDS: Mapping[str, pa.Schema] = {
    "runs": pa.schema([*RUNS, VERSION]),
    "trials": TRIALS,
    "metrics": METRICS,
    "predictions": LABELLED_PREDICTIONS,
}
"""Kind of a segment's rows -> its columns; a kind without rows has no file."""

RUN_OF: Mapping[str, str] = {
    "runs": "id",
    "trials": "study",
    "metrics": "run_id",
    "predictions": "run_id",
}
"""Kind -> the column that names the run; rows are sorted by it."""

_RETIRED_FOR = timedelta(hours=1)
"""Retired segments are kept for this time, for processes that read the old index."""
_ABANDONED_AFTER = timedelta(days=1)
"""After this time a segment that is in no index is a leftover of a killed writer."""


class Segment(Stored):
    """One segment's entry in the index."""

    name: Name
    runs: int
    sizes: dict[str, int]
    """Kind -> bytes of its file."""
    splits: dict[str, bool]
    """Split of its runs -> whether it existed, so that predictions have its labels."""
    gone: tuple[Name, ...] = ()
    """Runs whose rows were no longer valid when the index was written."""


class Retired(Stored):
    """A replaced segment, whose files are removed when no process can be reading them."""

    name: Name
    at: Moment


class Index(Stored):
    """The current segments, oldest first; a newer segment's rows take precedence."""

    format: int = FORMAT
    segments: tuple[Segment, ...] = ()
    retired: tuple[Retired, ...] = ()
    stood: int | None = None
    """Version of the folder of all runs when the index was written; while the version is the same,
    no run was added or removed. None if it is unknown."""
    others: tuple[Name, ...] = ()
    """Runs at that time without a valid copy in a segment."""


@dataclass(frozen=True)
class SegmentRuns:
    """The runs in a segment: columns of equal length, sorted by id."""

    table: pa.Table
    """Its column `status` is dictionary-encoded."""

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
        """The done runs."""
        return frozenset(self.ids) - self.not_done.keys()

    @cached_property
    def not_done(self) -> Mapping[str, int]:
        """The other runs, with their versions."""
        statuses = self.table["status"].combine_chunks()
        others = [i for i, status in enumerate(statuses.dictionary.to_pylist()) if status != "done"]
        numbers = np.from_dlpack(statuses.indices)  # Arrow's to_numpy imports pandas
        rows = sorted(int(row) for other in others for row in (numbers == other).nonzero()[0])
        ids, versions = self.table["id"], self.table["version"]
        return {ids[row].as_py(): versions[row].as_py() for row in rows}


def new_name() -> str:
    """A unique name for a new segment, which begins with the present time."""
    return f"{datetime.now(UTC):%Y%m%dT%H%M%SZ}-{uuid.uuid4().hex[:8]}"


def path(segment: str, kind: str) -> str:
    """The file of one kind of a segment's rows."""
    return f"{FOLDER}/{layout.checked_name(segment)}/{kind}.parquet"


def read_index(files: Files) -> tuple[Index, str | None]:
    """The index and its version for `swap`; an empty index and None if there is none.

    A damaged index, or an index of a newer version, counts as empty, with a warning.
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
    """Replace the index if its version is still `version`; False if it is not."""
    if version is None:
        return files.create(INDEX, index.to_json())
    return files.replace_if(INDEX, index.to_json(), version=version)


def usable(files: Files, index: Index) -> tuple[Segment, ...]:
    """The segments whose files all exist with the sizes in the index."""
    if not index.segments:
        return ()
    present = files.sizes(FOLDER)
    found = []
    for segment in index.segments:
        sizes = {path(segment.name, kind): size for kind, size in segment.sizes.items()}
        if sizes.items() <= present.items() and _has_all_runs(files, segment):
            found.append(segment)
        else:
            note_damage(files, segment.name, "its files differ from the index")
    return tuple(found)


def _has_all_runs(files: Files, segment: Segment) -> bool:
    try:
        return segment_runs(files, segment.name).table.num_rows == segment.runs
    except (pa.ArrowException, OSError):
        return False


@lru_cache(maxsize=64)
def segment_runs(files: Files, segment: str) -> SegmentRuns:
    """The runs in a segment."""
    import pyarrow.parquet as pq

    full, columns = files.locate(path(segment, "runs")), ["id", "version", "status", "split"]
    file = pq.ParquetFile(
        full,
        filesystem=files.arrow(),
        read_dictionary=["status"],
        page_checksum_verification=True,
    )
    return SegmentRuns(file.read(columns=columns))


def rows_of(
    files: Files, segment: str, kind: str, columns: Sequence[str], runs: Iterable[str] | None
) -> Iterator[pa.Table]:
    """The `columns` of the rows of some runs in a segment, or of all (None), in order.

    The run's column must be among them. Row groups without these runs are not read.
    """
    sorted_runs = None if runs is None else sorted(runs)
    if sorted_runs == []:
        return
    import pyarrow.compute as pc
    import pyarrow.parquet as pq

    full = files.locate(path(segment, kind))
    file = pq.ParquetFile(full, filesystem=files.arrow(), page_checksum_verification=True)
    groups = range(file.metadata.num_row_groups)

    def read(group: int) -> pa.Table:
        table = file.read_row_group(group, columns=list(columns))
        return completed(table, KINDS[kind]).select(list(columns))  # older files may lack columns

    if sorted_runs is None:
        yield from (read(group) for group in groups)
        return
    key = RUN_OF[kind]
    values = from_rows(({"run": id_} for id_ in sorted_runs), schema(("run", pa.string())))["run"]
    options = pc.SetLookupOptions(values.combine_chunks())
    for group in groups:
        about = file.metadata.row_group(group).column(file.schema_arrow.names.index(key)).statistics
        place = bisect_left(sorted_runs, about.min) if about is not None else 0
        if place < len(sorted_runs) and (about is None or sorted_runs[place] <= about.max):
            table = read(group)
            yield table.filter(pc.call_function("is_in", [table[key]], options))


@contextlib.contextmanager
def damage_noted(files: Files, segment: str) -> Iterator[None]:
    """Suppress errors of reading a damaged segment, with a warning."""
    try:
        yield
    except (pa.ArrowException, OSError, ValueError) as error:
        if isinstance(error, StoreUnavailable):
            raise
        note_damage(files, segment, error)


def note_damage(files: Files, segment: str, why: object) -> None:
    """Warn that a segment can't be used."""
    where = files.locate(f"{FOLDER}/{segment}")
    costs = "its runs are read one by one, which is slower"
    remedy = "it is a copy: delete it, and `w2s compact` writes a new one"
    warn(Damaged(where, why, costs=costs, remedy=remedy))


def is_whole(files: Files, segment: Segment) -> bool:
    """Whether all of a segment can be read; a warning if it can't."""
    for kind in segment.sizes:
        with damage_noted(files, segment.name):
            scan(files.locate(path(segment.name, kind)), KINDS[kind], filesystem=files.arrow())
            continue
        return False
    return True


def retire(index: Index, replaced: Iterable[str]) -> tuple[Retired, ...]:
    """The retired segments of `index`, and the segments `replaced`."""
    return (*index.retired, *(Retired(name=name, at=utc_now()) for name in replaced))


def clean(files: Files, index: Index) -> Index:
    """`index` without its old retired segments, whose files are removed.

    Leftovers of killed compactions are removed too.
    """
    now = datetime.now(UTC)
    young = [r for r in index.retired if now - datetime.fromisoformat(r.at) < _RETIRED_FOR]
    kept = {segment.name for segment in index.segments} | {retired.name for retired in young}
    old = {retired.name for retired in index.retired} - kept
    for name in {file.split("/")[2] for file in files.find(FOLDER)} - kept:
        if name in old or now - _begun(name) > _ABANDONED_AFTER:
            files.remove_folder(f"{FOLDER}/{name}")
    return index.model_copy(update={"retired": tuple(young)})


def _begun(name: str) -> datetime:
    """The time in a segment's name; the present time if the name has none."""
    try:
        return datetime.strptime(name.partition("-")[0], "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)
    except ValueError:
        return datetime.now(UTC)
