"""The shown columns of the PGR table: of its rows, of single seeds and of methods.

Owns headings, their order for each metric, and the texts of cells. It computes no figures.
"""

from __future__ import annotations

from w2s_ray.report.metric import Metric
from w2s_ray.report.metric import text as figure_text
from w2s_ray.report.sheet import NONE, SheetColumn, number, percent
from w2s_ray.report.table_rows import MethodRow, Row, SeedRow

ORACLE = "oracle stop"
"""Heading of the column of oracle stopping."""


def _oracle_stopped(row: Row | SeedRow) -> str:
    """The oracle-stopped student's accuracy, with its PGR in brackets.

    ≥ marks that evaluations after early stopping are missing.
    """
    if row.oracle_stopped_student is None:
        return NONE
    at_least = "≥ " if row.oracle_stopped_cut else ""
    return f"{at_least}{percent(row.oracle_stopped_student)} ({number(row.oracle_stopped_pgr)})"


def _weak(row: Row) -> str:
    return percent(row.weak_accuracy, low=row.weak_low, high=row.weak_high)


def _ceiling(row: Row) -> str:
    return percent(row.ceiling_accuracy, low=row.ceiling_low, high=row.ceiling_high)


def _objective(row: Row) -> str:
    """The objective, with the number of trials that were made by it."""
    return f"{row.objective}, {row.trials} trials" if row.trials else row.objective


_CELL: tuple[SheetColumn[Row | SeedRow], ...] = (
    SheetColumn("task", lambda row: row.task),
    SheetColumn("weak → strong", lambda row: f"{row.weak} → {row.strong}"),
    SheetColumn("method", lambda row: row.method),
)
_WEAK: SheetColumn[Row | SeedRow] = SheetColumn(
    "weak", lambda row: percent(row.weak_accuracy), True, "weak_accuracy"
)
_STUDENT: SheetColumn[Row | SeedRow] = SheetColumn(
    "student", lambda row: figure_text(row, "accuracy"), True, "student_accuracy"
)
_CEILING: SheetColumn[Row | SeedRow] = SheetColumn(
    "ceiling", lambda row: percent(row.ceiling_accuracy), True, "ceiling_accuracy"
)
_GAIN: SheetColumn[Row | SeedRow] = SheetColumn(
    "gain", lambda row: figure_text(row, "gain"), True, "gain"
)
_PGR: SheetColumn[Row | SeedRow] = SheetColumn(
    "PGR", lambda row: figure_text(row, "pgr"), True, "pgr"
)
_FIGURES = (_WEAK, _STUDENT, _CEILING, _GAIN, _PGR)
_SEED_OBJECTIVE: SheetColumn[SeedRow] = SheetColumn("objective", lambda row: row.objective)
_OBJECTIVE: SheetColumn[Row] = SheetColumn("objective", _objective)
ORACLE_COLUMN: SheetColumn[Row | SeedRow] = SheetColumn(ORACLE, _oracle_stopped, is_number=True)
_SEEDS: SheetColumn[Row] = SheetColumn("seeds", lambda row: f"{row.seeds}/{row.of_seeds}", True)
_SEED: SheetColumn[SeedRow] = SheetColumn("seed", lambda row: str(row.seed), is_number=True)
ROW_COLUMNS = (*_CELL, *_FIGURES, _SEEDS, _OBJECTIVE)
"""The columns of the PGR table, apart from oracle stopping and notes."""
COLUMNS_OF: dict[Metric, tuple[SheetColumn[Row], ...]] = {
    "accuracy": (
        *_CELL,
        SheetColumn("weak", _weak, is_number=True),
        _STUDENT,
        SheetColumn("ceiling", _ceiling, is_number=True),
        _GAIN,
        _SEEDS,
        _OBJECTIVE,
    ),
    "gain": (*_CELL, _WEAK, _STUDENT, _CEILING, _GAIN, _SEEDS, _OBJECTIVE),
    "pgr": ROW_COLUMNS,
}
_METHOD: SheetColumn[MethodRow] = SheetColumn("method", lambda row: row.method)
_METHOD_OBJECTIVE: SheetColumn[MethodRow] = SheetColumn("objective", lambda row: row.objective)
_COMPLETE: SheetColumn[MethodRow] = SheetColumn("rows", lambda row: str(row.complete_cells), True)
METHOD_COLUMNS: dict[Metric, tuple[SheetColumn[MethodRow], ...]] = {
    "accuracy": (
        _METHOD,
        SheetColumn(
            "median accuracy",
            lambda row: percent(
                row.median_accuracy, low=row.median_accuracy_low, high=row.median_accuracy_high
            ),
            is_number=True,
        ),
        _COMPLETE,
        _METHOD_OBJECTIVE,
    ),
    "gain": (
        _METHOD,
        SheetColumn(
            "median gain",
            lambda row: percent(
                row.median_gain, low=row.median_gain_low, high=row.median_gain_high, signed=True
            ),
            is_number=True,
        ),
        _COMPLETE,
        _METHOD_OBJECTIVE,
    ),
    "pgr": (
        _METHOD,
        SheetColumn(
            "median PGR",
            lambda row: number(row.median_pgr, low=row.median_low, high=row.median_high),
            is_number=True,
        ),
        SheetColumn("rows", lambda row: str(row.cells), is_number=True),
        SheetColumn(
            "over its own rows",
            lambda row: f"{number(row.own_median_pgr)} ({row.own_cells})",
            is_number=True,
        ),
        _METHOD_OBJECTIVE,
    ),
}
SEED_COLUMNS: dict[Metric, tuple[SheetColumn[SeedRow], ...]] = {
    "accuracy": (*_CELL, _SEED, _WEAK, _STUDENT, _CEILING, _GAIN, _SEED_OBJECTIVE),
    "gain": (*_CELL, _SEED, _WEAK, _STUDENT, _CEILING, _GAIN, _SEED_OBJECTIVE),
    "pgr": (*_CELL, _SEED, *_FIGURES, _SEED_OBJECTIVE),
}
"""Metric -> the columns of the table of seeds, apart from oracle stopping and notes."""
