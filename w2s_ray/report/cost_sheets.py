"""What each row of the PGR table took, beside its PGR, for a terminal and for documents.

Owns the columns and their words. The sums are `spent`'s and `bill`'s.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

from w2s_ray.report.bill import CellCost, bill
from w2s_ray.report.sheet import Sheet, number
from w2s_ray.report.table_rows import PgrTable
from w2s_ray.status.spending import SpendingReader
from w2s_ray.store import Cell, Store

_NUMBERS = ("PGR", "student, h", "whole cell, h", "PGR per device hour")
_COLUMNS = ("task", "weak → strong", "method", *_NUMBERS)
MEANS = (
    "a whole cell is its supervisors, ceilings, students and the trials of its study over all "
    "seeds, whoever shares them, in hours of one device"
)


def sheets(cells: Mapping[str, Sequence[Cell]], table: PgrTable, store: Store) -> Iterator[Sheet]:
    """A sheet for each sweep (name -> its cells) of the store."""
    accounts = SpendingReader(store)
    for name, of_sweep in cells.items():
        runs = (r for c in of_sweep for r in (c.supervisor, c.ceiling, c.student) if r)
        studies = {cell.study: cell.method for cell in of_sweep if cell.study}
        spending = accounts.of(dict.fromkeys(runs, "fit"), studies)
        own = replace(table, rows=tuple(row for row in table.rows if row.sweep == name))
        lines = map(_line, bill(of_sweep, own, spending).cells)
        yield Sheet(f"{name}: cost", _COLUMNS, tuple(lines), frozenset(_NUMBERS), (MEANS,))


def _line(cost: CellCost) -> tuple[str, ...]:
    return (
        cost.task,
        f"{cost.weak} → {cost.strong}",
        cost.method,
        number(cost.pgr),
        f"{cost.student_seconds / 3600:.3g}",
        f"{cost.cell_seconds / 3600:.3g}",
        "–" if cost.pgr_per_hour is None else f"{cost.pgr_per_hour:.3g}",
    )
