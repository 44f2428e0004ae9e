"""Comparisons of methods as sheets, CSV, JSON and Arrow.

Owns the shown columns, their units and notes. It computes no figures.
"""

from __future__ import annotations

import io
import json
from collections.abc import Iterable
from dataclasses import asdict, fields

import pyarrow as pa

from w2s_ray.report.columns import schema_of
from w2s_ray.report.comparison import Comparison, Quantity
from w2s_ray.report.csv_text import Writer
from w2s_ray.report.objectives import LEFT_OUT, is_honest
from w2s_ray.report.sheet import NONE, Sheet, SheetColumn, make_sheet, number
from w2s_ray.store.tables import from_rows

_ONE_SEED = "one seed: the interval is over test examples alone"
_LABELS: dict[Quantity, str] = {
    "pgr": "PGR",
    "student_accuracy": "student accuracy in percentage points",
}


def sheets(comparisons: Iterable[Comparison]) -> list[Sheet]:
    """A sheet for each sweep, other method and quantity, a line for each method."""
    families: dict[tuple[str, str, Quantity], list[Comparison]] = {}
    for one in comparisons:
        families.setdefault((one.sweep, one.against, one.quantity), []).append(one)
    return [
        make_sheet(
            f"{sweep}: {_LABELS[quantity]} beyond {against}'s [95 % interval{_over(family)}]",
            _COLUMNS,
            family,
            notes=_notes,
        )
        for (sweep, against, quantity), family in families.items()
    ]


def _over(family: Iterable[Comparison]) -> str:
    is_over_tasks = any(one.intervals_over == "tasks" for one in family)
    return " over tasks" if is_over_tasks else ""


def to_csv(comparisons: Iterable[Comparison]) -> str:
    """One line per comparison, with every digit."""
    buffer = io.StringIO()
    Writer(buffer, [each.name for each in fields(Comparison)]).write(map(asdict, comparisons))
    return buffer.getvalue()


def to_json(comparisons: Iterable[Comparison]) -> str:
    """The comparisons as a list."""
    return json.dumps([asdict(one) for one in comparisons], indent=1, allow_nan=False)


def to_arrow(comparisons: Iterable[Comparison]) -> pa.Table:
    """The comparisons with one column for each field."""
    return from_rows(map(asdict, comparisons), schema_of(Comparison))


def _difference(one: Comparison, value: float | None, low: float | None, high: float | None) -> str:
    digits, unit = (1, 100) if one.quantity == "student_accuracy" else (2, 1)
    scaled = [None if figure is None else unit * figure for figure in (value, low, high)]
    return number(scaled[0], low=scaled[1], high=scaled[2], digits=digits, signed=True)


def _p(value: float | None) -> str:
    if value is None:
        return NONE
    return f"{value:.3f}" if value >= 0.001 else "<0.001"


def _notes(one: Comparison) -> list[str]:
    """Why rows are left out, how both methods were tuned, which controls they don't beat, what the
    interval covers, and why there is no interval or no p.
    """
    counts = {
        "without a gap to recover": one.without_pgr,
        LEFT_OUT: one.left_out,
        "without a seed complete in both": one.missing,
    }
    return [
        *(
            f"{count} {'row' if count == 1 else 'rows'} {why}"
            for why, count in counts.items()
            if count
        ),
        *_tuning_notes(one),
        *(
            f"{name} does not beat the controls {controls}"
            for name, controls in ((one.method, one.unbeaten), (one.against, one.against_unbeaten))
            if controls
        ),
        *([_ONE_SEED] if one.intervals_over == "examples" else []),
        *(text for text in (one.no_interval, one.no_p if one.rows else None) if text),
    ]


def _tuning_notes(one: Comparison) -> list[str]:
    """What besides the method differs between the two sides: search budget, training, stopping."""
    names = {"method": (one.method, one.against), "against": (one.against, one.method)}
    sides = names.get(one.stops_early)
    stopping = "early stopping differs between rows" if one.stops_early == "some" else None
    if sides is not None:
        stopping = f"{sides[0]} stops early, {sides[1]} does not"
    budgets = one.trials, one.against_trials
    compared = one.rows or None not in budgets  # without rows there is no number to be unknown
    honesty = {is_honest(one.objective), is_honest(one.against_objective)}
    return [
        text
        for text in (
            f"tuned with {_trials(budgets[0])}, {one.against} with {_trials(budgets[1])}"
            if compared and budgets[0] != budgets[1]
            else None,
            f"{one.method} is {one.objective}, {one.against} is {one.against_objective}"
            if len(honesty) > 1
            else None,
            stopping,
            f"students differ in {one.differs}" if one.differs else None,
        )
        if text
    ]


def _trials(count: int | None) -> str:
    return "an unknown number of trials" if count is None else f"{count or 'no'} trials"


_COLUMNS: tuple[SheetColumn[Comparison], ...] = (
    SheetColumn("method", lambda one: one.method),
    SheetColumn(
        "mean", lambda one: _difference(one, one.mean, one.mean_low, one.mean_high), is_number=True
    ),
    SheetColumn(
        "median",
        lambda one: _difference(one, one.median, one.median_low, one.median_high),
        is_number=True,
    ),
    SheetColumn("p", lambda one: _p(one.p), is_number=True),
    SheetColumn("p (Holm)", lambda one: _p(one.p_holm), is_number=True),
    SheetColumn("rows", lambda one: str(one.rows), is_number=True),
    SheetColumn("objective", lambda one: one.objective),
)
