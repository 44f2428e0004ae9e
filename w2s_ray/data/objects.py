"""Python objects as tasks: a Dataset, a DatasetDict or a data frame, written as Parquet files.

Owns the conversion to Arrow and the files, in the folder `tables` of the cache. A file's name is a
hash of its content, so that the same object gives the same task. It imports neither `datasets` nor
pandas.
"""

from __future__ import annotations

import hashlib
import itertools
import os
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from pydantic import ValidationError

from w2s_ray.config import PartFile, Task
from w2s_ray.data.cache import cache_folder
from w2s_ray.data.cells import name_list, type_name
from w2s_ray.data.files import reason
from w2s_ray.errors import InputError
from w2s_ray.validation import problems_of

if TYPE_CHECKING:
    import pyarrow as pa

_BATCH = 10_000
"""Rows of a Dataset that are converted at a time."""


def task_of(data: Any, declared: Mapping[str, Any]) -> Task:
    """See `Task.of`; `declared` are the task's settings, without what follows from `data`."""
    where = f"task {declared['name']}"
    objects = data if isinstance(data, Mapping) else {"train": data}
    if "train" not in objects:
        raise InputError(
            f"{where}: no split 'train' (it has {name_list(objects) or 'none'}); give "
            "{'train': ..., 'test': ...}"
        )
    parts = {
        part: PartFile(path=str(_written(objects[part], where)), rows=declared.get(part))
        for part in ("validation", "test")
        if part in objects
    }
    path = str(_written(objects["train"], where))
    values = {**declared, "path": path, **parts}
    try:
        return Task.model_validate(values)
    except ValidationError as error:
        found = problems_of(error, Task, values)
        raise InputError(*(f"{where}: {one.line}" for one in found)) from None


def _written(data: Any, where: str) -> Path:
    """The Parquet file with the rows of `data`; it is written unless it is in the cache.

    Raises:
        InputError: an object that isn't a table, a column without one type, or a full disk.
    """
    import pyarrow as pa

    folder = cache_folder() / "tables"
    try:
        folder.mkdir(exist_ok=True)
        handle, temporary = tempfile.mkstemp(dir=folder, prefix=".", suffix=".part")
        try:
            with os.fdopen(handle, "w+b") as file:
                _write(_tables(data, where), file, where)
                file.seek(0)
                path = folder / f"{hashlib.file_digest(file, 'sha256').hexdigest()[:40]}.parquet"
            if not path.exists():
                os.replace(temporary, path)
        finally:
            Path(temporary).unlink(missing_ok=True)
    except InputError:
        raise
    except (pa.ArrowException, ValueError, TypeError) as error:
        raise InputError(
            f"{where}: the object can't be written as a table ({reason(error)}); give each column "
            "values of one type and a name of its own, or leave the column out"
        ) from None
    except OSError as error:
        raise InputError(
            f"{where}: {folder} can't be written ({reason(error)}); set W2S_CACHE to another folder"
        ) from None
    return path


def _write(tables: Iterator[pa.Table], file: IO[bytes], where: str) -> None:
    """Write tables of the same columns as one Parquet file."""
    import pyarrow.parquet as pq

    first = next(tables, None)
    if first is None:
        raise InputError(f"{where}: the object has no rows; give one with rows")
    with pq.ParquetWriter(file, first.schema) as writer:
        for table in itertools.chain([first], tables):
            writer.write_table(table)


def _tables(data: Any, where: str) -> Iterator[pa.Table]:
    """The rows of an object as Arrow tables, without the metadata of libraries."""
    import pyarrow as pa

    if any(
        base.__module__.partition(".")[0] == "pandas" and base.__name__ == "DataFrame"
        for base in type(data).__mro__
    ):
        tables: Any = [pa.Table.from_pandas(data, preserve_index=False)]
    elif hasattr(data, "with_format") and hasattr(data, "iter"):  # a Dataset of `datasets`
        tables = data.with_format("arrow").iter(_BATCH)
    elif isinstance(data, pa.Table) or hasattr(data, "__arrow_c_stream__"):
        tables = [pa.table(data)]
    else:
        raise InputError(
            f"{where}: {type_name(data)} is not a table; give a Dataset, a pandas frame or an "
            "Arrow table, or a mapping of such from 'train', 'validation' and 'test'"
        )
    for table in tables:
        if len(table):
            yield table.replace_schema_metadata(None)
