"""A figure's rows as columns, so that a page with many figures stays small.

Owns the format, which `unpacked` in `assets/state.js` reads: a column is a list of its values, or,
if these repeat, `different` values and `among`, each row's index in them. Numbers are rounded to
six digits, more than a figure shows. The format is the same for all figures.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

_DIGITS = 6


def packed(rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """`rows` as their number and columns; missing values are null."""
    names = dict.fromkeys(name for row in rows for name in row)
    columns = {name: _column([_shortened(row.get(name)) for row in rows]) for name in names}
    return {"rows": len(rows), "columns": columns}


def _column(values: list[Any]) -> list[Any] | dict[str, Any]:
    places: dict[str, int] = {}
    among = [places.setdefault(json.dumps(value), len(places)) for value in values]
    if 2 * len(places) > len(values):
        return values
    return {"different": [json.loads(value) for value in places], "among": among}


def _shortened(value: Any) -> Any:
    return float(f"{value:.{_DIGITS}g}") if isinstance(value, float) else value
