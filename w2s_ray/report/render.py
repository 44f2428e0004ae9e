"""The PGR table in other forms: for a terminal, Markdown, CSV, JSON and Arrow.

Accuracies are shown in percent with one decimal and PGRs with two; machine-readable forms keep
every digit. It computes nothing: what a number means is said where it is made.
"""

from __future__ import annotations

import io
import json
from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any, Literal, get_args

from w2s_ray.report import layout
from w2s_ray.report.csv_text import Writer
from w2s_ray.report.markdown import escaped
from w2s_ray.report.sheet import Notes, Sheet
from w2s_ray.report.table_rows import Missing, PgrTable, Row

if TYPE_CHECKING:
    import pyarrow as pa
    from rich.console import Group

Part = Literal["rows", "by_seed", "by_method"]

ORACLE = "oracle stop"
ORACLE_MEANS = (
    "oracle stop: the student's accuracy (PGR), had ground truth chosen when it stops; "
    "it saw ground truth, and is not the method's result"
)
_COLUMNS = (
    "task",
    "weak → strong",
    "method",
    "weak",
    "student",
    "ceiling",
    "PGR",
    "seeds",
    "objective",
    ORACLE,
    "note",
)
_METHOD_COLUMNS = ("method", "median PGR", "rows", "objective", "note")
_NUMBERS = frozenset({"weak", "student", "ceiling", "PGR", "seeds", "median PGR", "rows", ORACLE})
_WRAPPED = frozenset({"task", "method"})
_NONE = "–"


def to_rich(table: PgrTable) -> Group:
    """What a terminal shows: the rows, and below them each method's median."""
    from rich.console import Group
    from rich.text import Text

    def shown(title: str, columns: Sequence[str], lines: Sequence[Sequence[str]]) -> Group:
        sheet = _sheet(title, columns, lines)
        made = layout.table(
            columns, sheet.lines, right=sheet.numbers, folded=_WRAPPED, dim={ORACLE}, title=title
        )
        return Group(made, *map(Text, sheet.notes))

    sweeps = dict.fromkeys(row.sweep for row in table.rows)
    parts = []
    for sweep in sweeps:
        columns, rows, methods = _lines(table, sweep)
        parts += [
            shown(f"{sweep}: accuracy in %{_intervals(table, sweep)}", columns, rows),
            *([Text(ORACLE_MEANS, style="dim")] if ORACLE in columns else []),
            "",
            shown("over tasks and pairs", _METHOD_COLUMNS, methods),
            "",
        ]
    return Group(*parts[:-1])


def to_markdown(table: PgrTable) -> str:
    """The same two tables as GitHub Markdown, under one heading for each sweep."""
    parts = []
    for sweep in dict.fromkeys(row.sweep for row in table.rows):
        columns, rows, methods = _lines(table, sweep)
        parts += [
            f"### {escaped(sweep)}",
            _markdown(columns, rows),
            *([ORACLE_MEANS] if ORACLE in columns else []),
            _markdown(_METHOD_COLUMNS, methods),
        ]
    return "\n\n".join(parts) + "\n" if parts else ""


def sheets(table: PgrTable) -> list[Sheet]:
    """The same two tables of each sweep, for other forms; notes are numbered below each."""
    found = []
    for sweep in dict.fromkeys(row.sweep for row in table.rows):
        columns, rows, methods = _lines(table, sweep)
        title = f"{sweep}: accuracy in %{_intervals(table, sweep)}"
        meant = (ORACLE_MEANS,) if ORACLE in columns else ()
        found += [
            _sheet(title, columns, rows, meant),
            _sheet(f"{sweep}: over tasks and pairs", _METHOD_COLUMNS, methods),
        ]
    return found


def _sheet(
    title: str, columns: Sequence[str], lines: Sequence[Sequence[str]], below: Sequence[str] = ()
) -> Sheet:
    notes = Notes()
    marked = tuple((*cells, notes.mark(note).strip()) for *cells, note in lines)
    return Sheet(title, tuple(columns), marked, _NUMBERS, (*notes.lines, *below))


def to_csv(table: PgrTable, part: Part = "rows") -> str:
    """One part of the table as CSV, with every digit."""
    from w2s_ray.report.schemas import SCHEMAS

    buffer = io.StringIO()
    Writer(buffer, SCHEMAS[part].names).write(
        {name: " ".join(v) if isinstance(v, list) else v for name, v in row.items()}
        for row in _flat(table, part)
    )
    return buffer.getvalue()


