"""From runs in a store to intervals: what is kept is looked up, the rest is drawn.

Owns the way there, test set by test set, so that memory holds the draws of one task's runs
and, of a row, its PGR's alone. What an interval is stands in `draws` and `intervals`.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cached_property

import numpy as np

from w2s_ray.report.statistics.draws import RowDraws, RowIntervals, accuracy_draws
from w2s_ray.report.statistics.eval_sets import answers, eval_set
from w2s_ray.report.statistics.groups import Group, MedianOf, Passing
from w2s_ray.report.statistics.intervals import Interval, interval
from w2s_ray.report.statistics.kept import ROWS, SEEDS, Kept
from w2s_ray.store import Record, Store
from w2s_ray.store.damage import unless_damaged


class Bootstrap:
    """Intervals of rows and of medians over rows; `records` hold every run that is asked about."""

    def __init__(self, store: Store, records: Mapping[str, Record]) -> None:
        self._store = store
        self._records = records
        self._pgr_B: dict[str, np.ndarray] = {}
        self.may_change = False
        """Whether something that was asked for can't be drawn now, though it may be later."""

    @cached_property
    def _rows(self) -> Kept:
        return Kept(self._store, ROWS)

    @cached_property
    def _seeds(self) -> Kept:
        return Kept(self._store, SEEDS)

    def rows(
        self, groups: Iterable[Group], *, of_seeds: Iterable[Group] = ()
    ) -> Mapping[Group, RowIntervals | str]:
        """The intervals of each row, or why there are none.

        Where a row is drawn, its single seeds are too, and kept.

        Args:
            groups: rows that a median may be over.
            of_seeds: other rows.
        """
        groups = set(groups)
        wanted = groups | set(of_seeds)
        new = {group for group in wanted if group.key not in self._kept(group)}
        singles = {single for group in new for single in group.singles()}
        new |= {single for single in singles if single.key not in self._seeds}
        found: dict[Group, RowIntervals | str] = {}
        for group, drawn in row_draws(self._store, new, self._records):
            found[group] = self._add(group, drawn)
            if not isinstance(drawn, str) and group in groups:
                self._pgr_B[group.key] = drawn.pgr
        self._save()
        return {
            group: found[group] if group in found else self._kept(group).row(group.key)
            for group in wanted
        }

    def medians(self, medians: Sequence[MedianOf]) -> list[Interval | None]:
        """The interval of each median PGR, its rows taken as given.

        None where a row can't be drawn, or a bound would be infinite.
        """
        keys = [median.key for median in medians]
        new = {k: m for k, m in zip(keys, medians, strict=True) if k not in self._rows}
        needed = {group for median in new.values() for group in median.groups}
        lacking = [group for group in needed if group.key not in self._pgr_B]
        for group, drawn in row_draws(self._store, lacking, self._records):
            self.may_change |= isinstance(drawn, Passing)
            if not isinstance(drawn, str):
                self._pgr_B[group.key] = drawn.pgr
        for key, median in new.items():
            if median.groups and all(group.key in self._pgr_B for group in median.groups):
                pgr_RB = np.stack([self._pgr_B[group.key] for group in median.groups])
                self._rows.add(key, {"pgr": median_interval(pgr_RB)})
        self._save()
        return [self._rows.median(key) if key in self._rows else None for key in keys]

    def _add(self, group: Group, drawn: RowDraws | str) -> RowIntervals | str:
        if isinstance(drawn, Passing):
            self.may_change = True
            return drawn
        found = drawn if isinstance(drawn, str) else drawn.intervals()
        self._kept(group).add(group.key, found if isinstance(found, str) else found._asdict())
        return found

    def _kept(self, group: Group) -> Kept:
        return self._seeds if len(group.seeds) == 1 else self._rows

    def _save(self) -> None:
        for name in ("_rows", "_seeds"):
            if name in vars(self):
                getattr(self, name).save()


def median_interval(pgr_RB: np.ndarray) -> Interval | None:
    """The interval of the median over R rows, from joint draws of their PGR [R, B].

    In a draw whose median would be half way between two infinities, it is taken as either. None
    where a bound is infinite, as may be where few rows have small gaps.
    """
    with np.errstate(invalid="ignore"):
        median_B = np.median(pgr_RB, axis=0)
    either_B = np.isnan(median_B)
    low = interval(np.where(either_B, -np.inf, median_B)).low
    high = interval(np.where(either_B, np.inf, median_B)).high
    return Interval(low, high) if math.isfinite(low) and math.isfinite(high) else None


def row_draws(
    store: Store, groups: Iterable[Group], records: Mapping[str, Record]
) -> Iterator[tuple[Group, RowDraws | str]]:
    """Each row with its joint draws, or why it has none; rows of one test set come together.

    A run's file is read once. Draws of different test sets are independent.
    """
    of_split: dict[str, list[Group]] = defaultdict(list)
    for group in groups:
        splits = {str(records[run].recipe.get("split")) for run in group.runs}
        if len(splits) == 1:
            of_split[splits.pop()].append(group)
        else:
            yield group, "its runs were measured on different test rows"
    known = set(store.splits.fingerprints()) if of_split else set()
    for split, asked in sorted(of_split.items()):
        if split in known:
            yield from _of_split(store, split, asked, records)
        else:
            why = Passing(f"split {split} is not in the store")
            yield from ((group, why) for group in asked)


def _of_split(
    store: Store, split: str, groups: Sequence[Group], records: Mapping[str, Record]
) -> Iterator[tuple[Group, RowDraws | str]]:
    """The rows that were measured on one test set."""
    runs = sorted({run for group in groups for run in group.runs})
    test = unless_damaged(lambda: eval_set(store, split))
    if test is None:
        yield from ((group, Passing(f"split {split} is damaged")) for group in groups)
        return
    if not len(test.ids):
        yield from ((group, f"split {split} has no test rows") for group in groups)
        return
    found = answers(store, test, [records[run] for run in runs])
    usable = []
    for group in groups:
        why = next((found.unusable[run] for run in group.runs if run in found.unusable), None)
        if why is None:
            usable.append(group)
        else:
            yield group, why
    if usable:
        draws = accuracy_draws(
            found.correct_NR, runs=found.runs, eval_set=split, unit_N=test.unit_N
        )
        for group in usable:
            trios = dict(zip(group.seeds, group.trios, strict=True))
            yield group, draws.of_row(trios, freedom=group.freedom)
