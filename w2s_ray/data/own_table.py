"""The tables of a task with `columns`: the rows of all its files, in order, each with its place.

Owns the rows of text files, the labels of `files`, and the join with a second table. `own_files`
owns which files a path means, `table` the file formats, and `generic` makes examples of the rows.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import NamedTuple

from w2s_ray.config import FILES_LABEL, Columns, Join, OwnPart, Task
from w2s_ray.data.cells import is_missing, name_list, plain_label, text_of
from w2s_ray.data.example import Row
from w2s_ray.data.files import Member, reading
from w2s_ray.data.own_files import TEXT_FILE, id_prefix, path_members
from w2s_ray.data.table import SEPARATED, raw_rows
from w2s_ray.errors import InputError
from w2s_ray.printable import one_line, shown


class Place(NamedTuple):
    """Where a row is."""

    member: Member
    number: int
    """Its number within the file, from 0."""
    joined: Place | None = None
    """The place of the row of the second table that is joined with it."""

    def __str__(self) -> str:
        joined = "" if self.joined is None else f" (with {self.joined})"
        return f"{self.member}: row {self.number + 1}{joined}"

    def column(self, name: str) -> str:
        """A column of the row, for errors."""
        return f"{self}: column {name!r}"


@dataclass(frozen=True)
class Table:
    """The rows of a task's files."""

    name: str
    """The only file, or the path of the files and their number."""
    rows: tuple[Row, ...]
    places: tuple[Place, ...]
    """The place of each row."""
    files: int
    dropped: Mapping[str, int] = field(default_factory=dict)
    """Reason -> rows of the files that are not here."""


@dataclass(frozen=True)
class PartTable:
    """The table of a part with a file of its own, and its columns."""

    part: OwnPart
    table: Table
    columns: Columns
    has_own_labels: bool = False
    """Whether its labels may differ from the training rows'."""

    @property
    def prefix(self) -> str:
        """The beginning of its rows' ids."""
        return id_prefix(self.part)


def task_table(task: Task) -> Table:
    """The table of a task with `columns`, without that of its parts with a file of their own.

    Raises:
        MissingFile: a file that is not on this machine.
        InputError: files of several kinds, a missing column, no rows, or ids that can't be joined.
    """
    columns, where = task.columns, f"task {task.name}"
    assert columns is not None

    def read(path: str) -> Table:
        return path_table(path, columns=columns, where=where, split=task.split, join=task.join)

    if task.path is not None:
        table = read(task.path)
    else:
        parts = [read(entry.path) for entry in task.files]
        rows = (
            {**row, FILES_LABEL: entry.label}
            for entry, part in zip(task.files, parts, strict=True)
            for row in part.rows
        )
        places = tuple(place for part in parts for place in part.places)
        name, files = " and ".join(part.name for part in parts), sum(part.files for part in parts)
        table = Table(name, tuple(rows), places, files)
    return table if task.join is None else _joined(table, task.join, columns, where)


def part_tables(task: Task) -> tuple[PartTable, ...]:
    """The tables of the parts of a task with `columns` that have a file of their own.

    Raises:
        MissingFile, InputError: as for `task_table`.
    """
    assert task.columns is not None
    made = []
    for part, file in task.part_files.items():
        given, path = file.columns or task.columns, file.path or task.path or ""
        columns = given.model_copy(update={"weight": None})  # evaluation is not weighted
        where = f"task {task.name}: {part}"
        table = path_table(path, columns=columns, where=where, split=file.split)
        own = file.columns is not None and file.columns.positive is not None
        made.append(PartTable(part, table, columns, own))
    return tuple(made)


def path_table(
    path: str, *, columns: Columns, where: str, split: str | None = None, join: Join | None = None
) -> Table:
    """The rows of all files at `path`. Each file must have `columns`, unless a `join` adds them.

    Raises:
        MissingFile, InputError: as for `task_table`.
    """
    found = path_members(path, where=where, split=split)
    rows: list[Row] = []
    places: list[Place] = []
    for member in found:
        for index, row in enumerate(_rows(member, columns)):
            if index == 0 and join is None:
                _check_columns(member, row, columns)
            elif index == 0 and join is not None and join.on not in row:
                raise InputError(f"{member}: {_no_column(join.on, row)} as `join.on`")
            rows.append(row)
            places.append(Place(member, index))
    name = str(found[0]) if len(found) == 1 else f"{one_line(path)} ({len(found):,} files)"
    if not rows:
        raise InputError(f"{name}: no rows; give a file with rows as `path`")
    return Table(name, tuple(rows), tuple(places), len(found))


