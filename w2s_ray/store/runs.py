"""Writing a run's files and reading them.

Owns the order in which a run's files are written: the record comes last, and the first record
stays. It handles one run at a time and does not read the catalog.
"""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path
from types import UnionType
from typing import TYPE_CHECKING, Any

from w2s_ray.store import layout
from w2s_ray.store.checksums import without_checksum
from w2s_ray.store.damage import RESTORE, Damaged, none_if_damaged
from w2s_ray.store.errors import StoreError
from w2s_ray.store.files import Files
from w2s_ray.store.records import Record

if TYPE_CHECKING:
    import pyarrow as pa


def find(files: Files, id_: str) -> Record | None:
    """The record of a run if it is done, else None.

    Raises:
        Damaged: the record can't be read.
    """
    path = f"{layout.run(id_)}/record.json"
    try:
        return parsed(path, files.read(path), where=files.locate(path))
    except FileNotFoundError:
        return None


def attempts(files: Files, id_: str) -> list[Record]:
    """Attempts that ended without a result, oldest first."""
    all_names = {path.rsplit("/", 1)[1] for path in files.find(layout.run(id_))}
    names = [name for name in layout.outcomes(all_names) if name != "record.json"]
    return list(outcomes(files, [f"{layout.run(id_)}/{name}" for name in names]))


def outcomes(files: Files, paths: list[str]) -> Iterator[Record]:
    """The records and attempts at `paths`, in this order; a warning for each damaged one."""
    for path, data in zip(paths, files.read_many(paths), strict=True):
        record = none_if_damaged(partial(parsed, path, data, where=files.locate(path)))
        if record is not None:
            yield record


def parsed(path: str, data: bytes, *, where: str) -> Record:
    """The record or attempt in the file at `path`.

    Raises:
        Damaged: it is not a record, or belongs to another run.
    """
    id_, name = path.split("/")[-2:]
    if name == "record.json":
        costs, remedy = f"run {id_} counts as not run", "`w2s run` of its sweep runs it again"
    else:
        costs, remedy = f"this attempt at run {id_} is not shown", RESTORE
    record = layout.parse(Record, data, where=where, costs=costs, remedy=remedy)
    if record.id != id_:
        raise Damaged(where, f"its id is {record.id}", costs=costs, remedy=remedy)
    if not record.matches_id:
        why = "the run id in its folder name does not match its recipe"
        raise Damaged(where, why, costs=costs, remedy=remedy)
    return record


_TRIAL: Mapping[str, type | UnionType] = {
    "number": int,
    "settings": dict,
    "state": str,
    "value": float | int | None,
    "cost": float | int | None,
    "intermediate": list,
    "fits": list,
    "reason": str | None,
}
"""Keys of a trial that this program reads -> their types; a study may store other keys."""
_DEFAULTS: Mapping[str, Any] = {"settings": {}, "state": "complete", "intermediate": [], "fits": []}
"""Values of keys that a trial leaves out."""


def parsed_trial(path: str, data: bytes, *, where: str) -> dict[str, Any]:
    """The trial in the file at `path`.

    Raises:
        Damaged: it is not a trial, or is a trial with another number.
    """
    name = path.rsplit("/", 1)[-1]

    def damaged(why: object) -> Damaged:
        costs = f"trial {name.removesuffix('.json')} of study {path.split('/')[1]} is left out"
        remedy = f"{RESTORE}; a study that has not ended runs the trial again"
        return Damaged(where, why, costs=costs, remedy=remedy)

    try:
        trial = json.loads(without_checksum(data))
    except (ValueError, RecursionError) as error:
        raise damaged(error) from error
    if not isinstance(trial, dict):
        raise damaged(f"a {type(trial).__name__}, not a trial")
    trial = {**_DEFAULTS, **trial}
    wrong = [key for key, kind in _TRIAL.items() if not isinstance(trial.get(key), kind)]
    if not wrong:
        items = {"fits": str, "intermediate": float | int}
        wrong = [k for k, kind in items.items() if not all(isinstance(i, kind) for i in trial[k])]
    if wrong:
        raise damaged(f"{wrong[0]} is {trial.get(wrong[0])!r}")
    if name != f"{trial['number']}.json":
        raise damaged(f"its number is {trial['number']}")
    return trial


def encoded(record: Record, by_kind: dict[str, pa.Table | None]) -> dict[str, bytes]:
    """Kind -> the Parquet file of each table of a run; None is left out.

    Raises:
        ValueError: a table with other columns.
    """
    from w2s_ray.store import tables

    data = {}
    for kind, table in by_kind.items():
        if table is not None:
            what = f"{kind} of run {record.id}"
            conforming = tables.conform(table, tables.OF_RUN[kind], what=what)
            data[kind] = tables.to_parquet(conforming)
    return data


def write(files: Files, record: Record, *, data: dict[str, bytes], weights: Path | None) -> Record:
    """Store a done run and return the stored record: this one, or an earlier writer's."""
    folder = layout.run(record.id)
    sizes = {f"{kind}.parquet": len(content) for kind, content in data.items()}
    for kind, content in data.items():
        files.write(f"{folder}/{kind}.parquet", content)
    if weights is not None:
        files.write_folder(f"{folder}/weights", weights)
        sizes["weights"] = sum(p.stat().st_size for p in weights.rglob("*") if p.is_file())
    record = record.model_copy(update={"bytes": sizes})
    path = f"{folder}/record.json"
    while not files.create(path, record.to_json()):
        there, version = files.read_versioned(path)
        try:
            return parsed(path, there, where=files.locate(path))
        except Damaged:
            files.remove_if(path, version=version)
    return record


def write_attempt(files: Files, record: Record) -> None:
    """Store an attempt beside earlier ones."""
    folder = layout.run(record.id)
    number = layout.next_attempt(files.find(folder))
    while not files.create(f"{folder}/attempt-{number}.json", record.to_json()):
        number += 1


def table(files: Files, id_: str, kind: str) -> pa.Table:
    """A table of a done run.

    Raises:
        StoreError: the run has no such table.
    """
    from w2s_ray.store import tables

    path = f"{layout.run(id_)}/{kind}.parquet"
    try:
        data = files.read(path)
    except FileNotFoundError:
        raise StoreError(f"run {id_} has no {kind}; only fits have them") from None
    return tables.read(
        data,
        tables.OF_RUN[kind],
        where=files.locate(path),
        costs=f"the {kind} of run {id_} can't be used",
        remedy=f"{RESTORE}, or delete {files.locate(layout.run(id_))} and `w2s run` the sweep, "
        "which trains the run again",
    )


def of_part(predictions: pa.Table, part: str | None) -> pa.Table:
    """The predictions of one part; of all parts if `part` is None."""
    if part is None:
        return predictions
    import pyarrow as pa
    import pyarrow.compute as pc

    equal = pc.call_function("equal", [predictions["part"], pa.scalar(part)])
    return predictions.filter(equal)


def fetch(files: Files, folder: str, target: Path) -> Path:
    """A copy of a folder on this machine; an existing copy is complete and is not made again."""
    if target.is_dir():
        return target
    target.parent.mkdir(parents=True, exist_ok=True)
    unfinished = Path(tempfile.mkdtemp(dir=target.parent, prefix=f".{target.name}-"))
    try:
        for path in files.find(folder):
            copy = unfinished / layout.checked_path(path.removeprefix(f"{folder}/"))
            copy.parent.mkdir(parents=True, exist_ok=True)
            files.get_file(path, copy)
        unfinished.rename(target)
    except OSError:
        if not target.is_dir():  # another process made the same copy
            raise
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)
    return target
