"""SQL over a store, by DuckDB in memory: the rows of one read-only query.

Owns the tables of a query and the messages for invalid ones. DuckDB has no access to Python's
variables, to its own configuration, or to files other than those of the tables that the query
names. Nothing is written; `sql_check` decides which queries are allowed.
"""

from __future__ import annotations

import contextlib
import difflib
import itertools
import re
import tempfile
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from w2s_ray.store.errors import StoreUnavailable
from w2s_ray.store.parquet_source import ParquetFiles
from w2s_ray.store.snapshot import take_snapshot
from w2s_ray.store.sql_check import QueryError, check_reads_only, interruptible
from w2s_ray.store.store import Store
from w2s_ray.store.views import VIEWS, Source, fresh_predictions, fresh_splits

if TYPE_CHECKING:
    import duckdb

ExtraTable = pa.Table | Callable[[], pa.Table]

SETTINGS: dict[str, str | bool | int | float | list[str]] = {
    "python_enable_replacements": False,
    "autoload_known_extensions": False,
    "autoinstall_known_extensions": False,
    "allow_persistent_secrets": False,
    "memory_limit": "1500MB",
    "max_temp_directory_size": "32GB",
}
"""DuckDB's settings. Data beyond the memory limit goes to a temporary folder."""

INTERRUPTED = ("Query interrupted", "INTERRUPT Error: Interrupted!")
"""DuckDB's messages for an interrupted query, which may replace the KeyboardInterrupt."""

BATCH_ROWS = 65_536
"""Upper limit of a result's rows in memory."""

_LABELLED = """
select p.*, s.label from ({predictions}) p
join ({splits}) r using (run_id)
left join splits s on s.split = r.split and s.example_id = p.example_id and s.part = p.part
"""


def query(
    store: Store,
    sql: str,
    *,
    limit: int | None = None,
    extra_tables: Mapping[str, ExtraTable] | None = None,
) -> pa.Table:
    """The result of one SQL query over the store's tables and `extra_tables`, at most `limit` rows.

    Tables: runs, cells, trials, metrics, predictions (with the split's label), splits; see
    `columns.TABLES`. An extra table that is a function is called only if the query names it.

    Raises:
        QueryError: not exactly one query, a query that does more than read, an unknown table or
            column, or any other error of DuckDB.
    """
    with stream(store, sql, limit=limit, extra_tables=extra_tables) as rows:
        return rows.read_all()


@contextlib.contextmanager
def stream(
    store: Store,
    sql: str,
    *,
    limit: int | None = None,
    extra_tables: Mapping[str, ExtraTable] | None = None,
    timeout_s: float | None = None,
) -> Iterator[pa.RecordBatchReader]:
    """The result of one SQL query in batches, for results that are larger than memory.

    A Parquet file whose damage is detected before the first rows are read is left out, with a
    warning. Ctrl-C and `timeout_s` end the query.

    Raises:
        QueryError: as for `query`, also while the batches are read; or the query took too long.
    """
    store.check_readable()
    with contextlib.ExitStack() as opened:
        spill = opened.enter_context(tempfile.TemporaryDirectory(prefix="w2s-query-"))
        views = _Views(store, extra_tables or {})
        deadline = None if timeout_s is None else time.monotonic() + timeout_s
        with views.one_line_errors(), contextlib.closing(_connect(spill, threads=1)) as reader:
            check_reads_only(reader, sql)
            names = _table_names(reader, sql, known=views.known)
        while True:
            attempt = opened.enter_context(contextlib.ExitStack())
            try:
                with views.one_line_errors():
                    views.select(names)
                    connection = _connect(spill, *views.paths())
                    attempt.callback(connection.close)
                    views.late = attempt.enter_context(interruptible(connection, deadline=deadline))
                    views.create(connection)
                    # a second column `a` becomes `a_1`: rows as mappings have each name once
                    relation = connection.sql(sql).project("*")
                    relation = relation if limit is None else relation.limit(limit)
                    found = relation.to_arrow_reader(BATCH_ROWS)
                    first = next(found, None)
                break
            except QueryError:
                attempt.close()
                if views.late.is_set() or not views.exclude_damaged():
                    raise
        batches = itertools.chain([] if first is None else [first], found)
        yield pa.RecordBatchReader.from_batches(found.schema, views.with_errors(batches))


def _connect(spill: str, *allowed_paths: str, **settings: int) -> duckdb.DuckDBPyConnection:
    """A connection in memory that can open the allowed files only, with locked settings."""
    import duckdb

    connection = duckdb.connect(config={**SETTINGS, "temp_directory": spill, **settings})
    connection.execute("set allowed_paths = $paths", {"paths": list(allowed_paths)})
    connection.execute("set enable_external_access = false; set lock_configuration = true")
    return connection


