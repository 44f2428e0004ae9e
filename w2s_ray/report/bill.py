"""The cost of a sweep in device time, and of each of its cells beside the cell's PGR.

Owns the runs that a cell counts: its supervisor, ceiling, student and studies in full, even if
other cells share them. `status.spending` sums up the records. There are no prices and no estimates
here.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from w2s_ray.report.table_rows import PgrTable
from w2s_ray.status.spending import Spending, Spent
from w2s_ray.store import Cell


@dataclass(frozen=True)
class CellCost:
    """The device time of one row of the PGR table, over its seeds."""

    task: str
    weak: str
    strong: str
    method: str
    student_seconds: float
    cell_seconds: float
    """Time of supervisors, ceilings, students and the trials of their studies, shared runs
    included."""
    pgr: float | None

    @property
    def pgr_per_hour(self) -> float | None:
        """PGR per device hour of the cell."""
        if self.pgr is None or not self.cell_seconds:
            return None
        return self.pgr / (self.cell_seconds / 3600)


@dataclass(frozen=True)
class Bill:
    """The cost of a sweep so far."""

    spent: tuple[Spent, ...]
    cells: tuple[CellCost, ...]

    @property
    def device_seconds(self) -> float:
        """The sum of all device time."""
        return sum(row.total for row in self.spent)


def bill(cells: Sequence[Cell], table: PgrTable, spending: Spending) -> Bill:
    """The bill of a sweep's cells, from the spending of their runs."""
    return Bill(spending.rows, tuple(_cells(cells, table, spending)))


def _cells(cells: Sequence[Cell], table: PgrTable, spending: Spending) -> Iterator[CellCost]:
    pgrs = {(r.task, r.weak, r.strong, r.method): r.pgr for r in table.rows}
    places: dict[tuple[str, str, str, str], list[Cell]] = {}
    for cell in cells:
        places.setdefault((cell.task, cell.weak, cell.strong, cell.method), []).append(cell)
    for place, members in places.items():
        students = dict.fromkeys(cell.student for cell in members if cell.student)
        others = dict.fromkeys(r for cell in members for r in cell.runs if r not in students)
        studies = dict.fromkeys(study for cell in members for study in cell.studies)
        student, other = (sum(spending.of_runs.get(r, 0.0) for r in s) for s in (students, others))
        searched = sum(spending.of_studies.get(study, 0.0) for study in studies)
        yield CellCost(
            *place,
            student_seconds=student,
            cell_seconds=student + other + searched,
            pgr=pgrs.get(place),
        )
