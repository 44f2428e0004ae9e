"""Intervals cached in a store, so that no interval is computed twice.

Owns the columns of the cached tables. They may be deleted any time, and a read-only store caches
nothing: both only cost time.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from itertools import chain
from typing import Any

import pyarrow as pa

from w2s_ray.report.statistics.draws import RowIntervals
from w2s_ray.report.statistics.groups import MedianIntervals
from w2s_ray.report.statistics.intervals import Interval
from w2s_ray.store import Store
from w2s_ray.store.tables import from_rows, schema

ROWS, SEEDS = "intervals", "intervals_by_seed"
"""Cached tables: of rows and medians; of single seeds, which are more and used rarely."""
_FIGURES = RowIntervals._fields
_BOUNDS = tuple(f"{figure}_{end}" for figure in _FIGURES for end in ("low", "high"))
SCHEMA = schema(("key reason", pa.string()), (" ".join(_BOUNDS), pa.float64()))
"""`reason`: why there are no bounds, permanently."""

_log = logging.getLogger(__name__)


class IntervalCache:
    """The intervals in one cached table, by key; of medians those of student, gain and PGR."""

    def __init__(self, store: Store, table: str) -> None:
        self._store = store
        self._table = table
        self._bounds: dict[str, tuple[Any, ...]] = {}
        cached = store.cache.read(table)
        if cached is not None and cached.schema.remove_metadata().equals(SCHEMA):
            keys, *columns = (cached[name].to_pylist() for name in SCHEMA.names)
            self._bounds = dict(zip(keys, zip(*columns, strict=True), strict=True))
        self._saved = len(self._bounds)

    def __contains__(self, key: str) -> bool:
        return key in self._bounds

    def row(self, key: str) -> RowIntervals | str:
        """A row's intervals, or why it has none."""
        reason, *bounds = self._bounds[key]
        pairs = iter(bounds)
        return reason or RowIntervals._make(map(_interval, pairs, pairs))

    def median(self, key: str) -> MedianIntervals:
        """The intervals of the medians over some rows."""
        bounds = dict(zip(_BOUNDS, self._bounds[key][1:], strict=True))
        pairs = (
            (bounds[f"{name}_low"], bounds[f"{name}_high"]) for name in MedianIntervals._fields
        )
        return MedianIntervals._make(_interval(*pair) for pair in pairs)

    def add(self, key: str, found: Mapping[str, Interval | None] | str) -> None:
        """Add the intervals by figure, or the reason why there are none."""
        reason, intervals = (found, {}) if isinstance(found, str) else (None, found)
        each = (intervals.get(figure) or (None, None) for figure in _FIGURES)
        self._bounds[key] = (reason, *chain.from_iterable(each))

    def save(self) -> None:
        """Write the added intervals to the store, if it is writable."""
        if len(self._bounds) == self._saved:
            return
        names = SCHEMA.names
        rows = (dict(zip(names, (key, *row), strict=True)) for key, row in self._bounds.items())
        try:
            self._store.cache.write(self._table, from_rows(rows, SCHEMA))
        except OSError as error:
            _log.debug("intervals are not cached: %s", error)
        self._saved = len(self._bounds)


def _interval(low: float | None, high: float | None) -> Interval | None:
    return None if low is None or high is None else Interval(low, high)
