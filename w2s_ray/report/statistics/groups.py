"""What intervals are asked for: the runs of a row, seed by seed, and the rows of a median.

Owns the names under which a store keeps what was computed. Runs never change, so an interval over
given runs never does either, and its name follows from theirs.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import NamedTuple

VERSION = 1
"""Part of every key: to be raised where an interval of the same runs comes out differently."""


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
    """Degrees of freedom of the seeds' spread where the row is drawn for a mean over several test
    sets; None: one less than seeds."""
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
        """Run ids, some perhaps twice."""
        return (run for trio in self.trios for run in trio)


@dataclass(frozen=True)
class MedianOf:
    """The rows that a method's median PGR is over."""

    groups: tuple[Group, ...]

    @property
    def key(self) -> str:
        return _key("median", sorted(group.key for group in self.groups))


class Passing(str):
    """Why something can't be drawn at present, though it may be later."""


def _key(kind: str, parts: Iterable[str]) -> str:
    named = "\n".join((kind, str(VERSION), *parts))
    return hashlib.sha256(named.encode()).hexdigest()[:32]
