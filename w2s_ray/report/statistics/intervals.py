"""Percentile intervals of bootstrap draws.

Owns the level and the choice of order statistics. The draws may be of any quantity.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

LEVEL = 0.95
"""Nominal coverage of every interval."""


class Interval(NamedTuple):
    """A 95 % bootstrap interval."""

    low: float
    high: float

    def holds(self, value: float) -> bool:
        """Whether `value` lies within it, bounds included."""
        return self.low <= value <= self.high

    def clipped(self, low: float, high: float) -> Interval:
        """The interval clipped to the limits of the quantity."""
        return Interval(min(max(self.low, low), high), max(min(self.high, high), low))


def interval(draws_B: np.ndarray) -> Interval:
    """The interval between the 2.5 % and the 97.5 % point of `draws_B` [B].

    Bounds are draws themselves, never means of two draws, so draws may be infinite.

    Raises:
        ValueError: too few draws for the level.
    """
    tail = (1 - LEVEL) / 2
    rank = math.floor(tail * (len(draws_B) + 1))
    if rank < 1:
        raise ValueError(f"{len(draws_B)} draws have no {tail:.1%} point; take {1 / tail:.0f}")
    ordered = np.partition(draws_B, (rank - 1, len(draws_B) - rank))
    return Interval(float(ordered[rank - 1]), float(ordered[-rank]))
