"""Comparisons of methods as sheets, CSV, JSON and Arrow.

Owns the wording: what is in percentage points, and which counts are worth a note. It computes
nothing.
"""

from __future__ import annotations

import io
import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict

import pyarrow as pa

from w2s_ray.report.comparison import COMPARISONS, Comparison, Quantity
from w2s_ray.report.csv_text import Writer
from w2s_ray.report.sheet import NONE, Notes, Sheet, number
from w2s_ray.store.tables import from_rows

_COLUMNS = ("method", "mean", "median", "p", "p (Holm)", "rows", "objective", "note")
_NUMBERS = frozenset({"mean", "median", "p", "p (Holm)", "rows"})
_CALLED: dict[Quantity, str] = {
    "pgr": "PGR",
    "student_accuracy": "student accuracy in percentage points",
}


def sheets(comparisons: Iterable[Comparison]) -> list[Sheet]:
    """A sheet for each sweep, other method and quantity, a line for each method."""
    families: dict[tuple[str, str, Quantity], list[Comparison]] = {}
    for one in comparisons:
        families.setdefault((one.sweep, one.against, one.quantity), []).append(one)
    return [
        _sheet(f"{sweep}: {_CALLED[quantity]} beyond {against}'s [95 % interval]", family)
        for (sweep, against, quantity), family in families.items()
    ]


def to_csv(comparisons: Iterable[Comparison]) -> str:
    """One line per comparison, with every digit."""
    buffer = io.StringIO()
    Writer(buffer, COMPARISONS.names).write(map(asdict, comparisons))
    return buffer.getvalue()


def to_json(comparisons: Iterable[Comparison]) -> str:
    """The comparisons as a list."""
    return json.dumps([asdict(one) for one in comparisons], indent=1, allow_nan=False)


def to_arrow(comparisons: Iterable[Comparison]) -> pa.Table:
    """The comparisons with the columns of `COMPARISONS`."""
    return from_rows(map(asdict, comparisons), COMPARISONS)


def _sheet(title: str, family: Sequence[Comparison]) -> Sheet:
    notes = Notes()
    return Sheet(
        title=title,
        columns=_COLUMNS,
        lines=tuple(_line(one, notes) for one in family),
        numbers=_NUMBERS,
        notes=notes.lines,
    )


def _line(one: Comparison, notes: Notes) -> tuple[str, ...]:
    digits, unit = (1, 100) if one.quantity == "student_accuracy" else (2, 1)

    def difference(value: float | None, low: float | None, high: float | None) -> str:
        scaled = [None if figure is None else unit * figure for figure in (value, low, high)]
        return number(scaled[0], low=scaled[1], high=scaled[2], digits=digits, signed=True)

    return (
        one.method,
        difference(one.mean, one.mean_low, one.mean_high),
        difference(one.median, one.median_low, one.median_high),
        _p(one.p),
        _p(one.p_holm),
        str(one.rows),
        one.objective,
        " ".join(notes.mark(note).strip() for note in _said(one)),
    )


def _p(value: float | None) -> str:
    if value is None:
        return NONE
    return f"{value:.3f}" if value >= 0.001 else "<0.001"


def _said(one: Comparison) -> list[str]:
    """What a reader should know of a comparison."""
    counts = {
        "without a gap to recover": one.without_pgr,
        "left out (their own ground truth was searched)": one.left_out,
        "without a seed complete in both": one.missing,
    }
    return [
        *(f"{count} rows {why}" for why, count in counts.items() if count),
        *(["one seed: the interval is over test examples alone"] if one.seeds == 1 else []),
        *(text for text in (one.no_interval, one.no_p) if text),
    ]