def to_json(table: PgrTable) -> str:
    """The whole table as JSON: `rows`, `by_seed` and `by_method`."""
    parts = {part: [asdict(row) for row in getattr(table, part)] for part in get_args(Part)}
    return json.dumps(parts, indent=1, allow_nan=False)


def to_arrow(table: PgrTable, part: Part = "rows") -> pa.Table:
    """One part of the table as Arrow, with the columns of `schemas.SCHEMAS`."""
    from w2s_ray.report.schemas import SCHEMAS
    from w2s_ray.store.tables import from_rows

    return from_rows(_flat(table, part), SCHEMAS[part])


def _flat(table: PgrTable, part: Part) -> list[dict[str, Any]]:
    """Rows of plain columns: the missing seeds as text, run ids as a list."""
    rows = [dict(vars(row)) for row in getattr(table, part)]
    if part == "rows":
        rows = [
            {**flat, "missing": _missing(row.missing), "runs": list(row.runs)}
            for flat, row in zip(rows, table.rows, strict=True)
        ]
    return rows


def _lines(table: PgrTable, sweep: str) -> tuple[tuple[str, ...], list[list[str]], list[list[str]]]:
    """The columns of the rows' table, the rows' text and that of the method rows of one sweep.

    What oracle stopping would have given is shown where it was noted for some row.
    """
    noted = any(row.oracle_stopped_student is not None for row in table.rows if row.sweep == sweep)
    rows = [
        [
            row.task,
            f"{row.weak} → {row.strong}",
            row.method,
            _percent(row.weak_accuracy),
            _percent(row.student_accuracy, row.student_low, row.student_high),
            _percent(row.ceiling_accuracy),
            _ratio(row.pgr, row.pgr_low, row.pgr_high),
            f"{row.seeds}/{row.of_seeds}",
            row.objective,
            *([_if_stopped(row)] if noted else []),
            _note(row),
        ]
        for row in table.rows
        if row.sweep == sweep
    ]
    methods = []
    for row in table.by_method:
        if row.sweep == sweep:
            counts = {
                "without a gap": row.undefined,
                "without a complete seed": row.missing,
                "left out (their own ground truth was searched)": row.left_out,
            }
            note = "; ".join(f"{count} {what}" for what, count in counts.items() if count)
            median = _ratio(row.median_pgr, row.median_low, row.median_high)
            methods.append([row.method, median, str(row.cells), row.objective, note])
    columns = tuple(column for column in _COLUMNS if noted or column != ORACLE)
    return columns, rows, methods


def _if_stopped(row: Row) -> str:
    """What oracle stopping would have given: the student's accuracy and, in brackets, PGR."""
    if row.oracle_stopped_student is None:
        return _NONE
    return f"{_percent(row.oracle_stopped_student)} ({_ratio(row.oracle_stopped_pgr)})"


def _intervals(table: PgrTable, sweep: str) -> str:
    """What brackets are, where a sweep's rows have any."""
    over = {row.intervals_over for row in table.rows if row.sweep == sweep}
    if "seeds and examples" in over:
        return ", [95 % interval over seeds and test examples]"
    return ", [95 % interval over test examples]" if "examples" in over else ""


def _percent(value: float | None, low: float | None = None, high: float | None = None) -> str:
    if value is None:
        return _NONE
    bounds = "" if low is None or high is None else f" [{100 * low:.1f}, {100 * high:.1f}]"
    return f"{100 * value:.1f}{bounds}"


def _ratio(value: float | None, low: float | None = None, high: float | None = None) -> str:
    if value is None:
        return _NONE
    return f"{value:.2f}" if low is None or high is None else f"{value:.2f} [{low:.2f}, {high:.2f}]"


def _note(row: Row) -> str:
    """Why there is no PGR or no interval, what an interval leaves out, which seeds are missing."""
    if row.seeds == 0:
        return row.reason or ""
    alone = "a single seed: its interval is over test examples alone"
    notes = (
        row.reason,
        f"no intervals: {row.no_intervals}" if row.no_intervals else None,
        alone if row.intervals_over == "examples" else None,
        _missing(row.missing),
    )
    return "; ".join(text for text in notes if text)


def _missing(missing: Sequence[Missing]) -> str:
    return "; ".join(f"seed {seed.seed}: {seed.why}" for seed in missing)


def _markdown(columns: Sequence[str], lines: Sequence[Sequence[str]]) -> str:
    rule = ["---:" if column in _NUMBERS else "---" for column in columns]
    table = [columns, rule, *([escaped(cell) for cell in line] for line in lines)]
    return "\n".join(f"| {' | '.join(line)} |" for line in table)
