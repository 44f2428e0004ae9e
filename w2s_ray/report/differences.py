"""Intervals for mean and median differences over rows, from joint draws of both sides.

Owns how draws of rows become draws of a difference, and where the store keeps what came out. The
rows are taken as given: seeds and test examples are resampled, tasks and pairs are not.
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
from w2s_ray.report.statistics import Group, Interval, RowDraws, interval, row_draws
from w2s_ray.store import Record, Store, StoreError
from w2s_ray.store.tables import from_rows, schema

TABLE = "differences-1"
"""Where the store keeps them; another number where one of the same rows comes out differently."""
_ROUNDING = 1e-9
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Rows:
    """A quantity of rows, and the same rows of another method."""

    quantity: Quantity
    pairs: tuple[tuple[Group, Group], ...]
    """Each row's runs, and those that it is compared with: of the same task, pair and seeds."""

    @property
    def key(self) -> str:
        named = sorted(f"{ours.key}-{theirs.key}" for ours, theirs in self.pairs)
        return hashlib.sha256("\n".join((self.quantity, *named)).encode()).hexdigest()[:32]


@dataclass(frozen=True)
class Found:
    """Intervals of a mean and of a median difference; None where a bound would be infinite."""

    mean: Interval | None
    median: Interval | None
    reason: str | None = None
    """Why there is none."""


def intervals(asked: Sequence[Rows], *, store: Store, records: Mapping[str, Record]) -> list[Found]:
    """The intervals of each of `asked`; `records` hold every run of theirs.

    What the store keeps is not drawn again.
    """
    kept = _kept(store)
    new = [rows for rows in asked if rows.key not in kept]
    groups = {group for rows in new for pair in rows.pairs for group in pair}
    drawn = {
        group: found if isinstance(found, str) else _Sides.of(found)
        for group, found in row_draws(store, groups, records)
    }
    made = {rows.key: _of(rows, drawn) for rows in new}
    if any(found.reason is None for found in made.values()):
        _keep(store, kept | made)
    return [made.get(rows.key) or kept[rows.key] for rows in asked]


def freedom_of_mean(tasks: Sequence[str], by_seed: Sequence[Mapping[int, float]]) -> int | None:
    """Degrees of freedom of the spread over seeds of a mean over rows; None: there is no spread.

    Rows of one task share their seeds, and different tasks are independent, so it is Welch's
    approximation (1947) for a sum over tasks: between what one task has and what all have together.

    Args:
        tasks: the task of each row.
        by_seed: each row's figure with each seed.
    """
    of_task: dict[str, dict[int, list[float]]] = {}
    for task, figures in zip(tasks, by_seed, strict=True):
        middle = fmean(figures.values())
        for seed, figure in figures.items():
            of_task.setdefault(task, {}).setdefault(seed, []).append(figure - middle)
    total = weighted = 0.0
    for seeds in of_task.values():
        if len(seeds) > 1:
            part = variance(sum(figures) for figures in seeds.values()) / len(seeds)
            total, weighted = total + part, weighted + part**2 / (len(seeds) - 1)
    return max(1, math.floor(total**2 / weighted + _ROUNDING)) if weighted else None


def of_draws(differences_RB: np.ndarray) -> Found:
    """The intervals of the mean and of the median over R rows, from joint draws [R, B].

    A PGR is infinite in a draw that has no gap. Where that leaves a mean or a median undecided
    between two infinities it is taken as either, and a bound that is infinite is no bound.
    """
    with np.errstate(invalid="ignore"):
        mean_B, median_B = differences_RB.mean(axis=0), np.median(differences_RB, axis=0)
    mean, median = _wide(mean_B), _wide(median_B)
    lacking = mean is None or median is None
    return Found(mean, median, "in too many draws some row has no gap" if lacking else None)


def _wide(draws_B: np.ndarray) -> Interval | None:
    undecided_B = np.isnan(draws_B)
    low = interval(np.where(undecided_B, -np.inf, draws_B)).low
    high = interval(np.where(undecided_B, np.inf, draws_B)).high
    return Interval(low, high) if np.isfinite([low, high]).all() else None


@dataclass(frozen=True)
class _Sides:
    """Draws [B] of what a row is compared by."""

    pgr: np.ndarray
    student_accuracy: np.ndarray

    @classmethod
    def of(cls, drawn: RowDraws) -> _Sides:
        return cls(drawn.pgr.astype(np.float32), drawn.student.astype(np.float32))


def _of(rows: Rows, drawn: Mapping[Group, _Sides | str]) -> Found:
    if not rows.pairs:
        return Found(None, None, "no rows to compare")
    differences = []
    for ours, theirs in rows.pairs:
        one, other = drawn[ours], drawn[theirs]
        if isinstance(one, str) or isinstance(other, str):
            why = one if isinstance(one, str) else other
            return Found(None, None, f"no interval: {why}")
        with np.errstate(invalid="ignore"):
            differences.append(getattr(one, rows.quantity) - getattr(other, rows.quantity))
    return of_draws(np.stack(differences).astype(np.float64))


def _kept(store: Store) -> dict[str, Found]:
    table = store.cache.read(TABLE)
    return {
        row["key"]: Found(
            Interval(row["mean_low"], row["mean_high"]),
            Interval(row["median_low"], row["median_high"]),
        )
        for row in (table.to_pylist() if table is not None else ())
    }


def _keep(store: Store, found: Mapping[str, Found]) -> None:
    """Put them into the store, if it can be written to."""
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
        _log.debug("intervals of differences are not kept: %s", error)
