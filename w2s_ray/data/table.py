"""Raw rows of a table file: CSV, TSV, JSON, JSON lines, Parquet, Arrow and NumPy's .npz.

Owns these formats, and the errors for content that doesn't match the file's extension: any bytes
give rows or one `InputError`. It interprets no columns.
"""

from __future__ import annotations

import csv
import itertools
import json
from collections import Counter
from collections.abc import Iterator, Sequence
from tokenize import TokenError
from typing import TYPE_CHECKING, Any

from w2s_ray.data.arrow_files import arrow_rows, saved_rows
from w2s_ray.data.cells import check_distinct, name_list
from w2s_ray.data.example import Row
from w2s_ray.data.files import Member, reading, reading_arrow, reason
from w2s_ray.errors import InputError
from w2s_ray.printable import one_line, shown

if TYPE_CHECKING:
    import numpy as np

SEPARATED = (".csv", ".tsv")
"""Extensions of files that may have no header line."""
_LONGEST_FIELD = 2**31 - 1
_OTHER_SEPARATORS = {";": "a semicolon", "\t": "a tab", "|": "a vertical bar", ",": "a comma"}
_RECORDS = "write one object a row; in pandas: df.to_json(path, orient='records', lines=True)"


def raw_rows(
    member: Member,
    *,
    columns: tuple[str, ...] | None = None,
    has_header: bool = True,
    quoted: bool = True,
    separator: str = ",",
    encoding: str = "utf-8-sig",
) -> Iterator[Row]:
    """The rows of one file, read by its extension, or of a folder that `datasets` saved.

    `columns` are the columns of a CSV or TSV file without a header line; without `has_header` they
    are the numbers of its columns, from 0, as text. `separator` is for CSV files. Without `quoted`,
    quotation marks in CSV and TSV files have no special meaning.

    Raises:
        InputError: an unknown extension, or content of another format.
    """
    with reading(member):
        match member.kind:
            case _ if member.path.is_dir():
                yield from saved_rows(member.path)
            case ".csv" | ".tsv" as kind:
                yield from _separated(
                    member,
                    separator if kind == ".csv" else "\t",
                    columns,
                    has_header=has_header,
                    quoted=quoted,
                    encoding=encoding,
                )
            case ".json" | ".jsonl":
                yield from _json(member)
            case ".parquet":
                yield from _parquet(member)
            case ".arrow":
                yield from arrow_rows(member)
            case ".npz":
                yield from _arrays(member)
            case other:
                raise InputError(
                    f"{member}: can't read {other or 'a file without extension'}; "
                    "use .csv, .tsv, .json, .jsonl (each also .gz), .parquet, .arrow or .npz"
                )


def _separated(
    member: Member,
    separator: str,
    columns: tuple[str, ...] | None,
    *,
    has_header: bool,
    quoted: bool,
    encoding: str,
) -> Iterator[Row]:
    csv.field_size_limit(_LONGEST_FIELD)
    quoting = csv.QUOTE_MINIMAL if quoted else csv.QUOTE_NONE
    with member.text(encoding=encoding) as file:
        lines: Iterator[list[str]] = csv.reader(
            file, delimiter=separator, quoting=quoting, strict=True
        )
        try:
            if has_header:
                header: Sequence[str] | None = columns or next(lines, None)
                if header is None:
                    return
                _check_header(member, header, separator)
            else:
                first = next(filter(None, lines), [])
                lines = itertools.chain([first], lines)
                header = [str(number) for number in range(len(first))]
            for number, line in enumerate(lines, start=1):
                if not line:
                    continue
                if len(line) != len(header):
                    raise InputError(
                        f"{member}: row {number} has {len(line)} fields instead of "
                        f"{len(header)} ({name_list(header)}); quote fields that contain "
                        f"{separator!r} or line breaks"
                    )
                yield dict(zip(header, line, strict=True))
        except csv.Error as error:
            raise InputError(
                f"{member}: {error}; quote fields that contain quotes, separators or line "
                "breaks, and double the quotes in them"
            ) from None


