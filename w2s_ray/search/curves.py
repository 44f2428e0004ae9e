"""The curve of a trial that trains several cells: one time axis for all of them.

Owns the order of positions: the cells' evaluations in a fixed sequence, cell after cell. The value
at a position is the mean of the final values of all earlier cells and the current cell's value. So
trials can be compared before they have trained every cell, in whatever order their fits run. It
knows nothing of what a fit or a study is.
"""

from __future__ import annotations

from collections.abc import Sequence
from statistics import fmean

Known = list[tuple[int, float]]
"""Positions, from 1, with their values."""


class TrialCurve:
    """What one trial has shown so far.

    A position becomes known when all earlier ones are. What has been said of a position stays: a
    fit that starts again and tells its evaluations once more changes nothing.
    """

    def __init__(self, evaluations: Sequence[int]) -> None:
        """`evaluations`: how many each cell has at most."""
        self.evaluations = tuple(evaluations)
        self.values: list[float] = []
        """The curve so far: the value at position n is `values[n - 1]`."""
        self._told: list[dict[int, float]] = [{} for _ in self.evaluations]
        self._finals: dict[int, float] = {}

    @property
    def length(self) -> int:
        """Positions of the whole curve."""
        return sum(self.evaluations)

    def observed(self, cell: int, evaluation: int, value: float) -> Known:
        """Note the `evaluation`-th evaluation (from 1) of `cell`; the positions known by it.

        Raises:
            ValueError: an evaluation that the cell can't have.
        """
        if not 1 <= evaluation <= self.evaluations[cell]:
            raise ValueError(
                f"evaluation {evaluation} of cell {cell}, which has {self.evaluations[cell]}; "
                "give the curve as many as the cell's fit makes"
            )
        self._told[cell].setdefault(evaluation, value)
        return self._grown()

    def cell_ended(self, cell: int, final: float) -> Known:
        """Note the objective of the cell's finished fit; the positions known by it.

        Evaluations that the fit didn't make, since it stopped early, count as `final`.
        """
        self._finals.setdefault(cell, final)
        return self._grown()

    def _grown(self) -> Known:
        """Add to the curve what is known by now."""
        before = len(self.values)
        while (value := self._next()) is not None:
            self.values.append(value)
        return list(enumerate(self.values[before:], start=before + 1))

    def _next(self) -> float | None:
        """The value at the first position that the curve lacks, or None if it isn't known yet."""
        cell, evaluation = 0, len(self.values) + 1
        while cell < len(self.evaluations) and evaluation > self.evaluations[cell]:
            evaluation -= self.evaluations[cell]
            cell += 1
        if cell == len(self.evaluations) or any(c not in self._finals for c in range(cell)):
            return None
        value = self._told[cell].get(evaluation, self._finals.get(cell))
        return None if value is None else fmean([*(self._finals[c] for c in range(cell)), value])
