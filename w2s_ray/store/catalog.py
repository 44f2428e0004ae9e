"""SQL over a store, by DuckDB in memory: one read-only query, a table out.

Owns what a query may be and the words in which a wrong one is refused. DuckDB gets no access to
files, to Python's variables or to its own configuration; it sees the views alone, and of those
only what the query names is read. It writes nothing and keeps nothing.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING

import pyarrow as pa

from w2s_ray.store.errors import StoreError
from w2s_ray.store.store import Store
from w2s_ray.store.views import VIEWS, run_splits

if TYPE_CHECKING:
    import duckdb

ExtraTable = pa.Table | Callable[[], pa.Table]

_SETTINGS: dict[str, str | bool | int | float | list[str]] = {
    "enable_external_access": False,
    "lock_configuration": True,
    "python_enable_replacements": False,
    "autoload_known_extensions": False,
    "autoinstall_known_extensions": False,
    "allow_persistent_secrets": False,
}

_PREDICTIONS = """
create view predictions as
select p.*, s.label from run_predictions p
join run_splits r using (run_id)
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
    """The result of one SQL query over the store's views and `extra_tables`, at most `limit` rows.

    Views: runs, cells, trials, metrics, predictions (with the split's label), splits. An extra
    table that is a function is called only if the query names it.

    Raises:
        QueryError: not exactly one query, a query that would do more than read, an unknown table
            or column, or whatever else DuckDB objects to.
    """
    import duckdb

    store.check_readable()
    connection = duckdb.connect(config=_SETTINGS)
    views = _Views(connection, store, extra_tables or {})
    try:
        _check_reads_only(connection, sql)
        views.add(_tables_named(connection, sql, known=views.known))
        relation = connection.sql(sql)
        return (relation if limit is None else relation.limit(limit)).to_arrow_table()
    except duckdb.Error as error:
        raise QueryError(_in_one_line(str(error), views)) from error
    finally:
        connection.close()


class _Views:
    """The views of one connection, made when they are named."""

    def __init__(
        self,
        connection: duckdb.DuckDBPyConnection,
        store: Store,
        extra_tables: Mapping[str, ExtraTable],
    ) -> None:
        self._connection = connection
        self._store = store
        self._extra = extra_tables
        self.known = tuple(sorted({*VIEWS, *extra_tables}))
        self.columns: dict[str, list[str]] = {}

    def add(self, names: Iterable[str]) -> None:
        for name in names:
            if name not in self.columns:
                self._make(name)
                described = self._connection.sql(f'select * from "{name}" limit 0')
                self.columns[name] = list(described.columns)

    def _make(self, name: str) -> None:
        extra = self._extra.get(name)
        if extra is not None:
            self._register(name, extra() if callable(extra) else extra)
        elif name == "predictions":
            self.add(["splits"])
            self._register("run_splits", run_splits(self._store))
            self._register("run_predictions", VIEWS[name](self._store))
            self._connection.execute(_PREDICTIONS)
        else:
            self._register(name, VIEWS[name](self._store))

    def _register(self, name: str, source: object) -> None:
        self._connection.register(name, source)


def _check_reads_only(connection: duckdb.DuckDBPyConnection, sql: str) -> None:
    from duckdb import StatementType

    statements = connection.extract_statements(sql)
    if len(statements) != 1:
        raise QueryError(f"give exactly one SQL query, not {len(statements)} statements")
    kind = statements[0].type
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
