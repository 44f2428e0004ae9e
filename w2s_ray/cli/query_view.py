"""The output of `w2s query`: the rows of a query in one of five formats, or the list of columns.

An output file appears complete or not at all. Rows are written batch by batch, so that a result
may be larger than memory; only the format `table` holds all rows.
"""

from __future__ import annotations

import contextlib
import json
import math
import sys
import uuid
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

from rich.table import Table
from rich.text import Text

from w2s_ray.cli.options import check_choice
from w2s_ray.cli.standard_streams import pipe_closed
from w2s_ray.errors import InputError
from w2s_ray.plain_console import PlainConsole
from w2s_ray.printable import printable
from w2s_ray.store import Store
from w2s_ray.store.sql_query import stream

if TYPE_CHECKING:
    import pyarrow as pa

FORMATS = ("table", "csv", "json", "jsonl", "parquet")
OF_NAMES = {f".{name}": name for name in FORMATS[1:]} | {".ndjson": "jsonl", ".txt": "table"}
"""Extension of an output file -> format."""
COLUMN_FORMATS = ("table", "markdown", "json")
COMPUTED = (
    *("pgr", "pgr_by_seed", "pgr_by_method", "scores", "cell_scores"),
    *("comparisons", "ranks", "pairwise_wins"),
)
"""Tables that are computed when a query names them; the code for it is imported then."""
MEMORY = 2_500_000_000
"""Bytes of memory that a query may use, DuckDB's 1.5 GB included."""
GROUP_BYTES = 64_000_000
"""Approximate bytes of a row group in a Parquet result."""
LEAST_WIDTH = 8
"""Characters that a column of a printed table needs on average; where there are fewer, each row is
printed as a list of its columns."""
DEFAULT_LIMIT = 1000
"""Rows of a printed table where no limit is given."""


def chosen_format(format: str | None, out: Path | None) -> str:
    """The given format, else the format of the output file's extension, else `table`.

    Raises:
        InputError: an unknown format or extension, or a format and an extension of another one.
    """
    of_name = None if out is None else OF_NAMES.get(out.suffix.lower())
    if format is not None:
        check_choice(format, FORMATS, option="--format")
        if of_name not in (None, format):
            raise InputError(
                f"--format is {format!r}, and {out} has the extension of {of_name}; leave out one, "
                "or rename the file"
            )
        return format
    if of_name is None and out is not None and out.suffix:
        raise InputError(
            f"--out {out}: no format has the extension {out.suffix!r}; choose one of "
            f"{', '.join(OF_NAMES)}, or add --format"
        )
    return of_name or "table"


def print_query(
    store: Store,
    sql: str,
    *,
    format: str,
    out: Path | None,
    limit: int | None,
    timeout_s: float | None = None,
    console: PlainConsole,
) -> None:
    """Print the rows of a query, or write them to `out`; at most `limit`, with a note if cut.

    Raises:
        QueryError: the query can't be run, or takes more than `timeout_s` or too much memory.
        InputError: Parquet without a file to write.
    """
    if format == "parquet" and out is None:
        raise InputError("--format parquet needs a file: add --out FILE")
    if format == "table" and out is None and limit is None:
        limit = DEFAULT_LIMIT
    with_next = None if limit is None else limit + 1
    result = stream(store, sql, limit=with_next, extra_tables=_computed(store), timeout_s=timeout_s)
    with _memory_limited(), result as reader:
        rows = _LimitedBatches(reader, limit)
        if format == "parquet" and out is not None:
            with _atomic(out) as path:
                _write_parquet(rows, path)
        elif out is not None:
            with _atomic(out) as path, path.open("w", encoding="utf-8", newline="") as file:
                _write_text(rows, file, format)
        elif format == "table":
            _print_rows(rows.table(), console=console)
        else:
            _write_text(rows, sys.stdout, format)
    _print_counts(rows, out, limit)


def print_columns(*, format: str, console: PlainConsole) -> None:
    """Print every table that a query may name: columns, types and meanings."""
    from w2s_ray.report.table_docs import ROW_IS, meaning, sql_schemas, to_markdown

    if format == "markdown":
        sys.stdout.write(to_markdown())
        return
    rows = [
        {"table": table, "column": field.name, "type": str(field.type), "meaning": meaning(field)}
        for table, schema in sql_schemas().items()
        for field in schema
    ]
    if format == "json":
        sys.stdout.write(json.dumps(rows, indent=1) + "\n")
        return
    for table in dict.fromkeys(row["table"] for row in rows):
        title = f"{table}: a row is {ROW_IS[table]}"
        shown = Table(title=title, title_justify="left", show_edge=False)
        shown.add_column("column", no_wrap=True)
        shown.add_column("type", no_wrap=True)
        shown.add_column("meaning")
        for row in rows:
            if row["table"] == table:
                shown.add_row(*(Text(row[name]) for name in ("column", "type", "meaning")))
        console.print(shown)
        console.print()


def _computed(store: Store) -> dict[str, Callable[[], pa.Table]]:
    def compute(name: str) -> pa.Table:
        from w2s_ray.report.results import sql_tables

        return sql_tables(store)[name]()

    return {name: partial(compute, name) for name in COMPUTED}