def _rows(member: Member, columns: Columns) -> Iterator[Row]:
    if member.kind == TEXT_FILE and columns.has_header:
        yield _text_row(member)
        return
    if not columns.has_header and member.kind not in SEPARATED:
        raise InputError(
            f"{member}: its columns have names; give these in `columns` (numbers are for .csv and "
            ".tsv files without a header line)"
        )
    yield from raw_rows(member, has_header=columns.has_header)


def _text_row(member: Member) -> Row:
    """A text file as a row: its text without white space at both ends, its folder and its name."""
    with reading(member), member.text() as file:
        text = file.read().replace("\r\n", "\n").strip()
    name = PurePosixPath(member.name)
    return {"text": text, "folder": name.parent.name or member.path.parent.name, "file": name.name}


def _check_columns(member: Member, row: Row, columns: Columns) -> None:
    """Refuse columns that the file doesn't have."""
    missing = _missing(row, columns)
    if missing is None:
        return
    if not columns.has_header:
        raise InputError(
            f"{member}: no column {missing}; the first line has {len(row)} field(s), numbered from "
            "0; correct the number, or, if it is the name of a column, write it in quotes"
        )
    hint = ""
    if missing == columns.preferred and missing in ("first", "second"):
        hint = "; if the same side is always better, give it as chosen and the other as rejected"
    elif member.kind in SEPARATED:
        count = itertools.count()
        numbers = ", ".join(
            f"{role}: {[next(count) for _ in names] if len(names) > 1 else next(count)}"
            for role, names in columns.roles.items()
            if names != (FILES_LABEL,)
        )
        hint = (
            "; if the file has no header line, give columns by number from 0, such as "
            f"{{{numbers}}}"
        )
    raise InputError(f"{member}: {_no_column(missing, row)}{hint}")


def _missing(row: Row, columns: Columns) -> str | None:
    """The first of `columns` that the row doesn't have."""
    return next((name for name in columns.names if name not in row), None)


def _no_column(name: str, row: Row) -> str:
    return f"no column {shown(name)}; choose one of its columns: {name_list(row)}"


def _joined(table: Table, join: Join, columns: Columns, where: str) -> Table:
    """`table` with the columns of the second table, for the ids that both have.

    Raises:
        InputError: an id that is missing or occurs twice, a column that both have, or no common id.
    """
    other = path_table(join.path, columns=columns, where=f"{where}: join", join=join)
    for name in columns.names:
        if name in table.rows[0] and name in other.rows[0] and name != join.on:
            raise InputError(
                f"{where}: column {shown(name)} is in {table.name} and in {other.name}; rename or "
                "remove it in one of them"
            )
    both = {**table.rows[0], **other.rows[0]}
    missing = _missing(both, columns)
    if missing is not None:
        raise InputError(f"{where}: {table.name} and {other.name}: {_no_column(missing, both)}")
    mine, theirs = _by_id(table, join), _by_id(other, join)
    common = [id_ for id_ in mine if id_ in theirs]
    if not common:
        raise InputError(
            f"{where}: no value of column {shown(join.on)} is in {table.name} and in {other.name} "
            f"(they have {shown(next(iter(mine)))} and {shown(next(iter(theirs)))}); correct "
            "`join.on`"
        )
    pairs = [(mine[id_], theirs[id_]) for id_ in common]
    return Table(
        f"{table.name} and {other.name}",
        tuple({**other.rows[b], **table.rows[a]} for a, b in pairs),
        tuple(table.places[a]._replace(joined=other.places[b]) for a, b in pairs),
        table.files + other.files,
        {
            "without_joined_row": len(mine) - len(common),
            "only_in_joined_table": len(theirs) - len(common),
        },
    )


def _by_id(table: Table, join: Join) -> dict[str, int]:
    """Id -> number of its row, in the order of the rows."""
    ids: dict[str, int] = {}
    for number, (row, place) in enumerate(zip(table.rows, table.places, strict=True)):
        value = row.get(join.on)
        if is_missing(value):
            raise InputError(
                f"{place} has no value in column {join.on!r}; fill it in or remove the row"
            )
        text_of(value, where=place.column(join.on))
        first = ids.setdefault(plain_label(value), number)
        if first != number:
            raise InputError(
                f"{place}: column {join.on!r} has {shown(value)}, as {table.places[first]} has; "
                "give each row its own id, or remove one of the rows"
            )
    return ids
