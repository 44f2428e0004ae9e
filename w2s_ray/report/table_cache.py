"""Whole answers that a store keeps: what was made of a sweep's cells while their runs stood as now.

Owns when such an answer still holds: the cells are the same, every run that it was made of is
answered for by the catalog, and the catalog is the same. It may be deleted any time, and knows
nothing of what an answer says.
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
"""Part of every key: to be raised where the same runs give another figure or another reason."""

_SCHEMA = schema(("catalog key answer", pa.string()), ("runs", pa.list_(pa.string())))

T = TypeVar("T")

_log = logging.getLogger(__name__)


class Answers:
    """Answers of one kind in `store`, which should be a snapshot."""

    def __init__(self, store: Store, kind: str, *, shape: Iterable[type]) -> None:
        """`kind`: the store's table; `shape`: the dataclasses that an answer is turned into."""
        self._store = store
        self._kind = kind
        self._shape = [(one.__name__, *(field.name for field in fields(one))) for one in shape]
        self._stands = store.run_snapshot()
        self._new: dict[str, tuple[Any, Iterable[str]]] = {}

    def find(self, cells: Sequence[Cell], make: Callable[[Any], T]) -> T | None:
        """What `make` makes of the kept JSON; None where nothing holds."""
        row = self._kept.get(self._key(cells)) if self._stands.copies else None
        if row is None:
            return None
        if self._stands.fresh and not self._stands.fresh.keys().isdisjoint(row["runs"].as_py()):
            return None
        import pydantic_core

        try:
            return make(pydantic_core.from_json(row["answer"].as_py()))
        except (ValueError, TypeError, LookupError, AttributeError) as error:
            _log.warning("a kept answer is damaged and is computed anew (%s)", error)
            return None

    def add(self, cells: Sequence[Cell], answer: Any, *, runs: Iterable[str]) -> None:
        """Keep what was made of `runs`, if the catalog answers for all of them."""
        runs = sorted(set(runs))
        if self._stands.copies and self._stands.fresh.keys().isdisjoint(runs):
            self._new[self._key(cells)] = answer, runs

    def save(self) -> None:
        """Keep in the store what was added, if it can be written to."""
        if not self._new:
            return
        import json

        rows = [
            {"catalog": self._catalog, "key": key, "answer": json.dumps(answer), "runs": runs}
            for key, (answer, runs) in self._new.items()
        ]
        kept = (_plain(row) for key, row in self._kept.items() if key not in self._new)
        try:
            self._store.cache.write(self._kind, from_rows([*kept, *rows], _SCHEMA))
        except OSError as error:
            _log.debug("answers are not kept: %s", error)
        self._new.clear()

    @cached_property
    def _catalog(self) -> str:
        """What the catalog answers for, but for runs that have changed since."""
        fresh = self._stands.fresh.keys()
        told = [(one.segment.name, sorted(one.gone - fresh)) for one in self._stands.copies]
        return _digest(told)

    @cached_property
    def _kept(self) -> dict[str, dict[str, pa.Scalar]]:
        """Key -> the row of it, of those that were kept with this catalog."""
        kept = self._store.cache.read(self._kind)
        if kept is None or not kept.schema.remove_metadata().equals(_SCHEMA):
            return {}
        found = {}
        for number, (catalog, key) in enumerate(
            zip(kept["catalog"].to_pylist(), kept["key"].to_pylist(), strict=True)
        ):
            if catalog == self._catalog:
                found[key] = {name: kept[name][number] for name in _SCHEMA.names}
        return found

    def _key(self, cells: Sequence[Cell]) -> str:
        told = [tuple(vars(cell).values()) for cell in cells]
        return _digest((VERSION, INTERVALS, self._shape, told))


def _plain(row: dict[str, pa.Scalar]) -> dict[str, Any]:
    return {name: value.as_py() for name, value in row.items()}


def _digest(told: object) -> str:
    """Of strings, numbers and None in tuples and lists, whose `repr` tells them apart."""
    return hashlib.sha256(repr(told).encode()).hexdigest()[:32]
