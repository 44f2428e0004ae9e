"""Cached results of whole sweeps: values that were computed from a sweep's cells and their runs.

Owns the rule when a cached result is valid: the cells are the same, the catalog has a valid copy of
every run that the result was computed from, and the catalog is the same. The cache may be deleted
any time. The results are not interpreted here.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable, Iterable, Sequence
from dataclasses import fields
from functools import cached_property
from typing import Any, TypeVar

import pyarrow as pa

from w2s_ray.report.statistics.groups import VERSION as INTERVALS
from w2s_ray.store import Cell, Store
from w2s_ray.store.tables import from_rows, schema

VERSION = 1
"""Part of every key; raise it when the same runs give another figure or another reason."""

_SCHEMA = schema(("catalog key answer", pa.string()), ("runs", pa.list_(pa.string())))

T = TypeVar("T")

_log = logging.getLogger(__name__)


class SweepCache:
    """Cached results of one kind in `store`, which should be a snapshot."""

    def __init__(self, store: Store, kind: str, *, shape: Iterable[type]) -> None:
        """`kind`: the store's table; `shape`: the dataclasses that a result is parsed to."""
        self._store = store
        self._kind = kind
        self._shape = [(one.__name__, *(field.name for field in fields(one))) for one in shape]
        self._snapshot = store.run_snapshot()
        self._new: dict[str, tuple[Any, Iterable[str]]] = {}

    def find(self, cells: Sequence[Cell], parse: Callable[[Any], T]) -> T | None:
        """The cached result, parsed from JSON values; None if there is no valid one."""
        row = self._rows.get(self._key(cells)) if self._snapshot.copies else None
        if row is None:
            return None
        fresh = self._snapshot.fresh
        if fresh and not fresh.keys().isdisjoint(row["runs"].as_py()):
            return None
        import pydantic_core

        try:
            return parse(pydantic_core.from_json(row["answer"].as_py()))
        except (ValueError, TypeError, LookupError, AttributeError) as error:
            _log.warning("a cached result is damaged and is computed again (%s)", error)
            return None

    def add(self, cells: Sequence[Cell], result: Any, *, runs: Iterable[str]) -> None:
        """Cache a result that was computed from `runs`, if the catalog has all of them."""
        runs = sorted(set(runs))
        if self._snapshot.copies and self._snapshot.fresh.keys().isdisjoint(runs):
            self._new[self._key(cells)] = result, runs

    def save(self) -> None:
        """Write the added results to the store, if it is writable."""
        if not self._new:
            return
        import json

        rows = [
            {"catalog": self._catalog, "key": key, "answer": json.dumps(result), "runs": runs}
            for key, (result, runs) in self._new.items()
        ]
        earlier = (_plain(row) for key, row in self._rows.items() if key not in self._new)
        try:
            self._store.cache.write(self._kind, from_rows([*earlier, *rows], _SCHEMA))
        except OSError as error:
            _log.debug("results of sweeps are not cached: %s", error)
        self._new.clear()

    @cached_property
    def _catalog(self) -> str:
        """A digest of the catalog's valid copies; it ignores runs that have changed since."""
        fresh = self._snapshot.fresh.keys()
        return _digest(
            [(one.segment.name, sorted(one.gone - fresh)) for one in self._snapshot.copies]
        )

    @cached_property
    def _rows(self) -> dict[str, dict[str, pa.Scalar]]:
        """Key -> cached row, for the rows that were written with this catalog."""
        table = self._store.cache.read(self._kind)
        if table is None or not table.schema.remove_metadata().equals(_SCHEMA):
            return {}
        found = {}
        for number, (catalog, key) in enumerate(
            zip(table["catalog"].to_pylist(), table["key"].to_pylist(), strict=True)
        ):
            if catalog == self._catalog:
                found[key] = {name: table[name][number] for name in _SCHEMA.names}
        return found

    def _key(self, cells: Sequence[Cell]) -> str:
        values = [tuple(vars(cell).values()) for cell in cells]
        return _digest((VERSION, INTERVALS, self._shape, values))


def _plain(row: dict[str, pa.Scalar]) -> dict[str, Any]:
    return {name: value.as_py() for name, value in row.items()}


def _digest(value: object) -> str:
    """A digest of strings, numbers and None in tuples and lists, by their unambiguous `repr`."""
    return hashlib.sha256(repr(value).encode()).hexdigest()[:32]
