"""The cost of each row of the PGR table beside its PGR, for a terminal and for documents.

Owns the columns and their wording. The sums come from `status.spending` and `bill`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

from w2s_ray.report.bill import CellCost, bill
from w2s_ray.report.sheet import NONE, Sheet, SheetColumn, make_sheet, number
from w2s_ray.report.table_rows import PgrTable
from w2s_ray.status.spending import SpendingReader
from w2s_ray.store import Cell, Store

_COLUMNS: tuple[SheetColumn[CellCost], ...] = (
    SheetColumn("task", lambda cost: cost.task),
    SheetColumn("weak → strong", lambda cost: f"{cost.weak} → {cost.strong}"),
    SheetColumn("method", lambda cost: cost.method),
    SheetColumn("PGR", lambda cost: number(cost.pgr), is_number=True),
    SheetColumn("student, h", lambda cost: f"{cost.student_seconds / 3600:.3g}", is_number=True),
    SheetColumn("whole cell, h", lambda cost: f"{cost.cell_seconds / 3600:.3g}", is_number=True),
    SheetColumn(
        "PGR per device hour",
        lambda cost: NONE if cost.pgr_per_hour is None else f"{cost.pgr_per_hour:.3g}",
        is_number=True,
    ),
)
WHOLE_CELL_NOTE = (
    "a whole cell is its supervisors, ceilings, students and the trials of its studies over all "
    "seeds, runs shared with other cells included, in hours of one device"
)


def sheets(cells: Mapping[str, Sequence[Cell]], table: PgrTable, store: Store) -> Iterator[Sheet]:
    """A sheet for each sweep (name -> its cells) of the store."""
    reader = SpendingReader(store)
    for name, of_sweep in cells.items():
        runs = (run for cell in of_sweep for run in cell.runs)
        studies = {study: cell.method for cell in of_sweep for study in cell.studies}
        spending = reader.of(dict.fromkeys(runs, "fit"), studies)
        own = replace(table, rows=tuple(row for row in table.rows if row.sweep == name))
        costs = bill(of_sweep, own, spending).cells
        yield make_sheet(f"{name}: cost", _COLUMNS, costs, below=[WHOLE_CELL_NOTE])
