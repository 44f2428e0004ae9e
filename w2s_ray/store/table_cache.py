"""Tables that were computed from a store's runs and are kept to save computing them again.

Owns `catalog/derived/NAME.parquet`, and that one which is missing or damaged costs time alone. It
knows nothing of what they hold, nor whether they still hold: their keys must say so.
"""

from __future__ import annotations

import logging

import pyarrow as pa

from w2s_ray.store import layout, tables
from w2s_ray.store.files import Files

_log = logging.getLogger(__name__)


def read(files: Files, name: str) -> pa.Table | None:
    """The table kept as `name`; None where there is none, or with a warning where it is damaged."""
    path = layout.derived(name)
    try:
        data = files.read(path)
    except (FileNotFoundError, NotADirectoryError):
        return None
    try:
        return tables.from_parquet(data)
    except (pa.ArrowException, OSError) as error:
        _log.warning("%s is damaged and is computed anew (%s)", files.locate(path), error)
        return None


def write(files: Files, name: str, table: pa.Table) -> None:
    """Keep `table` as `name`, replacing what is there in one step."""
    files.write(layout.derived(name), tables.to_parquet(table))
