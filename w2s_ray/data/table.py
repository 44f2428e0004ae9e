"""Raw rows of a file, and the generic task made of two of its columns.

Owns CSV, TSV, JSON, JSON lines and Parquet, and how a label column becomes classes 0 and 1. It
knows no named task, no hub and no split.
"""

from __future__ import annotations

import csv
import itertools
import json
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from w2s_ray.data.example import Example, Rows
from w2s_ray.data.files import Member
from w2s_ray.spec import Columns

Row = Mapping[str, Any]
"""A raw row: column name -> value."""

_LONGEST_FIELD = 2**31 - 1
_SHOWN = 8


def raw_rows(member: Member, *, columns: tuple[str, ...] | None = None) -> Iterator[Row]:
    """The rows of one file, by its extension.

    `columns` names those of a CSV or TSV file that has no header line.

    Raises:
        ValueError: an extension that isn't known, or content that isn't what it says.
    """
    try:
        match member.kind:
            case ".csv":
                yield from _separated(member, ",", columns)
            case ".tsv":
                yield from _separated(member, "\t", columns)
            case ".json" | ".jsonl":
                yield from _json(member)
            case ".parquet":
                yield from _parquet(member)
            case other:
                raise ValueError(
                    f"{member}: can't read {other or 'a file without extension'}; "
                    "use .csv, .tsv, .json, .jsonl (each also .gz) or .parquet"
                )
    except UnicodeDecodeError as error:
        raise ValueError(f"{member}: not UTF-8 ({error.reason}); convert the file") from None
    except csv.Error as error:
        raise ValueError(
            f"{member}: {error}; quote fields that hold quotes, separators or line "
            "breaks, and double the quotes in them"
        ) from None


def table_rows(member: Member, *, columns: Columns) -> Rows:
    """A generic task: the rows of one file, as one pool.

    Raises:
        ValueError: a missing column, an empty text or label, or labels that aren't two classes.
    """
    rows: list[tuple[str, str, str, str]] = []
    for i, row in enumerate(raw_rows(member)):
        if i == 0:
            _check_columns(member, row, columns)
        text = str(_cell(row, columns.text, member, i))
        label = _plain(_cell(row, columns.label, member, i))
        group = text if columns.group is None else str(_cell(row, columns.group, member, i))
        rows.append((f"row:{i}", text, label, group))
    if not rows:
        raise ValueError(f"{member}: no rows; name a file that has some in `path`")
    classes = label_classes(
        (row[2] for row in rows),
        positive=columns.positive,
        where=f"{member}: column {columns.label!r}",
    )
    return Rows(tuple(Example(i, text, classes[label], group) for i, text, label, group in rows))


def label_classes(
    values: Iterable[Any], *, positive: str | int | bool | None, where: str
) -> dict[str, int]:
    """Label value, as text -> class.

    Without `positive`, 0/1 and false/true mean themselves, in any case; of two other values the
    later in sorted order is class 1.

    Raises:
        ValueError: not exactly two values, or none that is `positive`.
    """
    known = sorted({_plain(value) for value in values}, key=_label_order)
    shown = ", ".join(repr(v) for v in known[:_SHOWN]) + (", ..." if len(known) > _SHOWN else "")
    if len(known) != 2:
        raise ValueError(
            f"{where} has {len(known)} distinct label(s) ({shown}), a task has two; "
            "name another label column, or keep rows of two classes"
        )
    if positive is not None:
        wanted = _plain(positive)
        if wanted not in known and isinstance(positive, bool):
            wanted = next((value for value in known if value.lower() == wanted), wanted)
        if wanted not in known:
            raise ValueError(
                f"{where}: no label is {positive!r}, named as `positive`; the labels are {shown}"
            )
        return {value: int(value == wanted) for value in known}
    if sorted(value.lower() for value in known) == ["false", "true"]:
        return {value: int(value.lower() == "true") for value in known}
    return {known[0]: 0, known[1]: 1}


def _plain(value: Any) -> str:
    """A label as text: 1, 1.0, '1' and ' 1 ' are the same; so are true and 'true'."""
    match value:
        case bool():
            return "true" if value else "false"
        case float() if value.is_integer():
            return str(int(value))
        case _:
            return str(value).strip()


def _label_order(label: str) -> tuple[float, str]:
    """Numbers in their order, before words."""
    try:
        return float(label), label
    except ValueError:
        return math.inf, label


def _check_columns(member: Member, row: Row, columns: Columns) -> None:
    for name in (columns.text, columns.label, columns.group):
        if name is not None and name not in row:
            raise ValueError(f"{member}: no column {name!r}; it has {', '.join(map(str, row))}")


def _cell(row: Row, column: str, member: Member, index: int) -> Any:
    value = row.get(column)
    if value is None or value == "":
        raise ValueError(
            f"{member}: row {index + 1} has nothing in column {column!r}; "
            "fill it in or remove the row"
        )
    return value


def _separated(member: Member, separator: str, columns: tuple[str, ...] | None) -> Iterator[Row]:
    csv.field_size_limit(_LONGEST_FIELD)
    with member.text() as file:
        lines = csv.reader(file, delimiter=separator, strict=True)
        header: Sequence[str] | None = columns or next(lines, None)
        if header is None:
            return
        for number, line in enumerate(lines, start=1):
            if not line:
                continue
            if len(line) != len(header):
                raise ValueError(
                    f"{member}: row {number} has {len(line)} fields where "
                    f"{len(header)} are expected ({', '.join(header)}); quote fields that hold "
                    f"{separator!r} or line breaks"
                )
            yield dict(zip(header, line, strict=True))


def _json(member: Member) -> Iterator[Row]:
    with member.text() as file:
        first = next((line for line in file if line.strip()), "")
        if first.lstrip().startswith("["):
            whole = _parsed(first + file.read(), member, 1)
            yield from (_mapping(row, member, i) for i, row in enumerate(whole, start=1))
            return
        for i, line in enumerate(itertools.chain([first], file), start=1):
            if line.strip():
                yield _mapping(_parsed(line, member, i), member, i)


def _parsed(text: str, member: Member, line: int) -> Any:
    try:
        return json.loads(text)
    except ValueError as error:
        raise ValueError(
            f"{member}: line {line} is not JSON ({error}); "
            "write one object a line, or one list of objects"
        ) from None


def _mapping(row: Any, member: Member, number: int) -> Row:
    if not isinstance(row, dict):
        raise ValueError(
            f"{member}: row {number} is a {type(row).__name__}; "
            "each row is an object with named columns"
        )
    return row


def _parquet(member: Member) -> Iterator[Row]:
    import pyarrow.parquet

    with member.open() as file, pyarrow.parquet.ParquetFile(file) as table:
        for batch in table.iter_batches():
            yield from batch.to_pylist()
