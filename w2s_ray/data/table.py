"""Raw rows of a file, and the generic task made of some of its columns.

Owns CSV, TSV, JSON, JSON lines, Parquet and NumPy's .npz, and how a label column becomes classes 0
and 1. It knows no named task, no hub and no split.
"""

from __future__ import annotations

import csv
import itertools
import json
import math
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from w2s_ray.data.example import Example, Row, Rows, normal_answer
from w2s_ray.data.files import Member
from w2s_ray.data.forms import KEYS, linked
from w2s_ray.errors import InputError
from w2s_ray.spec import Columns

_LONGEST_FIELD = 2**31 - 1
_SHOWN = 8


def raw_rows(
    member: Member,
    *,
    columns: tuple[str, ...] | None = None,
    quoted: bool = True,
    separator: str = ",",
    encoding: str = "utf-8-sig",
) -> Iterator[Row]:
    """The rows of one file, by its extension.

    `columns` names those of a CSV or TSV file that has no header line; `separator` is that of a CSV
    file. Without `quoted` such a
    file's quotation marks are characters like any other.

    Raises:
        InputError: an extension that isn't known, or content that isn't what it says.
    """
    try:
        match member.kind:
            case ".csv":
                yield from _separated(member, separator, columns, quoted=quoted, encoding=encoding)
            case ".tsv":
                yield from _separated(member, "\t", columns, quoted=quoted, encoding=encoding)
            case ".json" | ".jsonl":
                yield from _json(member)
            case ".parquet":
                yield from _parquet(member)
            case ".npz":
                yield from _arrays(member)
            case other:
                raise InputError(
                    f"{member}: can't read {other or 'a file without extension'}; "
                    "use .csv, .tsv, .json, .jsonl (each also .gz), .parquet or .npz"
                )
    except UnicodeDecodeError as error:
        raise InputError(f"{member}: not UTF-8 ({error.reason}); convert the file") from None
    except csv.Error as error:
        raise InputError(
            f"{member}: {error}; quote fields that hold quotes, separators or line "
            "breaks, and double the quotes in them"
        ) from None


def table_rows(member: Member, *, columns: Columns) -> Rows:
    """A generic task: the rows of one file, as one pool.

    Raises:
        InputError: a missing column, an empty cell, or labels that aren't two classes.
    """
    rows = list(raw_rows(member))
    if not rows:
        raise InputError(f"{member}: no rows; name a file that has some in `path`")
    _check_columns(member, rows[0], columns)
    label = columns.label or columns.preferred

    def cells(column: str | None) -> list[str | None]:
        if column is None:
            return [None] * len(rows)
        return [str(cell(row, column, member, i)) for i, row in enumerate(rows)]

    classes = _classes(member, rows, columns)
    texts = cells(columns.text or columns.first)
    seconds, answers, groups = map(cells, (columns.second, columns.answer, columns.group))
    answers = [None if answer is None else normal_answer(answer) for answer in answers]
    if "" in answers:
        raise InputError(
            f"{member}: row {answers.index('') + 1} has only spaces in column {columns.answer!r}; "
            "fill it in or remove the row"
        )
    hard = [None if value is None else float(value) for value in cells(columns.difficulty)]
    pool = (
        Example(
            f"row:{i}",
            text or "",
            classes[plain_label(row[label])] if label is not None else 0,
            group or KEYS.join(sorted(t for t in (text, second) if t is not None)),
            second,
            answer,
            difficulty,
        )
        for i, (row, text, second, answer, group, difficulty) in enumerate(
            zip(rows, texts, seconds, answers, groups, hard, strict=True)
        )
    )
    found = Rows(tuple(row for row in pool if row.text != row.second), form=columns.form)
    return linked(found) if columns.form == "pairs" and columns.group is None else found


def _classes(member: Member, rows: Sequence[Row], columns: Columns) -> dict[str, int]:
    """Value of the label, or of the preferred one of a pair -> class; empty where there is none."""
    label = columns.label or columns.preferred
    if label is None:
        return {}
    values = [plain_label(cell(row, label, member, i)) for i, row in enumerate(rows)]
    where = f"{member}: column {label!r}"
    if columns.preferred is None:
        return label_classes(values, positive=columns.positive, where=where)
    first = columns.first if {columns.first, columns.second} >= set(values) else None
    classes = label_classes(values, positive=first, where=where)
    return classes if first is not None else {value: 1 - c for value, c in classes.items()}


