"""The PGR table in other forms: for a terminal, Markdown, CSV, JSON, Arrow and pandas.

Accuracies are shown in percent with one decimal and PGRs with two; machine-readable forms keep
every digit. It computes nothing: what a number means is said where it is made.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any, Literal

from w2s_ray.report.table import Missing, PgrTable, Row

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa
    from rich.console import Group

Part = Literal["rows", "by_seed", "by_method"]

_ORACLE = "oracle stop"
_ORACLE_MEANS = (
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
    _ORACLE,
    "note",
)
_METHOD_COLUMNS = ("method", "median PGR", "rows", "objective", "note")
_NUMBERS = frozenset({"weak", "student", "ceiling", "PGR", "seeds", "median PGR", "rows", _ORACLE})
_WRAPPED = frozenset({"task", "method"})
_NONE = "–"


def to_rich(table: PgrTable) -> Group:
    """What a terminal shows: the rows, and below them each method's median."""
    from rich.console import Group
    from rich.table import Table
    from rich.text import Text

    def shown(title: str, columns: Sequence[str], lines: Sequence[Sequence[str]]) -> Group:
        made = Table(title=title, title_justify="left", show_edge=False)
        for column in columns:
            justify = "right" if column in _NUMBERS else "left"
            made.add_column(
                column,
                justify=justify,
                no_wrap=column not in _WRAPPED,
                style="dim" if column == _ORACLE else "",
            )
        notes = list(dict.fromkeys(line[-1] for line in lines if line[-1]))
        for *cells, note in lines:
            marks = f"({notes.index(note) + 1})" if note else ""
            made.add_row(*(Text(cell) for cell in cells), Text(marks))
        return Group(made, *(Text(f"({i}) {note}") for i, note in enumerate(notes, start=1)))

    sweeps = dict.fromkeys(row.sweep for row in table.rows)
    parts = []
    for sweep in sweeps:
        columns, rows, methods = _lines(table, sweep)
        parts += [
            shown(f"{sweep}: accuracy in %, ± over seeds", columns, rows),
            *([Text(_ORACLE_MEANS, style="dim")] if _ORACLE in columns else []),
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
            f"### {_escaped(sweep)}",
            _markdown(columns, rows),
            *([_ORACLE_MEANS] if _ORACLE in columns else []),
            _markdown(_METHOD_COLUMNS, methods),
        ]
    return "\n\n".join(parts) + "\n" if parts else ""


def to_csv(table: PgrTable, part: Part = "rows") -> str:
    """One part of the table as CSV, with every digit."""
    from w2s_ray.report.schemas import SCHEMAS

    buffer = io.StringIO()
    writer = csv.DictWriter(buffer, SCHEMAS[part].names, lineterminator="\n")
    writer.writeheader()
    for row in _flat(table, part):
        writer.writerow(
            {
                name: " ".join(value) if isinstance(value, list) else value
                for name, value in row.items()
            }
        )
    return buffer.getvalue()


def to_json(table: PgrTable) -> str:
    """The whole table as JSON: `rows`, `by_seed` and `by_method`."""
    return json.dumps(asdict(table), indent=1, allow_nan=False)


def to_arrow(table: PgrTable, part: Part = "rows") -> pa.Table:
    """One part of the table as Arrow, with the columns of `schemas.SCHEMAS`."""
    from w2s_ray.report.schemas import SCHEMAS
    from w2s_ray.store.tables import from_rows

    return from_rows(_flat(table, part), SCHEMAS[part])


def to_frame(table: PgrTable, part: Part = "rows") -> pd.DataFrame:
    """One part of the table as a pandas frame."""
    return to_arrow(table, part).to_pandas()


def _flat(table: PgrTable, part: Part) -> list[dict[str, Any]]:
    """Rows of plain columns: the missing seeds as text, run ids as a list."""
    rows = [asdict(row) for row in getattr(table, part)]
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
            _percent(row.student_accuracy, sd=row.student_sd),
            _percent(row.ceiling_accuracy),
            _ratio(row.pgr, sd=row.pgr_sd),
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
            methods.append(
                [row.method, _ratio(row.median_pgr), str(row.cells), row.objective, note]
            )
    columns = tuple(column for column in _COLUMNS if noted or column != _ORACLE)
    return columns, rows, methods


def _if_stopped(row: Row) -> str:
    """What oracle stopping would have given: the student's accuracy and, in brackets, PGR."""
    if row.oracle_stopped_student is None:
        return _NONE
    return f"{_percent(row.oracle_stopped_student)} ({_ratio(row.oracle_stopped_pgr)})"


def _percent(value: float | None, *, sd: float | None = None) -> str:
    spread = "" if sd is None else f" ± {100 * sd:.1f}"
    return _NONE if value is None else f"{100 * value:.1f}{spread}"


def _ratio(value: float | None, *, sd: float | None = None) -> str:
    spread = "" if sd is None else f" ± {sd:.2f}"
    return _NONE if value is None else f"{value:.2f}{spread}"


def _note(row: Row) -> str:
    """Why there is no PGR, or which seeds are missing."""
    if row.seeds == 0:
        return row.reason or ""
    return "; ".join(text for text in (row.reason, _missing(row.missing)) if text)


def _missing(missing: Sequence[Missing]) -> str:
    return "; ".join(f"seed {seed.seed}: {seed.why}" for seed in missing)


def _markdown(columns: Sequence[str], lines: Sequence[Sequence[str]]) -> str:
    rule = ["---:" if column in _NUMBERS else "---" for column in columns]
    table = [columns, rule, *([_escaped(cell) for cell in line] for line in lines)]
    return "\n".join(f"| {' | '.join(line)} |" for line in table)


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace("|", "\\|").replace("\n", " ")
