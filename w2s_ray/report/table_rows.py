"""The rows of the PGR table, as values.

Owns the meaning of every column; how they are computed stands in `report.table`, their types in SQL
in `report.schemas`. `low` and `high` are the bounds of 95 % bootstrap intervals.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal, overload

from w2s_ray.store import Objective

Over = Literal["seeds and examples", "examples"]


@dataclass(frozen=True)
class SeedRow:
    """One cell: a task, a pair, a method and a seed. Its bounds are over test examples."""

    sweep: str
    task: str
    weak: str
    strong: str
    method: str
    seed: int
    objective: Objective
    weak_accuracy: float | None
    student_accuracy: float | None
    ceiling_accuracy: float | None
    pgr: float | None
    student_low: float | None
    student_high: float | None
    pgr_low: float | None
    pgr_high: float | None
    oracle_stopped_student: float | None
    """The student's accuracy, had ground truth chosen when it stops, which is not the method's
    result. None where it was not noted."""
    oracle_stopped_pgr: float | None
    """PGR of that student, with supervisor and ceiling as they are reported."""
    reason: str | None
    """Why there is no PGR: what is missing, or that there is no gap."""
    no_intervals: str | None
    """Why a seed with all three accuracies has no bounds."""
    supervisor: str
    student: str | None
    ceiling: str

    @property
    def is_complete(self) -> bool:
        return None not in (self.weak_accuracy, self.student_accuracy, self.ceiling_accuracy)


@dataclass(frozen=True)
class Missing:
    """A seed that a row's means leave out."""

    seed: int
    why: str


@dataclass(frozen=True)
class Row:
    """A task, a pair and a method: means over the complete seeds."""

    sweep: str
    task: str
    weak: str
    strong: str
    method: str
    objective: Objective
    """What chose the settings; `oracle` also where the cell's own ground truth did so otherwise."""
    weak_accuracy: float | None
    student_accuracy: float | None
    ceiling_accuracy: float | None
    pgr: float | None
    """PGR of the three means; None also where the gap's interval does not lie above 0."""
    weak_low: float | None
    weak_high: float | None
    student_low: float | None
    student_high: float | None
    ceiling_low: float | None
    ceiling_high: float | None
    gap_low: float | None
    """Of ceiling minus supervisor."""
    gap_high: float | None
    pgr_low: float | None
    pgr_high: float | None
    intervals_over: Over | None
    """What the bounds hold for: other seeds and other test examples, or, with a single seed, these
    very runs on other examples. None where there are no bounds."""
    no_intervals: str | None
    """Why a row with a complete seed has no bounds."""
    oracle_stopped_student: float | None
    """Mean accuracy of the students, had ground truth chosen when they stop, which is not the
    method's result. None unless every seed of the mean has it."""
    oracle_stopped_pgr: float | None
    """PGR of that mean, with supervisor and ceiling as they are reported."""
    reason: str | None
    """Why there is no PGR."""
    seeds: int
    """Seeds that the means are over."""
    of_seeds: int
    """Seeds that the sweep asks for."""
    student_sd: float | None
    """Sample standard deviation of the student's accuracy over seeds; None with fewer than two."""
    pgr_sd: float | None
    """The same for the PGR of each seed, over the seeds whose ceiling beats their supervisor."""
    missing: tuple[Missing, ...]
    runs: tuple[str, ...]
    """Ids of the runs that the means are over."""


@dataclass(frozen=True)
class MethodRow:
    """A method over all tasks and pairs of a sweep."""

    sweep: str
    method: str
    objective: Objective
    median_pgr: float | None
    median_low: float | None
    """Tasks and pairs are taken as given: for other seeds and examples of the same rows."""
    median_high: float | None
    cells: int
    """Rows that the median is over."""
    undefined: int
    """Rows without a gap to recover, or whose gap may be none."""
    missing: int
    """Rows without a complete seed."""
    left_out: int
    """Rows whose own ground truth chose the setting, beside rows for which it did not."""


class SeedRows(Sequence[SeedRow]):
    """Rows that are made when they are first looked at: there are many, and few ask for them."""

    def __init__(self, make: Callable[[], tuple[SeedRow, ...]]) -> None:
        self._make = make

    @cached_property
    def _made(self) -> tuple[SeedRow, ...]:
        return self._make()

    @overload
    def __getitem__(self, index: int) -> SeedRow: ...
    @overload
    def __getitem__(self, index: slice) -> tuple[SeedRow, ...]: ...
    def __getitem__(self, index: int | slice) -> SeedRow | tuple[SeedRow, ...]:
        return self._made[index]

    def __iter__(self) -> Iterator[SeedRow]:
        return iter(self._made)

    def __len__(self) -> int:
        return len(self._made)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Sequence) and self._made == tuple(other)

    def __hash__(self) -> int:
        return hash(self._made)


@dataclass(frozen=True)
class PgrTable:
    """Everything that a sweep says about PGR."""

    rows: tuple[Row, ...]
    by_seed: Sequence[SeedRow]
    by_method: tuple[MethodRow, ...]


def as_answer(table: PgrTable) -> dict[str, Any]:
    """A sweep's rows as JSON can hold them, for `from_answer`."""
    return {
        "rows": [
            {**vars(row), "missing": [vars(one) for one in row.missing]} for row in table.rows
        ],
        "by_method": [vars(row) for row in table.by_method],
    }


def from_answer(told: Mapping[str, Any], *, sweep: str) -> PgrTable:
    """The rows again, without those of single seeds."""
    rows = []
    for row in told["rows"]:
        missing = tuple(Missing(**one) for one in row["missing"])
        rows.append(Row(**{**row, "sweep": sweep, "missing": missing, "runs": tuple(row["runs"])}))
    by_method = (MethodRow(**{**row, "sweep": sweep}) for row in told["by_method"])
    return PgrTable(tuple(rows), (), tuple(by_method))
