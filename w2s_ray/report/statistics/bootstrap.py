"""Intervals of runs in a store: cached ones are read, the others are computed by the bootstrap.

Owns the order of computation, one test set at a time, so that memory has the draws of one task's
runs, and of other rows only those that a median needs. `draws` and `intervals` define the
intervals.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cached_property
from typing import NamedTuple

import numpy as np

from w2s_ray.report.statistics.draws import RowDraws, RowIntervals, accuracy_draws
from w2s_ray.report.statistics.eval_sets import correctness, eval_set
from w2s_ray.report.statistics.groups import (
    Group,
    MedianIntervals,
    MedianOf,
    TemporaryReason,
)
from w2s_ray.report.statistics.interval_cache import ROWS, SEEDS, IntervalCache
from w2s_ray.report.statistics.intervals import Interval, interval
from w2s_ray.store import Record, Store
from w2s_ray.store.damage import none_if_damaged


class Bootstrap:
    """Intervals of rows and of medians over rows; `records` has every run of these rows."""

    def __init__(self, store: Store, records: Mapping[str, Record]) -> None:
        self.store = store
        self.records = records
        self._drawn: dict[str, _FigureDraws] = {}
        self.may_change = False
        """Whether a requested interval can't be computed now but may be later."""

    @cached_property
    def _rows(self) -> IntervalCache:
        return IntervalCache(self.store, ROWS)

    @cached_property
    def _seeds(self) -> IntervalCache:
        return IntervalCache(self.store, SEEDS)

    def rows(
        self, groups: Iterable[Group], *, of_seeds: Iterable[Group] = ()
    ) -> Mapping[Group, RowIntervals | str]:
        """The intervals of each row, or why there are none.

        When a row is computed, its single seeds are computed and cached too.

        Args:
            groups: rows that `medians` may be called with afterwards.
            of_seeds: other rows.
        """
        groups = set(groups)
        requested = groups | set(of_seeds)
        new = {group for group in requested if group.key not in self._cache(group)}
        singles = {single for group in new for single in group.singles()}
        new |= {single for single in singles if single.key not in self._seeds}
        found: dict[Group, RowIntervals | str] = {}
        for group, drawn in row_draws(self.store, new, self.records):
            found[group] = self._add(group, drawn)
            if not isinstance(drawn, str) and group in groups:
                self._drawn[group.key] = _FigureDraws.of(drawn)
        self._save()
        return {
            group: found[group] if group in found else self._cache(group).row(group.key)
            for group in requested
        }

    def medians(self, medians: Sequence[MedianOf]) -> list[MedianIntervals]:
        """The intervals of each median over fixed rows."""
        keys = [median.key for median in medians]
        new = {k: m for k, m in zip(keys, medians, strict=True) if k not in self._rows}
        needed = {group for median in new.values() for group in median.groups}
        lacking = [group for group in needed if group.key not in self._drawn]
        for group, drawn in row_draws(self.store, lacking, self.records):
            self.may_change |= isinstance(drawn, TemporaryReason)
            if not isinstance(drawn, str):
                self._drawn[group.key] = _FigureDraws.of(drawn)
        for key, median in new.items():
            if median.groups and all(group.key in self._drawn for group in median.groups):
                drawn_R = [self._drawn[group.key] for group in median.groups]
                found = (median_interval(np.stack(figure)) for figure in zip(*drawn_R, strict=True))
                self._rows.add(key, MedianIntervals(*found)._asdict())
        self._save()
        none = MedianIntervals()
        return [self._rows.median(key) if key in self._rows else none for key in keys]

    def _add(self, group: Group, drawn: RowDraws | str) -> RowIntervals | str:
        if isinstance(drawn, TemporaryReason):
            self.may_change = True
            return drawn
        found = drawn if isinstance(drawn, str) else drawn.intervals()
        self._cache(group).add(group.key, found if isinstance(found, str) else found._asdict())
        return found

    def _cache(self, group: Group) -> IntervalCache:
        return self._seeds if len(group.seeds) == 1 else self._rows

    def _save(self) -> None:
        for name in ("_rows", "_seeds"):
            if name in vars(self):
                getattr(self, name).save()


class _FigureDraws(NamedTuple):
    """Draws [B] of a row's figures, in the order of `MedianIntervals`."""

    student: np.ndarray
    gain: np.ndarray
    pgr: np.ndarray

    @classmethod
    def of(cls, drawn: RowDraws) -> _FigureDraws:
        return cls(drawn.student.astype(np.float32), drawn.gain.astype(np.float32), drawn.pgr)


def median_interval(drawn_RB: np.ndarray) -> Interval | None:
    """The interval of the median over R rows, from joint draws of one of their figures [R, B].

    If a draw's median is undefined (the mean of two opposite infinities), the lower bound takes it
    as minus infinity and the upper bound as plus infinity. None if a bound is infinite, which can
    occur with few rows and small gaps.
    """
    with np.errstate(invalid="ignore"):
        median_B = np.median(drawn_RB, axis=0)
    either_B = np.isnan(median_B)
    low = interval(np.where(either_B, -np.inf, median_B)).low
    high = interval(np.where(either_B, np.inf, median_B)).high
    return Interval(low, high) if math.isfinite(low) and math.isfinite(high) else None


def row_draws(
    store: Store, groups: Iterable[Group], records: Mapping[str, Record]
) -> Iterator[tuple[Group, RowDraws | str]]:
    """Each row with its joint draws, or why it has none, one test set after the other.

    A run's file is read once. Draws of different test sets are independent.
    """
    by_split: dict[str, list[Group]] = defaultdict(list)
    for group in groups:
        splits = {str(records[run].recipe.get("split")) for run in group.runs}
        if len(splits) == 1:
            by_split[splits.pop()].append(group)
        else:
            yield group, "its runs were measured on different test rows"
    known = set(store.splits.fingerprints()) if by_split else set()
    for split, of_split in sorted(by_split.items()):
        if split in known:
            yield from _split_draws(store, split, of_split, records)
        else:
            reason = TemporaryReason(f"split {split} is not in the store")
            yield from ((group, reason) for group in of_split)


def _split_draws(
    store: Store, split: str, groups: Sequence[Group], records: Mapping[str, Record]
) -> Iterator[tuple[Group, RowDraws | str]]:
    """Each row with its joint draws, for rows that were measured on one test set."""
    runs = sorted({run for group in groups for run in group.runs})
    test = none_if_damaged(lambda: eval_set(store, split))
    if test is None:
        reason = TemporaryReason(f"split {split} is damaged")
        yield from ((group, reason) for group in groups)
        return
    if not len(test.ids):
        yield from ((group, f"split {split} has no test rows") for group in groups)
        return
    found = correctness(store, test, [records[run] for run in runs])
    usable = []
    for group in groups:
        reason = next((found.unusable[run] for run in group.runs if run in found.unusable), None)
        if reason is None:
            usable.append(group)
        else:
            yield group, reason
    if usable:
        draws = accuracy_draws(
            found.correct_NR, runs=found.runs, eval_set=split, unit_N=test.unit_N
        )
        for group in usable:
            trios = dict(zip(group.seeds, group.trios, strict=True))
            yield group, draws.of_row(trios, freedom=group.freedom)
