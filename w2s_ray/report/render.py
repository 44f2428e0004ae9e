"""The PGR table for a terminal, Markdown, LaTeX, CSV, JSON and Arrow.

Owns the shown columns. Accuracies are shown in percent with one decimal and PGRs with two decimals;
machine-readable formats have every digit. It computes no figures.
"""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass, fields, replace
from functools import partial
from typing import TYPE_CHECKING, Any, Literal, get_args

from w2s_ray.report import layout
from w2s_ray.report.columns import schema_of
from w2s_ray.report.csv_text import Writer
from w2s_ray.report.markdown import escaped
from w2s_ray.report.metric import Metric
from w2s_ray.report.objectives import LEFT_OUT
from w2s_ray.report.sheet import (
    NOTE,
    Sheet,
    SheetColumn,
    make_sheet,
    markdown_table,
)
from w2s_ray.report.table_columns import (
    COLUMNS_OF,
    METHOD_COLUMNS,
    ORACLE,
    ORACLE_COLUMN,
    SEED_COLUMNS,
)
from w2s_ray.report.table_rows import MethodRow, Missing, PgrTable, Row, SeedRow

if TYPE_CHECKING:
    import pyarrow as pa
    from rich.console import Group

Part = Literal["rows", "by_seed", "by_method"]
ROW_TYPES: dict[Part, type] = {"rows": Row, "by_seed": SeedRow, "by_method": MethodRow}

ORACLE_NOTE = (
    "oracle stop: the student's accuracy (PGR), had ground truth chosen when it stops; "
    "it saw ground truth, and is not the method's result"
)
CUT_NOTE = (
    "≥: early stopping ended the student before its schedule, so the evaluations after that, which "
    "may be better, are missing"
)
_FOLDED = frozenset({"task", "method", "student", "gain", "PGR", "objective"})
CONTROLS_NOTE = (
    "controls learn nothing of the task, apart from the ground truth of few rows; a method shows "
    "something only if it beats them"
)
MEDIANS_NOTE = "medians are over the tasks and pairs that every method has"
"""Of the headline medians."""
PARTLY_NOTE = "used on some of the tasks, so over their own rows alone"
"""Of methods without a headline median."""
NEW_TASKS_NOTE = "intervals are for new tasks: tasks were resampled, and not seeds and test rows"
"""Of medians with `--over-tasks`."""


def to_rich(table: PgrTable, *, metric: Metric = "pgr") -> Group:
    """The rows of each sweep and each method's median, for a terminal."""
    from rich.console import Group
    from rich.text import Text

    parts = []
    for of_sweep in _sheets_by_sweep(table, metric=metric).values():
        dim = [Text(note, style="dim") for note in _oracle_notes(of_sweep.rows)]
        medians = replace(of_sweep.methods, title="over tasks and pairs")
        parts += [_to_rich(of_sweep.rows), *dim, ""]
        parts += [_to_rich(of_sweep.controls), ""] if of_sweep.controls else []
        parts += [_to_rich(medians), ""]
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


def to_markdown(table: PgrTable, *, metric: Metric = "pgr") -> str:
    """The same tables as GitHub Markdown, under one heading for each sweep."""
    parts = []
    by_sweep = _sheets_by_sweep(table, metric=metric, numbered=False)
    for sweep, found in by_sweep.items():
        parts += [f"### {escaped(sweep)}", markdown_table(found.rows), *_oracle_notes(found.rows)]
        if found.controls is not None:
            parts += ["Controls:", markdown_table(found.controls), *found.controls.notes]
        parts += [markdown_table(found.methods), *found.methods.notes]
    return "\n\n".join(parts) + "\n" if parts else ""


def sheets(table: PgrTable, *, metric: Metric = "pgr") -> list[Sheet]:
    """The same tables for other formats, with numbered notes below each."""
    found = []
    for each in _sheets_by_sweep(table, metric=metric).values():
        found.append(replace(each.rows, notes=(*each.rows.notes, *_oracle_notes(each.rows))))
        found += filter(None, (each.controls, each.methods))
    return found


def _oracle_notes(sheet: Sheet) -> list[str]:
    """The meaning of the column of oracle stopping, if the sheet has it."""
    if ORACLE not in sheet.columns:
        return []
    at = sheet.columns.index(ORACLE)
    cut = any(line[at].startswith("≥") for line in sheet.lines)
    return [ORACLE_NOTE, *([CUT_NOTE] if cut else [])]


def seed_sheets(rows: Iterable[SeedRow], *, metric: Metric = "pgr") -> list[Sheet]:
    """A sheet for each sweep, and one for its controls: a line for each seed, with intervals over
    test examples.
    """
    by_sweep: dict[str, list[SeedRow]] = {}
    for row in rows:
        by_sweep.setdefault(f"{row.sweep}{', controls' * row.control}", []).append(row)
    return [_seed_sheet(name, of_sweep, metric) for name, of_sweep in by_sweep.items()]


def _seed_sheet(sweep: str, rows: Sequence[SeedRow], metric: Metric) -> Sheet:
    has_oracle = any(row.oracle_stopped_student is not None for row in rows)
    has_bounds = any(row.student_low is not None for row in rows)
    made = make_sheet(
        f"{sweep}, seed by seed: accuracy in %"
        f"{', [95 % interval over test examples]' if has_bounds else ''}",
        (*SEED_COLUMNS[metric], *([ORACLE_COLUMN] if has_oracle else [])),
        rows,
        notes=lambda row: ["; ".join(_filled(*_about_pgr(row, metric), _no_intervals(row)))],
    )
    return replace(made, notes=(*made.notes, *_oracle_notes(made)))


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


