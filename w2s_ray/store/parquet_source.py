"""Parquet files of a store as rows for SQL: read by DuckDB itself, or through Arrow.

Owns how the files are told to DuckDB. On a local disk it reads them itself: its memory limit then
counts what it reads, and nothing of Arrow's data sets is imported. From an object store they come
through Arrow. It decides neither which files hold nor what a query may do.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from collections.abc import Set as AbstractSet
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import pyarrow as pa

from w2s_ray.store import catalog_index, tables
from w2s_ray.store.damage import RESTORE, Damaged, note
from w2s_ray.store.files import Files
from w2s_ray.store.local_files import LocalFiles

if TYPE_CHECKING:
    from pyarrow import dataset as arrow_dataset

Register = Callable[["pa.Table | arrow_dataset.Dataset"], str]
"""Makes rows known to DuckDB and gives the name that they have there, quoted."""

_AT_ONCE = 8
"""Files that are checked at once."""

_GLOB = frozenset("*?[")
_OWNER = r"/([^/]+)/[^/]+$"
"""The folder that a file lies in: a run's id, or a split's fingerprint."""


@dataclass(frozen=True)
class ParquetFiles:
    """Rows of files that share their columns."""

    files: Files
    paths: tuple[str, ...]
    columns: pa.Schema
    """What SQL sees of each file; a file may hold more."""
    owner: str | None = None
    """A further column, the first, with the name of the folder that a row's file lies in."""
    gone_by: str | None = None
    """The column whose values in `gone` make a row count no more."""
    gone: Collection[str] = ()

    @property
    def is_checked_by_reader(self) -> bool:
        """Whether who reads the files looks at their checksums, as Arrow does and DuckDB doesn't.

        Segments of the catalog are large: of them only what can't be read is noticed.
        """
        return not self._local() or self.paths[0].startswith("catalog/")

    def read_by_duckdb(self) -> list[str]:
        """Full names of the files that DuckDB must be let read for `select`; none through Arrow."""
        return [self.files.locate(path) for path in self.paths] if self._local() else []

    def select(self, register: Register) -> str:
        """A query for the rows, in which the rest of a query can be sunk."""
        if not self._local():
            return f"from {register(self._dataset())}"
        names = ", ".join(_quoted(self.files.locate(path)) for path in self.paths)
        columns = [f'"{name}"' for name in self.columns.names]
        if self.owner is not None:
            columns.insert(0, f"regexp_extract(filename, '{_OWNER}', 1) as \"{self.owner}\"")
        # A folder called a=b is no column, and rows stand as they were written.
        options = f"hive_partitioning = false, filename = {str(self.owner is not None).lower()}"
        rows = f"select {', '.join(columns)} from read_parquet([{names}], {options})"
        if self.gone:
            gone = register(pa.table({"gone": pa.array(sorted(self.gone), pa.string())}))
            rows = f'{rows} anti join {gone} on "{self.gone_by}" = gone'
        return rows

    def without(self, damaged: AbstractSet[str]) -> ParquetFiles | pa.Table:
        """The same without some files; an empty table where none is left."""
        left = tuple(path for path in self.paths if path not in damaged)
        if left:
            return replace(self, paths=left)
        fields = self.columns.remove_metadata()
        if self.owner is not None:
            fields = fields.insert(0, pa.field(self.owner, pa.string()))
        return pa.Table.from_batches([], schema=fields)

    def damaged(self) -> Iterator[str]:
        """Those of the files that can't be read whole, each with a warning."""
        with ThreadPoolExecutor(_AT_ONCE) as readers:
            whole = readers.map(self._is_whole, self.paths)
            yield from (path for path, is_so in zip(self.paths, whole, strict=True) if not is_so)

    def _is_whole(self, path: str) -> bool:
        where = self.files.locate(path)
        try:
            tables.scan(where, self.columns, filesystem=self.files.arrow())
        except (pa.ArrowException, OSError, ValueError) as error:
            if path.startswith("catalog/"):
                catalog_index.note_damage(self.files, path.split("/")[2], error)
            else:
                costs = f"the rows of {path} are left out"
                note(Damaged(where, error, costs=costs, remedy=RESTORE))
            return False
        return True

    def _local(self) -> bool:
        """DuckDB would take some characters of a path for a pattern."""
        return isinstance(self.files, LocalFiles) and not _GLOB & set(str(self.files.root))

    def _dataset(self) -> arrow_dataset.Dataset:
        from pyarrow import dataset

        fields, guarantees = self.columns.remove_metadata(), None
        if self.owner is not None:
            fields = fields.insert(0, pa.field(self.owner, pa.string()))
            owners = (path.split("/")[-2] for path in self.paths)
            guarantees = [dataset.field(self.owner) == owner for owner in owners]
        rows = dataset.FileSystemDataset.from_paths(
            [self.files.locate(path) for path in self.paths],
            schema=fields,
            format=dataset.ParquetFileFormat(
                default_fragment_scan_options=dataset.ParquetFragmentScanOptions(
                    page_checksum_verification=True
                )
            ),
            filesystem=self.files.arrow(),
            partitions=guarantees,
        )
        if self.gone:
            rows = rows.filter(~dataset.field(self.gone_by).isin(sorted(self.gone)))
        return rows


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"
