"""The objective of a row, and which rows of a method are counted in medians and comparisons.

A row is honest if ground truth of its own task and student's model chose no setting. Rows of a
lower rank are counted only where a method has no others.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Literal, TypeVar

RowObjective = Literal["none", "transfer", "transfer, same student", "weak_validation", "oracle"]
"""As the sweep's objective; `transfer, same student`: the study used ground truth of the same task
and strong model, with another supervisor; `oracle`: ground truth of the cell itself."""

LEFT_OUT = "left out (ground truth of the same task and student chose their settings)"
SAME_STUDENT: RowObjective = "transfer, same student"
_RANK: dict[RowObjective, int] = {SAME_STUDENT: 1, "oracle": 2}
"""Rank of the objectives that aren't honest; that of others is 0."""

Item = TypeVar("Item")


def is_honest(objective: RowObjective) -> bool:
    """Whether no ground truth of the row's task and student chose its settings."""
    return objective not in _RANK


def least_honest(objectives: Sequence[RowObjective]) -> RowObjective:
    """The objective of a row from those of its seeds."""
    return max(objectives, key=lambda objective: _RANK.get(objective, 0))


def counted(items: Sequence[Item], *, by: Callable[[Item], RowObjective]) -> list[Item]:
    """The honest items; if there are none, those of the next rank that has any."""
    ranks = [_RANK.get(by(item), 0) for item in items]
    return [item for item, rank in zip(items, ranks, strict=True) if rank == min(ranks)]
