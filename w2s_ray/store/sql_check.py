"""Which queries are allowed, by DuckDB's own parser, and the interruption of a running query.

Owns the rule: one SELECT (FROM, VALUES, DESCRIBE, SHOW and SUMMARIZE are SELECTs to the parser), or
EXPLAIN of one, whose syntax tree has no node that writes or runs other SQL. It reads no tables.
"""

from __future__ import annotations

import contextlib
import json
import re
import signal
import socket
import threading
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from w2s_ray.store.errors import StoreError

if TYPE_CHECKING:
    import duckdb

_EXPLAIN = re.compile(r"\s*explain\b", re.IGNORECASE)
_READING = frozenset({"SELECT_NODE", "SET_OPERATION_NODE", "RECURSIVE_CTE_NODE", "CTE_NODE"})
"""Nodes of a syntax tree that are queries. Others, such as COPY_QUERY_NODE, write."""
_RUN_SQL = frozenset({"query", "json_execute_serialized_sql"})
"""Functions that run a text as SQL; that SQL is not in the tree."""


class QueryError(StoreError):
    """A query that can't be run; the message is one line."""


def check_reads_only(connection: duckdb.DuckDBPyConnection, sql: str) -> None:
    """Raises QueryError, or an error of DuckDB's parser, where `sql` may do more than read."""
    from duckdb import StatementType

    statements = connection.extract_statements(sql)
    if len(statements) != 1:
        raise QueryError(f"give exactly one SQL query, not {len(statements)} statements")
    kind = statements[0].type
    if kind == StatementType.EXPLAIN:
        _check_explained(connection, sql)
    elif kind == StatementType.MULTI:
        raise QueryError(
            "a PIVOT has to name its values; write PIVOT runs ON status IN ('done', 'failed') ..."
        )
    elif kind == StatementType.SELECT:
        _check_tree(connection, sql)
    else:
        raise _refused(kind.name)


def _check_explained(connection: duckdb.DuckDBPyConnection, sql: str) -> None:
    """The text after EXPLAIN must be a query; ANALYZE or options before it are refused."""
    from duckdb import ParserException, StatementType

    begun = _EXPLAIN.match(sql)
    if begun is not None:
        rest = sql[begun.end() :]
        with contextlib.suppress(ParserException):
            explained = connection.extract_statements(rest)
            if len(explained) == 1 and explained[0].type == StatementType.SELECT:
                _check_tree(connection, rest)
                return
    raise QueryError(
        "EXPLAIN takes a SELECT, and neither ANALYZE nor options; begin the query with the word"
    )


def _check_tree(connection: duckdb.DuckDBPyConnection, sql: str) -> None:
    row = connection.execute("select json_serialize_sql($1::varchar)", [sql]).fetchall()[0]
    tree = json.loads(row[0])
    if tree["error"]:
        raise QueryError(f"the SQL must be a query, a store is only read: {tree['error_message']}")
    waiting: list[Any] = [tree]
    while waiting:
        node = waiting.pop()
        if isinstance(node, dict):
            kind, function = str(node.get("type")), str(node.get("function_name")).lower()
            if kind.endswith("_NODE") and kind not in _READING:
                raise _refused(kind.removesuffix("_NODE").removesuffix("_QUERY"))
            if function in _RUN_SQL:
                raise QueryError(f"{function}() is refused: write the SQL directly")
            waiting += node.values()
        elif isinstance(node, list):
            waiting += node


def _refused(kind: str) -> QueryError:
    return QueryError(
        f"{kind} is refused, a store is only read; "
        "use SELECT, WITH, FROM, DESCRIBE, SUMMARIZE, SHOW or EXPLAIN"
    )


@contextlib.contextmanager
def interruptible(
    connection: duckdb.DuckDBPyConnection, *, deadline: float | None
) -> Iterator[threading.Event]:
    """Within it, Ctrl-C and the deadline (monotonic time) end the connection's running query.

    The event is set when the deadline has passed. DuckDB runs outside Python, so Python would
    handle a signal only after the query's end.
    """
    ended, waking = socket.socketpair()
    waking.setblocking(False)
    ended.settimeout(None if deadline is None else max(0.001, deadline - time.monotonic()))
    restore = _wake(waking)
    late, stopped = threading.Event(), False

    def watch() -> None:
        nonlocal stopped
        while True:
            try:
                received = ended.recv(64)
                if not received or b"\0" in received:
                    return
                stopped = stopped or signal.SIGINT in received
            except TimeoutError:
                if not stopped:
                    late.set()
            if stopped or late.is_set():
                connection.interrupt()
                ended.settimeout(0.1)  # interrupt again: the query may start only now

    watching = threading.Thread(target=watch, name="w2s-query", daemon=True)
    watching.start()
    try:
        yield late
    finally:
        restore()
        waking.setblocking(True)
        waking.send(b"\0")
        watching.join()
        ended.close()
        waking.close()


def _wake(waking: socket.socket) -> Any:
    """Write signals to `waking` if that is possible; the function that ends it."""
    if threading.current_thread() is not threading.main_thread():
        return lambda: None
    before = signal.set_wakeup_fd(waking.fileno(), warn_on_full_buffer=False)
    if before != -1:  # an event loop needs it
        signal.set_wakeup_fd(before)
        return lambda: None
    return lambda: signal.set_wakeup_fd(-1)
