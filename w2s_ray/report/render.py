"""The PGR table for a terminal, Markdown, LaTeX, CSV, JSON and Arrow.

Owns the shown columns. Accuracies are shown in percent with one decimal and PGRs with two decimals;
machine-readable formats have every digit. It computes no figures.
"""

from __future__ import annotations

import io
import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict, fields, replace
from typing import TYPE_CHECKING, Any, Literal, get_args

from w2s_ray.report import layout
from w2s_ray.report.columns import schema_of
from w2s_ray.report.csv_text import Writer
from w2s_ray.report.markdown import escaped
from w2s_ray.report.sheet import (
    NONE,
    NOTE,
    Sheet,
    SheetColumn,
    make_sheet,
    markdown_table,
    number,
    percent,
)
from w2s_ray.report.table_rows import MethodRow, Missing, PgrTable, Row, SeedRow

if TYPE_CHECKING:
    import pyarrow as pa
    from rich.console import Group

Part = Literal["rows", "by_seed", "by_method"]
ROW_TYPES: dict[Part, type] = {"rows": Row, "by_seed": SeedRow, "by_method": MethodRow}

ORACLE = "oracle stop"
ORACLE_NOTE = (
    "oracle stop: the student's accuracy (PGR), had ground truth chosen when it stops; "
    "it saw ground truth, and is not the method's result"
)
_FOLDED = frozenset({"task", "method"})


def _student(row: Row | SeedRow) -> str:
    return percent(row.student_accuracy, low=row.student_low, high=row.student_high)


def _oracle_stopped(row: Row | SeedRow) -> str:
    """The oracle-stopped student's accuracy, with its PGR in brackets."""
    if row.oracle_stopped_student is None:
        return NONE
    return f"{percent(row.oracle_stopped_student)} ({number(row.oracle_stopped_pgr)})"


_CELL: tuple[SheetColumn[Row | SeedRow], ...] = (
    SheetColumn("task", lambda row: row.task),
    SheetColumn("weak → strong", lambda row: f"{row.weak} → {row.strong}"),
    SheetColumn("method", lambda row: row.method),
)
_FIGURES: tuple[SheetColumn[Row | SeedRow], ...] = (
    SheetColumn("weak", lambda row: percent(row.weak_accuracy), True, "weak_accuracy"),
    SheetColumn("student", _student, True, "student_accuracy"),
    SheetColumn("ceiling", lambda row: percent(row.ceiling_accuracy), True, "ceiling_accuracy"),
    SheetColumn(
        "PGR",
        lambda row: number(row.pgr, low=row.pgr_low, high=row.pgr_high),
        is_number=True,
        field="pgr",
    ),
)
_OBJECTIVE: SheetColumn[Any] = SheetColumn("objective", lambda row: row.objective)
_ORACLE: SheetColumn[Row | SeedRow] = SheetColumn(ORACLE, _oracle_stopped, is_number=True)
_SEEDS: SheetColumn[Row] = SheetColumn("seeds", lambda row: f"{row.seeds}/{row.of_seeds}", True)
_SEED: SheetColumn[SeedRow] = SheetColumn("seed", lambda row: str(row.seed), is_number=True)
ROW_COLUMNS = (*_CELL, *_FIGURES, _SEEDS, _OBJECTIVE)
"""The columns of the PGR table, apart from oracle stopping and notes."""
_METHOD_COLUMNS: tuple[SheetColumn[MethodRow], ...] = (
    SheetColumn("method", lambda row: row.method),
    SheetColumn(
        "median PGR",
        lambda row: number(row.median_pgr, low=row.median_low, high=row.median_high),
        True,
    ),
    SheetColumn("rows", lambda row: str(row.cells), is_number=True),
    _OBJECTIVE,
)


def to_rich(table: PgrTable) -> Group:
    """The rows of each sweep and each method's median, for a terminal."""
    from rich.console import Group
    from rich.text import Text

    parts = []
    for rows, methods in _sheets_by_sweep(table).values():
        dim = [Text(ORACLE_NOTE, style="dim")] if ORACLE in rows.columns else []
        medians = replace(methods, title="over tasks and pairs")
        parts += [_to_rich(rows), *dim, "", _to_rich(medians), ""]
    return Group(*parts[:-1])


def _to_rich(sheet: Sheet) -> Group:
    from rich.console import Group
    from rich.text import Text

    shown = layout.table(
        sheet.columns,
        sheet.lines,
        right=sheet.numbers,
        folded=_FOLDED,
        dim={ORACLE},
        title=sheet.title,
    )
    return Group(shown, *map(Text, sheet.notes))


def to_markdown(table: PgrTable) -> str:
    """The same tables as GitHub Markdown, under one heading for each sweep."""
    parts = []
    for sweep, (rows, methods) in _sheets_by_sweep(table, numbered=False).items():
        oracle = [ORACLE_NOTE] if ORACLE in rows.columns else []
        parts += [f"### {escaped(sweep)}", markdown_table(rows), *oracle, markdown_table(methods)]
    return "\n\n".join(parts) + "\n" if parts else ""


def sheets(table: PgrTable) -> list[Sheet]:
    """The same tables for other formats, with numbered notes below each."""
    found = []
    for rows, methods in _sheets_by_sweep(table).values():
        oracle = (ORACLE_NOTE,) if ORACLE in rows.columns else ()
        found += [replace(rows, notes=(*rows.notes, *oracle)), methods]
    return found