def label_classes(
    values: Iterable[Any], *, positive: str | int | bool | None, where: str
) -> dict[str, int]:
    """Label value, as text -> class.

    Without `positive`, 0/1 and false/true mean themselves, in any case; of two other values the
    later in sorted order is class 1.

    Raises:
        InputError: not exactly two values, or none that is `positive`.
    """
    known = sorted({plain_label(value) for value in values}, key=label_order)
    shown = ", ".join(repr(v) for v in known[:_SHOWN]) + (", ..." if len(known) > _SHOWN else "")
    if len(known) != 2:
        raise InputError(
            f"{where} has {len(known)} distinct label(s) ({shown}), a task has two; "
            "name another label column, or keep rows of two classes"
        )
    if positive is not None:
        wanted = plain_label(positive)
        if wanted not in known and isinstance(positive, bool):
            wanted = next((value for value in known if value.lower() == wanted), wanted)
        if wanted not in known:
            raise InputError(
                f"{where}: no label is {positive!r}, named as `positive`; the labels are {shown}"
            )
        return {value: int(value == wanted) for value in known}
    if sorted(value.lower() for value in known) == ["false", "true"]:
        return {value: int(value.lower() == "true") for value in known}
    return {known[0]: 0, known[1]: 1}


def plain_label(value: Any) -> str:
    """A label as text: 1, 1.0, '1' and ' 1 ' are the same; so are true and 'true'."""
    match value:
        case bool():
            return "true" if value else "false"
        case float() if value.is_integer():
            return str(int(value))
        case _:
            return str(value).strip()


def label_order(label: str) -> tuple[float, str]:
    """Numbers in their order, before words."""
    try:
        return float(label), label
    except ValueError:
        return math.inf, label


def _check_columns(member: Member, row: Row, columns: Columns) -> None:
    for name in columns.model_dump(exclude={"positive"}).values():
        if name is not None and name not in row:
            raise InputError(f"{member}: no column {name!r}; it has {', '.join(map(str, row))}")


def cell(row: Row, column: str, member: Member, index: int) -> Any:
    """What a row has in a column.

    Raises:
        InputError: nothing.
    """
    value = row.get(column)
    if value is None or (isinstance(value, str) and not value):
        raise InputError(
            f"{member}: row {index + 1} has nothing in column {column!r}; "
            "fill it in or remove the row"
        )
    return value


def _separated(
    member: Member,
    separator: str,
    columns: tuple[str, ...] | None,
    *,
    quoted: bool,
    encoding: str,
) -> Iterator[Row]:
    csv.field_size_limit(_LONGEST_FIELD)
    quoting = csv.QUOTE_MINIMAL if quoted else csv.QUOTE_NONE
    with member.text(encoding=encoding) as file:
        lines = csv.reader(file, delimiter=separator, quoting=quoting, strict=True)
        header: Sequence[str] | None = columns or next(lines, None)
        if header is None:
            return
        for number, line in enumerate(lines, start=1):
            if not line:
                continue
            if len(line) != len(header):
                raise InputError(
                    f"{member}: row {number} has {len(line)} fields where "
                    f"{len(header)} are expected ({', '.join(header)}); quote fields that hold "
                    f"{separator!r} or line breaks"
                )
            yield dict(zip(header, line, strict=True))


def json_values(member: Member) -> Iterator[Any]:
    """The values of a JSON list, or of JSON lines.

    Raises:
        InputError: content that isn't JSON.
    """
    with member.text() as file:
        first = next((line for line in file if line.strip()), "")
        if first.lstrip().startswith("["):
            yield from _parsed(first + file.read(), member, 1)
            return
        for i, line in enumerate(itertools.chain([first], file), start=1):
            if line.strip():
                yield _parsed(line, member, i)


def _json(member: Member) -> Iterator[Row]:
    return (_mapping(row, member, i) for i, row in enumerate(json_values(member), start=1))


def _parsed(text: str, member: Member, line: int) -> Any:
    try:
        return json.loads(text)
    except ValueError as error:
        raise InputError(
            f"{member}: line {line} is not JSON ({error}); "
            "write one object a line, or one list of objects"
        ) from None


def _mapping(row: Any, member: Member, number: int) -> Row:
    if not isinstance(row, dict):
        raise InputError(
            f"{member}: row {number} is a {type(row).__name__}; "
            "each row is an object with named columns"
        )
    return row


def _parquet(member: Member) -> Iterator[Row]:
    import pyarrow.parquet

    with member.open() as file, pyarrow.parquet.ParquetFile(file) as table:
        for batch in table.iter_batches():
            yield from batch.to_pylist()


def _arrays(member: Member) -> Iterator[Row]:
    """Rows of arrays of one length: the i-th row has the i-th entry of each."""
    import numpy as np

    with member.open() as file, np.load(file, allow_pickle=False) as found:
        arrays = {name: found[name] for name in found.files}
    lengths = {name: len(array) for name, array in arrays.items()}
    if len(set(lengths.values())) > 1:
        said = ", ".join(f"{name} {length}" for name, length in lengths.items())
        raise InputError(f"{member}: its arrays have different numbers of rows: {said}")
    for i in range(max(lengths.values(), default=0)):
        yield {
            name: array[i].item() if array.ndim == 1 else array[i] for name, array in arrays.items()
        }
