"""The curve of a trial that trains several cells: one time axis for all of them.

Owns the order of positions: the cells' evaluations in a fixed sequence, cell after cell. The value
at a position is the mean of the final values of all earlier cells and the current cell's value. So
trials can be compared before they have trained every cell, whatever the order of their fits. It
depends on numbers alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from statistics import fmean

Points = list[tuple[int, float]]
"""Positions, from 1, with their values."""


class TrialCurve:
    """The curve of one trial so far.

    A position has a value once all earlier ones have. A value never changes: a fit that restarts
    and reports its evaluations again has no effect.
    """

    def __init__(self, evaluations: Sequence[int]) -> None:
        """`evaluations`: how many each cell has at most."""
        self.evaluations = tuple(evaluations)
        self.values: list[float] = []
        """The curve so far: the value at position n is `values[n - 1]`."""
        self._observed: list[dict[int, float]] = [{} for _ in self.evaluations]
        self._finals: dict[int, float] = {}

    @property
    def length(self) -> int:
        """Positions of the whole curve."""
        return sum(self.evaluations)

    def observe(self, cell: int, evaluation: int, value: float) -> Points:
        """Add the `evaluation`-th evaluation (from 1) of `cell`; the new points of the curve.

        Raises:
            ValueError: an evaluation that the cell can't have.
        """
        if not 1 <= evaluation <= self.evaluations[cell]:
            raise ValueError(
                f"evaluation {evaluation} of cell {cell}, which has {self.evaluations[cell]}; "
                "give the curve as many as the cell's fit makes"
            )
        self._observed[cell].setdefault(evaluation, value)
        return self._extend()

    def end_cell(self, cell: int, final: float) -> Points:
        """Add the objective of the cell's finished fit; the new points of the curve.

        Evaluations that the fit skipped, since it stopped early, count as `final`.
        """
        self._finals.setdefault(cell, final)
        return self._extend()

    def _extend(self) -> Points:
        """Extend the curve as far as possible; its new points."""
        before = len(self.values)
        while (value := self._next_value()) is not None:
            self.values.append(value)
        return list(enumerate(self.values[before:], start=before + 1))

    def _next_value(self) -> float | None:
        """The value at the first position without one, or None if it can't be computed yet."""
        cell, evaluation = 0, len(self.values) + 1
        while cell < len(self.evaluations) and evaluation > self.evaluations[cell]:
            evaluation -= self.evaluations[cell]
            cell += 1
        if cell == len(self.evaluations) or any(c not in self._finals for c in range(cell)):
            return None
        value = self._observed[cell].get(evaluation, self._finals.get(cell))
        return None if value is None else fmean([*(self._finals[c] for c in range(cell)), value])
