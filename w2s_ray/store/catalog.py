"""SQL over a store, by DuckDB in memory: one read-only query, rows out.

Owns what a query may be and the words in which a wrong one is refused. DuckDB gets no access to
Python's variables, to its own configuration, or to files but those of the tables that the query
names. It writes nothing and keeps nothing.
"""

from __future__ import annotations

import contextlib
import difflib
import itertools
import re
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from w2s_ray.store.errors import StoreError
from w2s_ray.store.sources import ParquetFiles
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
"""DuckDB's settings. What doesn't fit in its memory goes to a temporary folder."""

_EXPLAIN = re.compile(r"^.*?\bexplain\b(?:\s+analyze\b)?(?:\s*\([^)]*\))?", re.I | re.S)

_LABELLED = """
select p.*, s.label from ({predictions}) p
join ({splits}) r using (run_id)
left join splits s on s.split = r.split and s.example_id = p.example_id and s.part = p.part
"""


class QueryError(StoreError):
    """A query that can't be run; one line that says why."""


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
        QueryError: not exactly one query, a query that would do more than read, an unknown table
            or column, or whatever else DuckDB objects to.
    """
    with answer(store, sql, limit=limit, extra_tables=extra_tables) as rows:
        return rows.read_all()


@contextlib.contextmanager
def answer(
    store: Store,
    sql: str,
    *,
    limit: int | None = None,
    extra_tables: Mapping[str, ExtraTable] | None = None,
) -> Iterator[pa.RecordBatchReader]:
    """The same, batch by batch, for results that are larger than memory.

    Raises:
        QueryError: as `query` does, also while the batches are read.
    """
    import duckdb

    store.check_readable()
    with contextlib.ExitStack() as opened:
        spill = opened.enter_context(tempfile.TemporaryDirectory(prefix="w2s-query-"))
        views = _Views(store, extra_tables or {})
        try:
            with contextlib.closing(_connect(spill, threads=1)) as reader:
                _check_reads_only(reader, sql)
                views.name(_tables_named(reader, sql, known=views.known))
            connection = _connect(spill, *views.paths())
            opened.callback(connection.close)
            views.make(connection)
            relation = connection.sql(sql)
            yield (relation if limit is None else relation.limit(limit)).to_arrow_reader()
        except duckdb.Error as error:
            raise QueryError(_in_one_line(str(error), views)) from error
        except pa.ArrowException as error:  # what a batch's reading raises
            raise QueryError(_in_one_line(str(error), views)) from error


def _connect(spill: str, *may_read: str, **settings: int) -> duckdb.DuckDBPyConnection:
    """A connection in memory that opens no file but those, and whose settings are locked."""
    import duckdb

    connection = duckdb.connect(config={**SETTINGS, "temp_directory": spill, **settings})
    connection.execute("set allowed_paths = $paths", {"paths": list(may_read)})
    connection.execute("set enable_external_access = false; set lock_configuration = true")
    return connection


class _Views:
    """The tables that one query names."""

    def __init__(self, store: Store, extra_tables: Mapping[str, ExtraTable]) -> None:
        self._store, self._stands = store, store.snapshot().standing()
        self._extra = extra_tables
        self._parts: dict[str, list[Source]] = {}
        self._fresh: ParquetFiles | pa.Table | None = None
        """Predictions of runs that the catalog doesn't hold: they get their labels here."""
        self.known = tuple(sorted({*VIEWS, *extra_tables}))
        self.columns: dict[str, list[str]] = {}

    def name(self, names: Iterable[str]) -> None:
        """Say which tables there will be; nothing is read yet but what has no files."""
        for name in dict.fromkeys(names):
            if (extra := self._extra.get(name)) is not None:
                self._parts[name] = [extra() if callable(extra) else extra]
                continue
            parts = list(VIEWS[name](self._store, self._stands))
            filled = [p for p in parts if isinstance(p, ParquetFiles) or p.num_rows]
            self._parts[name] = filled or parts[:1]
            if name == "predictions":
                self._fresh = fresh_predictions(self._stands)
        if self._fresh is not None and "splits" not in self._parts:
            self.name(["splits"])

    def paths(self) -> list[str]:
        """Full names of the files that DuckDB reads for them."""
        sources = [part for parts in self._parts.values() for part in parts]
        sources += [] if self._fresh is None else [self._fresh]
        files = (part.read_by_duckdb() for part in sources if isinstance(part, ParquetFiles))
        return [path for paths in files for path in paths]

    def make(self, connection: duckdb.DuckDBPyConnection) -> None:
        """Give a connection the tables."""
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
                fresh, splits = rows_of(self._fresh), rows_of(fresh_splits(self._stands))
                selects.append(_LABELLED.format(predictions=fresh, splits=splits))
            connection.execute(f'create view "{name}" as {" union all ".join(selects)}')
            described = connection.sql(f'select * from "{name}" limit 0')
            self.columns[name] = list(described.columns)


def _check_reads_only(connection: duckdb.DuckDBPyConnection, sql: str) -> None:
    from duckdb import StatementType

    statements = connection.extract_statements(sql)
    if len(statements) != 1:
        raise QueryError(f"give exactly one SQL query, not {len(statements)} statements")
    kind = statements[0].type
    if kind == StatementType.EXPLAIN:
        explained = connection.extract_statements(_EXPLAIN.sub("", sql))
        kind = explained[0].type if explained else kind
    if kind == StatementType.MULTI:
        raise QueryError(
            "a PIVOT has to name its values; write PIVOT runs ON status IN ('done', 'failed') ..."
        )
    if kind not in (StatementType.SELECT, StatementType.EXPLAIN):
        raise QueryError(
            f"{kind.name} is refused, a store is only read; "
            "use SELECT, WITH, FROM, DESCRIBE, SUMMARIZE, SHOW or EXPLAIN"
        )


def _tables_named(
    connection: duckdb.DuckDBPyConnection, sql: str, *, known: tuple[str, ...]
) -> tuple[str, ...]:
    """The views that a query names; all of them where that can't be told from the query alone."""
    import duckdb

    try:
        named = {name.lower() for name in connection.get_table_names(sql)}
    except (duckdb.BinderException, duckdb.CatalogException):
        return known
    return tuple(name for name in known if name in named) if named else known


def _in_one_line(message: str, views: _Views) -> str:
    """DuckDB's message without its excerpt, with the names that would have been right."""
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