class _Views:
    """The tables that one query refers to."""

    def __init__(self, store: Store, extra_tables: Mapping[str, ExtraTable]) -> None:
        self._store, self._snapshot = store, store.snapshot().run_snapshot()
        self._damaged: set[str] = set()
        """Paths of damaged Parquet files, which are left out."""
        self.late = threading.Event()
        """Set when the query has exceeded its time limit."""
        self._extra = extra_tables
        self._parts: dict[str, list[Source]] = {}
        self._fresh: ParquetFiles | pa.Table | None = None
        """Predictions of runs outside the catalog; the query adds their labels."""
        self.known = tuple(sorted({*VIEWS, *extra_tables}))
        self.columns: dict[str, list[str]] = {}

    def select(self, names: Iterable[str]) -> None:
        """Choose the tables of the query; of their files, only the checksums are read."""
        self._parts, self._fresh = {}, None
        self._add_parts(names)
        if self.exclude_damaged(only_unchecked=True):
            self._parts, self._fresh = {}, None
            self._add_parts(names)

    def _add_parts(self, names: Iterable[str]) -> None:
        for name in dict.fromkeys(names):
            if (extra := self._extra.get(name)) is not None:
                self._parts[name] = [extra() if callable(extra) else extra]
                continue
            parts = [self._intact(part) for part in VIEWS[name](self._store, self._snapshot)]
            filled = [p for p in parts if isinstance(p, ParquetFiles) or p.num_rows]
            self._parts[name] = filled or parts[:1]
            if name == "predictions":
                self._fresh = self._intact(fresh_predictions(self._snapshot))
        if self._fresh is not None and "splits" not in self._parts:
            self._add_parts(["splits"])

    def _intact(self, source: Source) -> Source:
        return source.without(self._damaged) if isinstance(source, ParquetFiles) else source

    def exclude_damaged(self, *, only_unchecked: bool = False) -> bool:
        """Check the tables' files for damage; whether new damage was found.

        The runs of a damaged segment are then read from their own files.
        """
        sources = [*itertools.chain(*self._parts.values()), self._fresh]
        found = {
            path
            for source in sources
            if isinstance(source, ParquetFiles)
            and not (only_unchecked and source.is_checked_by_reader)
            for path in source.damaged()
        }
        new = found - self._damaged
        self._damaged |= new
        segments = {path.split("/")[2] for path in new if path.startswith("catalog/")}
        if segments:
            self._snapshot = take_snapshot(self._store.files, without=segments)
        return bool(new)

    @contextlib.contextmanager
    def one_line_errors(self) -> Iterator[None]:
        """Turn errors of DuckDB and Arrow into a `QueryError` of one line."""
        import duckdb

        try:
            yield
        except (duckdb.Error, pa.ArrowException, OSError, MemoryError, RuntimeError) as error:
            if isinstance(error, StoreUnavailable):
                raise
            if str(error).endswith(INTERRUPTED) and not self.late.is_set():
                raise KeyboardInterrupt from error
            raise QueryError(_in_one_line(error, self)) from error

    def with_errors(self, batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        """The batches; an error while reading them becomes a `QueryError`."""
        with self.one_line_errors():
            yield from batches

    def paths(self) -> list[str]:
        """Full names of the files that DuckDB itself reads for the tables."""
        sources = [part for parts in self._parts.values() for part in parts]
        sources += [] if self._fresh is None else [self._fresh]
        files = (part.read_by_duckdb() for part in sources if isinstance(part, ParquetFiles))
        return [path for paths in files for path in paths]

    def create(self, connection: duckdb.DuckDBPyConnection) -> None:
        """Create the tables as views of a connection."""
        registered = itertools.count()

        def register(rows: Any) -> str:
            part = f"part {next(registered)}"
            connection.register(part, rows)
            return f'"{part}"'

        def rows_of(source: Source) -> str:
            if isinstance(source, ParquetFiles):
                return source.select(register)
            return f"from {register(source)}"

        for name in sorted(self._parts, key=lambda name: name == "predictions"):
            selects = [rows_of(part) for part in self._parts[name]]
            if name == "predictions" and self._fresh is not None:
                fresh, splits = rows_of(self._fresh), rows_of(fresh_splits(self._snapshot))
                selects.append(_LABELLED.format(predictions=fresh, splits=splits))
            connection.execute(f'create view "{name}" as {" union all ".join(selects)}')
            described = connection.sql(f'select * from "{name}" limit 0')
            self.columns[name] = list(described.columns)


def _table_names(
    connection: duckdb.DuckDBPyConnection, sql: str, *, known: tuple[str, ...]
) -> tuple[str, ...]:
    """The tables that a query refers to; all of them if the SQL text does not determine them."""
    import duckdb

    try:
        names = {name.lower() for name in connection.get_table_names(sql)}
    except (duckdb.BinderException, duckdb.CatalogException):
        return known
    return tuple(name for name in known if name in names) if names else known


def _in_one_line(error: BaseException, views: _Views) -> str:
    """DuckDB's message without its excerpt of the query, with the names of tables or columns."""
    message = str(error)
    if views.late.is_set():
        return "the query took longer than its time limit (--timeout)"
    if isinstance(error, MemoryError) or "Out of Memory Error" in message:
        return (
            f"the query needs more memory than its limit of {SETTINGS['memory_limit']}; select "
            "fewer rows or columns at once, or aggregates"
        )
    lines = message.partition("\n\nLINE ")[0].split("\n")
    text = " ".join(line.strip() for line in lines if line.strip())
    if table := re.search(r"Table with name (\S+) does not exist", text):
        suggested, listed = _suggested(table[1], views.known), ", ".join(views.known)
        return f"unknown table {suggested}; tables: {listed}"
    if column := re.search(r'(?:Referenced column|column named) "([^"]+)"', text):
        known = {name for columns in views.columns.values() for name in columns}
        listed = "; ".join(f"{name}: {', '.join(cols)}" for name, cols in views.columns.items())
        return f"unknown column {_suggested(column[1], known)}; columns of {listed}"
    return text


def _suggested(name: str, known: Iterable[str]) -> str:
    close = difflib.get_close_matches(name, list(known), n=2, cutoff=0.5)
    return repr(name) + (f" (did you mean {' or '.join(close)}?)" if close else "")
