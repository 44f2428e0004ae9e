"""Arrow files, and the folders that the library `datasets` saves with `save_to_disk`.

Owns the rows of an Arrow file in both formats, stream and file, the list of files in a saved
folder, and its splits. It doesn't import `datasets`.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path, PurePath
from typing import Any

from w2s_ray.data.cells import check_distinct, name_list
from w2s_ray.data.example import Row
from w2s_ray.data.files import Member, reading, reading_arrow
from w2s_ray.errors import InputError
from w2s_ray.printable import shown

_STATE, _SPLITS = "state.json", "dataset_dict.json"
"""The files that describe a saved Dataset and a saved DatasetDict."""
_FILE_FORMAT = b"ARROW1"
"""The first bytes of the file format; the stream format has no mark."""


def arrow_rows(member: Member) -> Iterator[Row]:
    """The rows of one Arrow file.

    Raises:
        InputError: a damaged file, or another format.
    """
    import pyarrow as pa

    with reading(member), reading_arrow(member, format="Arrow"), member.open() as file:
        is_file = file.read(len(_FILE_FORMAT)) == _FILE_FORMAT
        file.seek(0)
        table = pa.ipc.open_file(file) if is_file else pa.ipc.open_stream(file)
        check_distinct(table.schema.names, where=member)
        for batch in _batches(table):
            batch.validate(full=True)
            yield from batch.to_pylist()


def _batches(table: Any) -> Iterator[Any]:
    if hasattr(table, "num_record_batches"):
        yield from map(table.get_batch, range(table.num_record_batches))
    else:
        yield from table


def is_saved(path: Path) -> bool:
    """Whether `path` is a folder with a saved Dataset or DatasetDict."""
    return (path / _STATE).is_file() or (path / _SPLITS).is_file()


def saved_split(path: Path, split: str | None, *, where: str) -> Path:
    """The folder of the Dataset at `path`, or of a split of the DatasetDict there.

    Raises:
        InputError: no such split, a DatasetDict without `split`, or a Dataset with it.
    """
    if not (path / _SPLITS).is_file():
        if split is None:
            return path
        raise InputError(
            f"{where}: {path} is no saved DatasetDict, and has no split {shown(split)}; remove "
            "`split`"
        )
    names = _described(path / _SPLITS, "splits")
    if split in names:
        return path / split
    problem = "name one of its splits" if split is None else f"it has no split {shown(split)}"
    raise InputError(
        f"{where}: {path} is a saved DatasetDict; {problem}: give one of {name_list(names)} as "
        "`split`, or the folder of a split as `path`"
    )


def saved_rows(folder: Path) -> Iterator[Row]:
    """The rows of a saved Dataset.

    Raises:
        InputError: a damaged or missing file.
    """
    for name in _described(folder / _STATE, "_data_files"):
        if not (folder / name).is_file():
            raise InputError(f"{folder}: its file {name} is missing; save the data set again")
        yield from arrow_rows(Member(name, folder / name))


def _described(file: Path, key: str) -> list[str]:
    """The splits or files that one of the two JSON files lists, as plain names.

    Raises:
        InputError: the file is missing or in another layout, or its rows are in another order.
    """
    with reading(file):
        try:
            content = json.loads(file.read_text(encoding="utf-8"))
            listed = [each if key == "splits" else each["filename"] for each in content[key]]
            names = [PurePath(name).name for name in listed]
            reordered = content.get("_indices_data_files") or content.get("_indices_files")
        except (ValueError, LookupError, TypeError, AttributeError):
            raise InputError(
                f"{file}: not as save_to_disk writes it; save the data set again"
            ) from None
    if reordered:
        raise InputError(
            f"{file.parent}: saved by an old version of datasets with its rows in another order; "
            "call flatten_indices and save it again"
        )
    return names
