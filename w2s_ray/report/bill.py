"""What a sweep has cost, beside what came of it: each cell's share of the spending, and its PGR.

Owns what a cell counts: its supervisor, ceiling, student and study in full, whoever shares them.
The sums over records are `spent`'s. It knows no prices and no estimates.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from w2s_ray.report.table_rows import PgrTable
from w2s_ray.status.spending import Spending, Spent
from w2s_ray.store import Cell


@dataclass(frozen=True)
class CellCost:
    """What one row of the table took, over its seeds."""

    task: str
    weak: str
    strong: str
    method: str
    student_seconds: float
    cell_seconds: float
    """Of supervisors, ceilings, students and the trials of their study, whoever else uses them."""
    pgr: float | None

    @property
    def pgr_per_hour(self) -> float | None:
        """PGR for each device hour of the cell."""
        if self.pgr is None or not self.cell_seconds:
            return None
        return self.pgr / (self.cell_seconds / 3600)


@dataclass(frozen=True)
class Bill:
    """What a sweep has cost so far."""

    spent: tuple[Spent, ...]
    cells: tuple[CellCost, ...]

    @property
    def device_seconds(self) -> float:
        """All of it."""
        return sum(row.total for row in self.spent)


def bill(cells: Sequence[Cell], table: PgrTable, spending: Spending) -> Bill:
    """The bill of a sweep's cells, whose runs have taken `spending`."""
    return Bill(spending.rows, tuple(_cells(cells, table, spending)))


def _cells(cells: Sequence[Cell], table: PgrTable, spending: Spending) -> Iterator[CellCost]:
    pgrs = {(r.task, r.weak, r.strong, r.method): r.pgr for r in table.rows}
    places: dict[tuple[str, str, str, str], list[Cell]] = {}
    for cell in cells:
        places.setdefault((cell.task, cell.weak, cell.strong, cell.method), []).append(cell)
    for place, members in places.items():
        students = dict.fromkeys(cell.student for cell in members if cell.student)
        others = dict.fromkeys(r for cell in members for r in (cell.supervisor, cell.ceiling))
        studies = dict.fromkeys(cell.study for cell in members if cell.study)
        student, other = (sum(spending.of_runs.get(r, 0.0) for r in s) for s in (students, others))
        searched = sum(spending.of_studies.get(study, 0.0) for study in studies)
        yield CellCost(
            *place,
            student_seconds=student,
            cell_seconds=student + other + searched,
            pgr=pgrs.get(place),
        )
