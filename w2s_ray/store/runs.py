"""Writing a run and reading what belongs to it.

Owns the order in which a run's files appear: the record comes last, and the first one stays. It
knows nothing of other runs, nor of the catalog.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from w2s_ray.store import layout
from w2s_ray.store.errors import StoreError
from w2s_ray.store.files import Files
from w2s_ray.store.records import Record

if TYPE_CHECKING:
    import pyarrow as pa


def find(files: Files, id_: str) -> Record | None:
    """The record of a run if it is done, else None."""
    path = f"{layout.run(id_)}/record.json"
    try:
        return layout.parse(Record, files.read(path), where=files.locate(path))
    except FileNotFoundError:
        return None


def attempts(files: Files, id_: str) -> list[Record]:
    """Attempts that did not end in a result, oldest first."""
    found = {path.rsplit("/", 1)[1] for path in files.find(layout.run(id_))}
    names = [name for name in layout.outcomes(found) if name != "record.json"]
    return list(outcomes(files, [f"{layout.run(id_)}/{name}" for name in names]))


def outcomes(files: Files, paths: list[str]) -> Iterable[Record]:
    """The records and attempts at `paths`, in this order."""
    for path, data in zip(paths, files.read_many(paths), strict=True):
        yield layout.parse(Record, data, where=files.locate(path))


def encoded(record: Record, given: dict[str, pa.Table | None]) -> dict[str, bytes]:
    """Kind -> the Parquet file of a run's table, of those that are given.

    Raises:
        ValueError: a table of other columns.
    """
    from w2s_ray.store import tables

    data = {}
    for kind, table in given.items():
        if table is not None:
            what = f"{kind} of run {record.id}"
            fitting = tables.conform(table, tables.OF_RUN[kind], what=what)
            data[kind] = tables.to_parquet(fitting)
    return data


def write(files: Files, record: Record, *, data: dict[str, bytes], weights: Path | None) -> Record:
    """Keep a done run and give the record that counts: this one, or that of who was faster."""
    folder = layout.run(record.id)
    sizes = {f"{kind}.parquet": len(content) for kind, content in data.items()}
    for kind, content in data.items():
        files.write(f"{folder}/{kind}.parquet", content)
    if weights is not None:
        files.write_folder(f"{folder}/weights", weights)
        sizes["weights"] = sum(p.stat().st_size for p in weights.rglob("*") if p.is_file())
    record = record.model_copy(update={"bytes": sizes})
    if files.create(f"{folder}/record.json", record.to_json()):
        return record
    path = f"{folder}/record.json"
    return layout.parse(Record, files.read(path), where=files.locate(path))


def write_attempt(files: Files, record: Record) -> None:
    """Keep an attempt beside earlier ones."""
    folder = layout.run(record.id)
    number = layout.next_attempt(files.find(folder))
    while not files.create(f"{folder}/attempt-{number}.json", record.to_json()):
        number += 1


def table(files: Files, id_: str, kind: str) -> pa.Table:
    """A table of a done run.

    Raises:
        StoreError: the run has none.
    """
    from w2s_ray.store import tables

    try:
        return tables.from_parquet(files.read(f"{layout.run(id_)}/{kind}.parquet"))
    except FileNotFoundError:
        raise StoreError(f"run {id_} has no {kind}; a study has none") from None


def of_part(predictions: pa.Table, part: str | None) -> pa.Table:
    """Those of one part; all, where it is None."""
    if part is None:
        return predictions
    import pyarrow as pa
    import pyarrow.compute as pc

    equal = pc.call_function("equal", [predictions["part"], pa.scalar(part)])
    return predictions.filter(equal)


def fetch(files: Files, folder: str, target: Path) -> Path:
    """A copy of a folder on this machine; one that is whole already is taken as it is."""
    if target.is_dir():
        return target
    target.parent.mkdir(parents=True, exist_ok=True)
    unfinished = Path(tempfile.mkdtemp(dir=target.parent, prefix=f".{target.name}-"))
    try:
        for path in files.find(folder):
            copy = unfinished / path.removeprefix(f"{folder}/")
            copy.parent.mkdir(parents=True, exist_ok=True)
            files.get_file(path, copy)
        unfinished.rename(target)
    except OSError:
        if not target.is_dir():  # somebody else's copy is as good
            raise
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)
    return target
