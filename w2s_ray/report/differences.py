"""Intervals for mean and median differences over rows, from joint draws of both methods.

Owns the computation of draws of a difference from draws of rows, and the cache of the intervals.
Seeds and test examples are resampled; the rows, that is tasks and pairs, are fixed.
"""

from __future__ import annotations

import hashlib
import logging
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean, variance

import numpy as np
import pyarrow as pa

from w2s_ray.report.comparison import Quantity
from w2s_ray.report.statistics import Group, Interval, RowDraws, interval, new_tasks, row_draws
from w2s_ray.store import Record, Store, StoreError
from w2s_ray.store.tables import from_rows, schema

TABLE = "differences-2"
"""Name of the cached table; change its number when the intervals of the same rows change."""
NO_ROWS = "no rows to compare"
"""Why there is no interval without rows."""
_ROUNDING = 1e-9
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class RowPairs:
    """A quantity, and the pairs of rows of two methods that are compared in it."""

    quantity: Quantity
    pairs: tuple[tuple[Group, Group], ...]
    """Runs of a row of either method; both rows have the same task, pair and seeds."""

    @property
    def key(self) -> str:
        named = sorted(f"{ours.key}-{theirs.key}" for ours, theirs in self.pairs)
        return hashlib.sha256("\n".join((self.quantity, *named)).encode()).hexdigest()[:32]


@dataclass(frozen=True)
class DifferenceIntervals:
    """Intervals of a mean and of a median difference; None if a bound would be infinite."""

    mean: Interval | None
    median: Interval | None
    reason: str | None = None
    """Why there are no intervals."""
    over_tasks: bool = False
    """Whether tasks were drawn, and not seeds and examples."""


def intervals(
    requests: Sequence[RowPairs], *, store: Store, records: Mapping[str, Record]
) -> list[DifferenceIntervals]:
    """The intervals of each of `requests`; `records` has all their runs.

    Cached intervals are not computed again.
    """
    cached = _read_cache(store)
    new = [rows for rows in requests if rows.key not in cached]
    groups = {group for rows in new for pair in rows.pairs for group in pair}
    drawn = {
        group: draws if isinstance(draws, str) else _FigureDraws.of(draws)
        for group, draws in row_draws(store, groups, records)
    }
    computed = {rows.key: _intervals(rows, drawn) for rows in new}
    if any(found.reason is None for found in computed.values()):
        _write_cache(store, cached | computed)
    return [computed.get(rows.key) or cached[rows.key] for rows in requests]


def intervals_over_tasks(differences: Sequence[float], tasks: Sequence[str]) -> DifferenceIntervals:
    """The intervals for new tasks; `tasks`: the task of each row's difference."""
    found = (new_tasks.mean_interval, new_tasks.median_interval)
    mean, median = (interval_of(differences, tasks) for interval_of in found)
    reason = new_tasks.ONE_TASK if differences else NO_ROWS
    return DifferenceIntervals(mean, median, None if mean else reason, over_tasks=True)


def freedom_of_mean(tasks: Sequence[str], by_seed: Sequence[Mapping[int, float]]) -> int | None:
    """Degrees of freedom of the spread over seeds of a mean over rows; None: there is no spread.

    Rows of one task share their seeds, and different tasks are independent, so it is Welch's
    approximation (1947) for a sum over tasks, which lies between the degrees of freedom of one task
    and their sum over all tasks.

    Args:
        tasks: the task of each row.
        by_seed: each row's figure with each seed.
    """
    by_task: dict[str, dict[int, list[float]]] = {}
    for task, figures in zip(tasks, by_seed, strict=True):
        mean = fmean(figures.values())
        for seed, figure in figures.items():
            by_task.setdefault(task, {}).setdefault(seed, []).append(figure - mean)
    total = weighted = 0.0
    for seeds in by_task.values():
        if len(seeds) > 1:
            part = variance(sum(figures) for figures in seeds.values()) / len(seeds)
            total, weighted = total + part, weighted + part**2 / (len(seeds) - 1)
    return max(1, math.floor(total**2 / weighted + _ROUNDING)) if weighted else None


def intervals_of_draws(differences_RB: np.ndarray) -> DifferenceIntervals:
    """The intervals of the mean and of the median over R rows, from joint draws [R, B].

    A PGR is infinite in a draw without a gap. If a mean or a median is then undefined (the sum of
    two opposite infinities), the lower bound takes it as minus infinity and the upper bound as plus
    infinity. There is no interval with an infinite bound.
    """
    with np.errstate(invalid="ignore"):
        mean_B, median_B = differences_RB.mean(axis=0), np.median(differences_RB, axis=0)
    mean, median = _widest_interval(mean_B), _widest_interval(median_B)
    lacking = mean is None or median is None
    reason = "in too many draws some row has no gap" if lacking else None
    return DifferenceIntervals(mean, median, reason)


def _widest_interval(draws_B: np.ndarray) -> Interval | None:
    undecided_B = np.isnan(draws_B)
    low = interval(np.where(undecided_B, -np.inf, draws_B)).low
    high = interval(np.where(undecided_B, np.inf, draws_B)).high
    return Interval(low, high) if np.isfinite([low, high]).all() else None


@dataclass(frozen=True)
class _FigureDraws:
    """Draws [B] of the compared quantities of a row."""

    pgr: np.ndarray
    student_accuracy: np.ndarray

    @classmethod
    def of(cls, draws: RowDraws) -> _FigureDraws:
        with np.errstate(over="ignore"):  # a PGR over 1e38 is as good as infinite
            return cls(draws.pgr.astype(np.float32), draws.student.astype(np.float32))


def _intervals(rows: RowPairs, drawn: Mapping[Group, _FigureDraws | str]) -> DifferenceIntervals:
    if not rows.pairs:
        return DifferenceIntervals(None, None, NO_ROWS)
    differences = []
    for ours, theirs in rows.pairs:
        one, other = drawn[ours], drawn[theirs]
        if isinstance(one, str) or isinstance(other, str):
            why = one if isinstance(one, str) else other
            return DifferenceIntervals(None, None, f"no interval: {why}")
        with np.errstate(invalid="ignore"):
            differences.append(getattr(one, rows.quantity) - getattr(other, rows.quantity))
    return intervals_of_draws(np.stack(differences).astype(np.float64))


def _read_cache(store: Store) -> dict[str, DifferenceIntervals]:
    table = store.cache.read(TABLE)
    return {
        row["key"]: DifferenceIntervals(
            Interval(row["mean_low"], row["mean_high"]),
            Interval(row["median_low"], row["median_high"]),
        )
        for row in (table.to_pylist() if table is not None else ())
    }


def _write_cache(store: Store, found: Mapping[str, DifferenceIntervals]) -> None:
    """Write the intervals to the store, if it is writable."""
    rows = [
        {
            "key": key,
            "mean_low": one.mean.low,
            "mean_high": one.mean.high,
            "median_low": one.median.low,
            "median_high": one.median.high,
        }
        for key, one in found.items()
        if one.mean is not None and one.median is not None
    ]
    columns = schema(
        ("key", pa.string()), ("mean_low mean_high median_low median_high", pa.float64())
    )
    try:
        store.cache.write(TABLE, from_rows(rows, columns))
    except (OSError, StoreError) as error:
        _log.debug("intervals of differences are not cached: %s", error)