@dataclass(frozen=True)
class _SweepSheets:
    """The sheets of one sweep."""

    rows: Sheet
    controls: Sheet | None
    methods: Sheet


def _sheets_by_sweep(
    table: PgrTable, *, metric: Metric, numbered: bool = True
) -> dict[str, _SweepSheets]:
    """The sheets of each sweep; notes are numbered below, or in place."""
    by_sweep = {}
    for sweep in dict.fromkeys(row.sweep for row in table.rows):
        every = [row for row in table.rows if row.sweep == sweep]
        rows = [row for row in every if not row.control]
        controls = [row for row in every if row.control]
        methods = [row for row in table.by_method if row.sweep == sweep]
        has_oracle = any(row.oracle_stopped_student is not None for row in rows)
        columns = (*COLUMNS_OF[metric], *([ORACLE_COLUMN] if has_oracle else []))
        title, row_notes = f"accuracy in %{_intervals(rows)}", partial(_row_notes, metric=metric)
        by_sweep[sweep] = _SweepSheets(
            _sheet(f"{sweep}: {title}", columns, rows, row_notes, numbered=numbered),
            _sheet(
                f"{sweep}: controls, {title}",
                COLUMNS_OF[metric],
                controls,
                row_notes,
                numbered=numbered,
                below=[CONTROLS_NOTE],
            )
            if controls
            else None,
            _sheet(
                f"{sweep}: over tasks and pairs",
                METHOD_COLUMNS[metric],
                methods,
                partial(_method_notes, metric=metric),
                numbered=numbered,
                below=_about_medians(methods),
            ),
        )
    return by_sweep


def _about_medians(methods: Sequence[MethodRow]) -> list[str]:
    """What medians and their intervals are over."""
    over_tasks = any(row.intervals_over == "tasks" for row in methods)
    on_all = any(row.complete_cells for row in methods)
    partly = [row.method for row in methods if on_all and row.own_cells and not row.complete_cells]
    return [
        *([MEDIANS_NOTE] if len(methods) > 1 else []),
        *(
            [f"used on some of the tasks, so over their own rows alone: {', '.join(partly)}"]
            if partly
            else []
        ),
        *([NEW_TASKS_NOTE] if over_tasks else []),
    ]


def _sheet(
    title: str,
    columns: Sequence[SheetColumn],
    rows: Sequence[Any],
    notes: Callable[[Any], list[str]],
    *,
    numbered: bool,
    below: Sequence[str] = (),
) -> Sheet:
    if numbered:
        return make_sheet(title, columns, rows, notes=notes, below=below)
    in_place = SheetColumn(NOTE, lambda row: "; ".join(notes(row)))
    return make_sheet(title, (*columns, in_place), rows, below=below)


def _intervals(rows: Sequence[Row]) -> str:
    """The meaning of brackets, if the rows have any."""
    over = {row.intervals_over for row in rows}
    if "seeds and examples" in over:
        return ", [95 % interval over seeds and test examples]"
    return ", [95 % interval over test examples]" if "examples" in over else ""


def _row_notes(row: Row, *, metric: Metric) -> list[str]:
    """Why there is no PGR or interval, how the student was tuned, and which seeds are missing."""
    if row.seeds == 0:
        return _filled(row.reason)
    one_seed = "a single seed: its interval is over test examples alone, so it is about these runs"
    return _filled(
        *_about_pgr(row, metric),
        _few_seeds(row) if metric == "pgr" else None,
        _no_intervals(row),
        row.used_truth,
        row.cut_shots,
        row.one_class,
        row.low_contrast,
        one_seed if row.intervals_over == "examples" else None,
        _differs(row.differs_from_ceiling, "its ceiling"),
        _differs(row.differs_from_naive, "naive's student"),
        f"does not beat the controls {row.unbeaten}" if row.unbeaten else None,
        _missing(row.missing),
    )


def _about_pgr(row: Row | SeedRow, metric: Metric) -> tuple[str | None, ...]:
    """Why there is no PGR or why it says little; of other metrics only why a seed is missing."""
    if metric == "pgr" or row.student_accuracy is None:
        return row.reason, row.pgr_caution
    return ()


def _few_seeds(row: Row) -> str | None:
    """What would be enough seeds for a PGR, if a few left the interval of a gap at 0."""
    if row.pgr is not None or row.pgr_estimate is None:
        return None
    enough = (
        f"about {row.enough_seeds} seeds would be enough if gap and spread stay as they are"
        if row.enough_seeds is not None
        else "more seeds would not be enough for this gap; more test rows may be"
    )
    return f"≈ is an estimate from {row.seeds} seeds, without an interval; {enough}"


def _differs(settings: str | None, other: str) -> str | None:
    return f"trained otherwise than {other}: {settings}" if settings else None


def _method_notes(row: MethodRow, *, metric: Metric) -> list[str]:
    """Which rows the medians leave out; gaps concern only medians of PGR."""
    gaps = {"without a gap": row.undefined, "with a small gap": row.small_gaps}
    counts = {
        **(gaps if metric == "pgr" else {}),
        "without a complete seed": row.missing,
        LEFT_OUT: row.left_out,
    }
    return [f"{count} {what}" for what, count in counts.items() if count]


def _no_intervals(row: Row | SeedRow) -> str | None:
    return f"no intervals: {row.no_intervals}" if row.no_intervals else None


def _filled(*texts: str | None) -> list[str]:
    return [text for text in texts if text]


def _missing(missing: Sequence[Missing]) -> str:
    return "; ".join(f"seed {seed.seed}: {seed.why}" for seed in missing)