def _check_header(member: Member, header: Sequence[str], separator: str) -> None:
    if len(header) == 1:
        for other, name in _OTHER_SEPARATORS.items():
            if other != separator and other in header[0]:
                remedy = "rename it to .tsv" if other == "\t" else f"write it with {separator!r}"
                raise InputError(
                    f"{member}: its columns seem to be separated by {name} ({other!r}), but those "
                    f"of a {member.kind} file are separated by {separator!r}; {remedy}"
                )
    remedy = ", or, if that line is no header, give `columns` by number"
    check_distinct((name for name in header if name), where=member, remedy=remedy)


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
        if first.strip() == "{":
            yield _parsed(first + file.read(), member, 1)
            return
        for i, line in enumerate(itertools.chain([first], file), start=1):
            if line.strip():
                yield _parsed(line, member, i)


def _json(member: Member) -> Iterator[Row]:
    rows = (_mapping(row, member, i) for i, row in enumerate(json_values(member), start=1))
    first = next(rows, None)
    if first is None:
        return
    second = next(rows, None)
    if second is None and _by_column(first):
        raise InputError(
            f"{member}: column-oriented JSON ({name_list(first)}), one object for all rows; "
            f"{_RECORDS}"
        )
    yield first
    if second is not None:
        yield second
    yield from rows


def _by_column(row: Row) -> bool:
    """Whether an object is a whole table: a list for each column, or an object for each row."""
    values = list(row.values())
    if not values:
        return False
    if all(isinstance(value, dict) for value in values):
        return True
    lists = all(isinstance(value, list) for value in values)
    return lists and not any(isinstance(item, dict) for value in values for item in value)


def _parsed(text: str, member: Member, line: int) -> Any:
    def distinct(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        mapping = dict(pairs)
        if len(mapping) < len(pairs):
            repeated, _ = Counter(key for key, _ in pairs).most_common(1)[0]
            raise InputError(
                f"{member}: line {line} has the key {shown(repeated)} more than once; rename all "
                "but one"
            )
        return mapping

    try:
        return json.loads(text, object_pairs_hook=distinct)
    except InputError:
        raise
    except ValueError as error:
        raise InputError(
            f"{member}: line {line} is not JSON ({reason(error)}); "
            "write one object a line, or one list of objects"
        ) from None


def _mapping(row: Any, member: Member, number: int) -> Row:
    if not isinstance(row, dict):
        raise InputError(
            f"{member}: row {number} is a {type(row).__name__}; "
            "write each row as an object, {column: value, ...}"
        )
    return row


def _parquet(member: Member) -> Iterator[Row]:
    import pyarrow.parquet

    with (
        reading_arrow(member, format="Parquet"),
        member.open() as file,
        pyarrow.parquet.ParquetFile(file) as table,
    ):
        check_distinct(table.schema_arrow.names, where=member)
        for batch in table.iter_batches():
            yield from batch.to_pylist()


def _arrays(member: Member) -> Iterator[Row]:
    """Rows of arrays of equal length: row i has entry i of each array."""
    arrays = npz_arrays(member)
    for name, array in arrays.items():
        if array.ndim == 0:
            raise InputError(f"{member}: array {name!r} is one value; store one entry for each row")
    lengths = {name: len(array) for name, array in arrays.items()}
    if len(set(lengths.values())) > 1:
        listed = ", ".join(f"{one_line(name)} {length}" for name, length in lengths.items())
        raise InputError(
            f"{member}: its arrays have different lengths ({listed}); store one entry for each row"
        )
    for i in range(max(lengths.values(), default=0)):
        yield {
            name: array[i].item() if array.ndim == 1 else array[i] for name, array in arrays.items()
        }


def npz_arrays(member: Member, *, only: Sequence[str] | None = None) -> dict[str, np.ndarray]:
    """The arrays of an .npz file, or those with the names `only`. Pickled objects are refused.

    Raises:
        InputError: a damaged file, or arrays of objects.
    """
    import numpy as np

    with reading(member):
        try:
            with member.open() as file:
                arrays = np.load(file, allow_pickle=False)
                if not isinstance(arrays, np.lib.npyio.NpzFile):
                    raise InputError(
                        f"{member}: a single array, not an .npz file; write it with np.savez"
                    )
                check_distinct(arrays.files, where=member)
                names = (name for name in arrays.files if only is None or name in only)
                return {name: arrays[name] for name in names}
        except InputError:
            raise
        except (ValueError, KeyError, SyntaxError, TypeError, TokenError) as error:
            remedy = "download or write the file again"
            if "allow_pickle" in str(error):
                remedy = "store arrays of text or numbers; pickled objects are not loaded"
            raise InputError(
                f"{member}: not a complete .npz file of numbers and texts ({reason(error)}); "
                f"{remedy}"
            ) from None
