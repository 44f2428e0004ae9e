"""The units that have intervals: the runs of a row, seed by seed, and the rows of a median.

Owns the keys of cached intervals. Runs never change, so an interval over given runs never changes
either, and its key is a hash of their ids.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import NamedTuple

from w2s_ray.report.statistics.intervals import Interval

VERSION = 2
"""Part of every key; raise it when the intervals of the same runs change."""


class Trio(NamedTuple):
    """The runs of one cell, by their ids."""

    supervisor: str
    student: str
    ceiling: str


@dataclass(frozen=True)
class Group:
    """The cells that a row's means are over: its seeds, each with its three runs."""

    seeds: tuple[int, ...]
    trios: tuple[Trio, ...]
    freedom: int | None = None
    """Degrees of freedom of the spread over seeds if the row is part of a mean over several test
    sets; None: one less than the number of seeds."""
    key: str = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        cells = sorted(zip(self.seeds, self.trios, strict=True))
        of_mean = [] if self.freedom is None else [f"freedom {self.freedom}"]
        named = _key("row", [*(f"{seed}:{','.join(trio)}" for seed, trio in cells), *of_mean])
        object.__setattr__(self, "key", named)

    def __hash__(self) -> int:
        return hash(self.key)

    def singles(self) -> list[Group]:
        """Each seed by itself."""
        cells = zip(self.seeds, self.trios, strict=True)
        return [Group((seed,), (trio,)) for seed, trio in cells]

    @property
    def runs(self) -> Iterable[str]:
        """Run ids, possibly with repetitions."""
        return (run for trio in self.trios for run in trio)


@dataclass(frozen=True)
class MedianOf:
    """The rows of a method's median."""

    groups: tuple[Group, ...]

    @property
    def key(self) -> str:
        return _key("median", sorted(group.key for group in self.groups))


class MedianIntervals(NamedTuple):
    """95 % intervals of medians over the same rows.

    None if a bound would be infinite, or a row has no draws.
    """

    student: Interval | None = None
    gain: Interval | None = None
    pgr: Interval | None = None


class TemporaryReason(str):
    """Why draws can't be computed at present, although they may be later."""


def _key(kind: str, parts: Iterable[str]) -> str:
    named = "\n".join((kind, str(VERSION), *parts))
    return hashlib.sha256(named.encode()).hexdigest()[:32]