def seed_sheets(rows: Iterable[SeedRow]) -> list[Sheet]:
    """A sheet for each sweep: a line for each seed, with intervals over test examples."""
    by_sweep: dict[str, list[SeedRow]] = {}
    for row in rows:
        by_sweep.setdefault(row.sweep, []).append(row)
    return [_seed_sheet(sweep, of_sweep) for sweep, of_sweep in by_sweep.items()]


def _seed_sheet(sweep: str, rows: Sequence[SeedRow]) -> Sheet:
    has_oracle = any(row.oracle_stopped_student is not None for row in rows)
    has_bounds = any(row.student_low is not None for row in rows)
    return make_sheet(
        f"{sweep}, seed by seed: accuracy in %"
        f"{', [95 % interval over test examples]' if has_bounds else ''}",
        (*_CELL, _SEED, *_FIGURES, _OBJECTIVE, *([_ORACLE] if has_oracle else [])),
        rows,
        notes=lambda row: ["; ".join(_filled(row.reason, _no_intervals(row)))],
        below=[ORACLE_NOTE] if has_oracle else [],
    )


def to_csv(table: PgrTable, part: Part = "rows") -> str:
    """One part of the table as CSV, with every digit."""
    buffer = io.StringIO()
    Writer(buffer, [field.name for field in fields(ROW_TYPES[part])]).write(
        {name: " ".join(v) if isinstance(v, list) else v for name, v in row.items()}
        for row in _flat(table, part)
    )
    return buffer.getvalue()


def to_json(table: PgrTable) -> str:
    """The whole table as JSON: `rows`, `by_seed` and `by_method`."""
    parts = {part: [asdict(row) for row in getattr(table, part)] for part in get_args(Part)}
    return json.dumps(parts, indent=1, allow_nan=False)


def to_arrow(table: PgrTable, part: Part = "rows") -> pa.Table:
    """One part of the table as Arrow, with the columns of its rows' type."""
    from w2s_ray.store.tables import from_rows

    return from_rows(_flat(table, part), schema_of(ROW_TYPES[part]))


def _flat(table: PgrTable, part: Part) -> list[dict[str, Any]]:
    """Rows of plain columns: the missing seeds as text, run ids as a list."""
    rows = [dict(vars(row)) for row in getattr(table, part)]
    if part == "rows":
        rows = [
            {**flat, "missing": _missing(row.missing), "runs": list(row.runs)}
            for flat, row in zip(rows, table.rows, strict=True)
        ]
    return rows


def _sheets_by_sweep(table: PgrTable, *, numbered: bool = True) -> dict[str, tuple[Sheet, Sheet]]:
    """Sweep -> the sheets of its rows and of its methods; notes are numbered below, or in place."""
    by_sweep = {}
    for sweep in dict.fromkeys(row.sweep for row in table.rows):
        rows = [row for row in table.rows if row.sweep == sweep]
        methods = [row for row in table.by_method if row.sweep == sweep]
        has_oracle = any(row.oracle_stopped_student is not None for row in rows)
        columns = (*ROW_COLUMNS, *([_ORACLE] if has_oracle else []))
        titles = (f"{sweep}: accuracy in %{_intervals(rows)}", f"{sweep}: over tasks and pairs")
        by_sweep[sweep] = (
            _sheet(titles[0], columns, rows, _row_note, numbered=numbered),
            _sheet(titles[1], _METHOD_COLUMNS, methods, _method_note, numbered=numbered),
        )
    return by_sweep


def _sheet(
    title: str, columns: Sequence[SheetColumn], rows: Sequence[Any], note: Any, *, numbered: bool
) -> Sheet:
    if numbered:
        return make_sheet(title, columns, rows, notes=lambda row: [note(row)])
    return make_sheet(title, (*columns, SheetColumn(NOTE, note)), rows)


def _intervals(rows: Sequence[Row]) -> str:
    """The meaning of brackets, if the rows have any."""
    over = {row.intervals_over for row in rows}
    if "seeds and examples" in over:
        return ", [95 % interval over seeds and test examples]"
    return ", [95 % interval over test examples]" if "examples" in over else ""


def _row_note(row: Row) -> str:
    """Why there is no PGR or interval, what an interval is over, what is missing or was cut."""
    if row.seeds == 0:
        return row.reason or ""
    one_seed = "a single seed: its interval is over test examples alone"
    return "; ".join(
        _filled(
            row.reason,
            _no_intervals(row),
            row.cut_shots,
            one_seed if row.intervals_over == "examples" else None,
            _missing(row.missing),
        )
    )


def _method_note(row: MethodRow) -> str:
    counts = {
        "without a gap": row.undefined,
        "without a complete seed": row.missing,
        "left out (their own ground truth was searched)": row.left_out,
    }
    return "; ".join(f"{count} {what}" for what, count in counts.items() if count)


def _no_intervals(row: Row | SeedRow) -> str | None:
    return f"no intervals: {row.no_intervals}" if row.no_intervals else None


def _filled(*texts: str | None) -> list[str]:
    return [text for text in texts if text]


def _missing(missing: Sequence[Missing]) -> str:
    return "; ".join(f"seed {seed.seed}: {seed.why}" for seed in missing)