@contextlib.contextmanager
def _memory_limited() -> Iterator[None]:
    """Limit the memory of this process: DuckDB's own limit excludes texts and results."""
    import resource

    before = resource.getrlimit(resource.RLIMIT_DATA)
    resource.setrlimit(resource.RLIMIT_DATA, (_allocated() + MEMORY, before[1]))
    try:
        yield
    except MemoryError as error:
        raise InputError(
            "the query's rows need too much memory; select fewer rows or columns at once"
        ) from error
    finally:
        resource.setrlimit(resource.RLIMIT_DATA, before)


def _allocated() -> int:
    """Bytes of this process that count against RLIMIT_DATA; 0 where /proc has no such figure."""
    with contextlib.suppress(OSError), open("/proc/self/status", encoding="utf-8") as status:
        for line in status:
            if line.startswith("VmData:"):
                return 1024 * int(line.split()[1])
    return 0


class _LimitedBatches:
    """The batches of a query's result up to a limit; afterwards, `cut` is whether more exist."""

    def __init__(self, reader: pa.RecordBatchReader, limit: int | None) -> None:
        self.schema = reader.schema
        self.count = 0
        self.cut = False
        self._reader, self._limit = reader, limit

    def __iter__(self) -> Iterator[pa.RecordBatch]:
        for batch in self._reader:
            left = batch.num_rows if self._limit is None else self._limit - self.count
            self.cut = self.cut or batch.num_rows > left
            self.count += min(batch.num_rows, left)
            yield batch.slice(0, left)

    def table(self) -> pa.Table:
        import pyarrow as pa

        return pa.Table.from_batches(self, schema=self.schema)


def _write_parquet(rows: _LimitedBatches, path: Path) -> None:
    """Write batches together in row groups of about `GROUP_BYTES`."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    pending: list[pa.RecordBatch] = []
    with pq.ParquetWriter(path, rows.schema, compression="zstd") as writer:
        for batch in rows:
            pending.append(batch)
            if sum(each.nbytes for each in pending) > GROUP_BYTES:
                writer.write_table(pa.Table.from_batches(pending))
                pending = []
        if pending:
            writer.write_table(pa.Table.from_batches(pending))


def _write_text(rows: _LimitedBatches, file: TextIO, format: str) -> None:
    match format:
        case "csv":
            from w2s_ray.report.csv_text import Writer

            writer = Writer(file, rows.schema.names)
            for batch in rows:
                writer.write(batch.to_pylist())
        case "jsonl":
            for batch in rows:
                file.writelines(f"{_json(row)}\n" for row in batch.to_pylist())
        case "json":
            separator = "[\n "
            for batch in rows:
                for row in batch.to_pylist():
                    file.write(f"{separator}{_json(row)}")
                    separator = ",\n "
            file.write("\n]\n" if rows.count else "[]\n")
        case _:
            console = PlainConsole(file=file, width=160)
            _print_rows(rows.table(), console=console)


def _print_rows(rows: pa.Table, *, console: PlainConsole) -> None:
    """Print rows and their count: as a table, or one below the other if it would be too wide."""
    if rows.num_columns * LEAST_WIDTH > console.width:
        for number, row in enumerate(rows.to_pylist(), start=1):
            shown = Table(title=f"row {number}", title_justify="left", show_edge=False)
            shown.add_column("column", no_wrap=True)
            shown.add_column("value", overflow="fold")
            for name, value in row.items():
                shown.add_row(name, _cell(value))
            console.print(shown)
    else:
        shown = Table(show_edge=False)
        for field in rows.schema:
            numeric = str(field.type).startswith(("int", "uint", "float", "double"))
            shown.add_column(field.name, justify="right" if numeric else "left", overflow="fold")
        for row in rows.to_pylist():
            shown.add_row(*(_cell(value) for value in row.values()))
        console.print(shown)
    console.print(Text(f"{rows.num_rows} rows", style="dim"))


def _cell(value: Any) -> str:
    if value is None:
        return "–"
    return f"{value:.6g}" if isinstance(value, float) else str(value)


def _json(row: dict[str, Any]) -> str:
    """A row as strict JSON: NaN and infinities are null."""
    return json.dumps(_finite(row), default=str, allow_nan=False)


def _finite(value: Any) -> Any:
    match value:
        case float():
            return value if math.isfinite(value) else None
        case dict():
            return {key: _finite(item) for key, item in value.items()}
        case list():
            return [_finite(item) for item in value]
        case _:
            return value


@contextlib.contextmanager
def _atomic(out: Path) -> Iterator[Path]:
    """A temporary file that becomes `out` on success and is removed on an error.

    A pipe or a device, such as /dev/stdout, is written directly.
    """
    try:
        if out.exists() and not out.is_file():
            yield out
            return
        target = out.resolve()
        temporary = target.with_name(f".{target.name}.{uuid.uuid4().hex[:8]}")
        try:
            yield temporary
            temporary.replace(target)
        finally:
            temporary.unlink(missing_ok=True)
    except OSError as error:
        if isinstance(error, BrokenPipeError) and pipe_closed():
            raise
        raise InputError(f"can't write {out}: {error.strerror or error}") from error


def _print_counts(rows: _LimitedBatches, out: Path | None, limit: int | None) -> None:
    """Print on standard error, apart from the rows, how many rows were written or left out."""
    notes: list[str] = []
    if out is not None:
        notes.append(f"{rows.count} rows written to {out}")
    if rows.cut:
        notes.append(f"cut after {limit} rows, there are more; a larger --limit shows them")
    if notes:
        print(printable("; ".join(notes)), file=sys.stderr)
