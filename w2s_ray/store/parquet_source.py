"""Parquet files of a store as rows for SQL: read by DuckDB itself, or through Arrow.

Owns the registration of files with DuckDB. DuckDB reads files on a local disk itself: its memory
limit then applies, and Arrow's datasets are not imported. Files in an object store are read through
Arrow. `views` chooses the files, `sql_check` the allowed queries.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from collections.abc import Set as AbstractSet
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import pyarrow as pa

from w2s_ray.store import catalog_index, tables
from w2s_ray.store.damage import RESTORE, Damaged, warn
from w2s_ray.store.files import Files
from w2s_ray.store.local_files import LocalFiles

if TYPE_CHECKING:
    from pyarrow import dataset as arrow_dataset

Register = Callable[["pa.Table | arrow_dataset.Dataset"], str]
"""Registers rows with DuckDB and returns their quoted name there."""

_THREADS = 8
"""Files that are checked concurrently."""

_GLOB = frozenset("*?[")
_OWNER = r"/([^/]+)/[^/]+$"
"""The folder of a file: a run's id, or a split's fingerprint."""


@dataclass(frozen=True)
class ParquetFiles:
    """The rows of several files with the same columns."""

    files: Files
    paths: tuple[str, ...]
    columns: pa.Schema
    """The columns in SQL; a file may have more."""
    owner: str | None = None
    """Name of an additional first column, which has the name of the folder of a row's file."""
    gone_by: str | None = None
    """The column whose values in `gone` mark rows that are no longer valid."""
    gone: Collection[str] = ()

    @property
    def is_checked_by_reader(self) -> bool:
        """Whether no separate check precedes the query. Arrow verifies checksums; DuckDB doesn't.

        Segments of the catalog are large, so only unreadable ones are detected.
        """
        return not self._local() or self.paths[0].startswith("catalog/")

    def read_by_duckdb(self) -> list[str]:
        """Full names of the files that DuckDB itself reads for `select`; none through Arrow."""
        return [self.files.locate(path) for path in self.paths] if self._local() else []

    def select(self, register: Register) -> str:
        """A query for the rows, into which DuckDB can push down filters and projections."""
        if not self._local():
            return f"from {register(self._dataset())}"
        names = ", ".join(_quoted(self.files.locate(path)) for path in self.paths)
        columns = [f'"{name}"' for name in self.columns.names]
        if self.owner is not None:
            columns.insert(0, f"regexp_extract(filename, '{_OWNER}', 1) as \"{self.owner}\"")
        # A folder named a=b must not become a column.
        options = f"hive_partitioning = false, filename = {str(self.owner is not None).lower()}"
        read = f"read_parquet([{names}], {options})"
        if tables.optional_fields(self.columns):  # files of earlier versions may lack them
            whole = register(pa.Table.from_batches([], schema=self.columns.remove_metadata()))
            read = f"(from {read[:-1]}, union_by_name = true) union all by name from {whole})"
        rows = f"select {', '.join(columns)} from {read}"
        if self.gone:
            gone = register(pa.table({"gone": pa.array(sorted(self.gone), pa.string())}))
            rows = f'{rows} anti join {gone} on "{self.gone_by}" = gone'
        return rows

    def without(self, damaged: AbstractSet[str]) -> ParquetFiles | pa.Table:
        """The rows without those of damaged files; an empty table if no file remains."""
        remaining = tuple(path for path in self.paths if path not in damaged)
        if remaining:
            return replace(self, paths=remaining)
        fields = self.columns.remove_metadata()
        if self.owner is not None:
            fields = fields.insert(0, pa.field(self.owner, pa.string()))
        return pa.Table.from_batches([], schema=fields)

    def damaged(self) -> Iterator[str]:
        """The files that can't be read completely, each with a warning."""
        with ThreadPoolExecutor(_THREADS) as readers:
            results = readers.map(self._is_whole, self.paths)
            yield from (path for path, whole in zip(self.paths, results, strict=True) if not whole)

    def _is_whole(self, path: str) -> bool:
        where = self.files.locate(path)
        try:
            tables.scan(where, self.columns, filesystem=self.files.arrow())
        except (pa.ArrowException, OSError, ValueError) as error:
            if path.startswith("catalog/"):
                catalog_index.note_damage(self.files, path.split("/")[2], error)
            else:
                costs = f"the rows of {path} are left out"
                warn(Damaged(where, error, costs=costs, remedy=RESTORE))
            return False
        return True

    def _local(self) -> bool:
        """Whether DuckDB can read the files itself; it interprets some characters as a pattern."""
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
