"""Tables that were computed from a store's runs, cached in the store.

Owns `catalog/derived/NAME.parquet`. A missing or damaged cache costs only time. The callers choose
keys of rows that change when the rows become invalid.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING

from w2s_ray.store import layout
from w2s_ray.store.files import Files
from w2s_ray.store.marker import ensure_marker

if TYPE_CHECKING:
    import pyarrow as pa

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class TableCache:
    """Cached tables by name."""

    files: Files

    def read(self, name: str) -> pa.Table | None:
        """The table of this name; None if it is missing, or, with a warning, if it is damaged."""
        import pyarrow as pa

        from w2s_ray.store import tables

        path = layout.cached_table(name)
        try:
            data = self.files.read(path)
        except (FileNotFoundError, NotADirectoryError):
            return None
        try:
            return tables.from_parquet(data)
        except (pa.ArrowException, OSError) as error:
            where = self.files.locate(path)
            _log.warning("%s is damaged and is computed again (%s)", where, error)
            return None

    def write(self, name: str, table: pa.Table) -> None:
        """Replace the table of this name in one step; the last of several writers wins."""
        from w2s_ray.store import tables

        path, data = layout.cached_table(name), tables.to_parquet(table)
        ensure_marker(self.files)
        self.files.write(path, data)
