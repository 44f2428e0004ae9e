"""The PGR table's single seeds as sheets, one for each sweep.

Owns their columns and notes. It computes nothing; what a figure means is said in `report.rows`.
"""

from __future__ import annotations

from collections.abc import Sequence

from w2s_ray.report.render import ORACLE, ORACLE_MEANS
from w2s_ray.report.sheet import NONE, Notes, Sheet, number
from w2s_ray.report.table_rows import SeedRow

_PLACE = ("task", "weak → strong", "method", "seed")
_FIGURES = ("weak", "student", "ceiling", "PGR")


def sheets(rows: Sequence[SeedRow]) -> list[Sheet]:
    """A line for each seed, with the 95 % intervals over test examples alone."""
    of_sweep: dict[str, list[SeedRow]] = {}
    for row in rows:
        of_sweep.setdefault(row.sweep, []).append(row)
    return [_sheet(sweep, found) for sweep, found in of_sweep.items()]


def _sheet(sweep: str, rows: Sequence[SeedRow]) -> Sheet:
    notes = Notes()
    noted = any(row.oracle_stopped_student is not None for row in rows)
    bounded = any(row.student_low is not None for row in rows)
    over = ", [95 % interval over test examples]" if bounded else ""
    return Sheet(
        title=f"{sweep}, seed by seed: accuracy in %{over}",
        columns=(*_PLACE, *_FIGURES, "objective", *([ORACLE] if noted else []), "note"),
        lines=tuple(_line(row, notes, noted=noted) for row in rows),
        numbers=frozenset({"seed", *_FIGURES, ORACLE}),
        notes=(*notes.lines, *([ORACLE_MEANS] if noted else [])),
    )


def _line(row: SeedRow, notes: Notes, *, noted: bool) -> tuple[str, ...]:
    lacking = f"no intervals: {row.no_intervals}" if row.no_intervals else None
    return (
        row.task,
        f"{row.weak} → {row.strong}",
        row.method,
        str(row.seed),
        _percent(row.weak_accuracy),
        _percent(row.student_accuracy, row.student_low, row.student_high),
        _percent(row.ceiling_accuracy),
        number(row.pgr, low=row.pgr_low, high=row.pgr_high),
        row.objective,
        *([_if_stopped(row)] if noted else []),
        notes.mark("; ".join(text for text in (row.reason, lacking) if text)).strip(),
    )


def _if_stopped(row: SeedRow) -> str:
    if row.oracle_stopped_student is None:
        return NONE
    return f"{_percent(row.oracle_stopped_student)} ({number(row.oracle_stopped_pgr)})"


def _percent(value: float | None, low: float | None = None, high: float | None = None) -> str:
    scaled = [None if figure is None else 100 * figure for figure in (value, low, high)]
    return number(scaled[0], low=scaled[1], high=scaled[2], digits=1)
