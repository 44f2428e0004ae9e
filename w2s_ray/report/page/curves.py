"""Training and validation curves, thinned for a page.

Owns the thinning: a curve of many steps keeps every k-th step and the last, with the least k that
gives at most `POINTS` points. Nothing is averaged, so every shown point was measured. All metrics
are treated alike.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from w2s_ray.store import Store
from w2s_ray.store.sql_query import query

POINTS = 80
"""Largest number of points of one metric of one run."""

_DIGITS = 5

_THINNED = """
select run_id, metric, list(step order by step) as steps, list(value order by step) as values,
  any_value(measured) as measured
from (
  select run_id, metric, step, value, count(*) over whole as measured,
    row_number() over (partition by run_id, metric order by step) as place
  from metrics where run_id in ({ids})
  window whole as (partition by run_id, metric)
)
where place = measured or (place - 1) % greatest(1, ceil((measured - 1) / ({points} - 1))) = 0
group by run_id, metric order by run_id, metric
"""


def curves(store: Store, ids: Sequence[str]) -> dict[str, dict[str, Any]]:
    """Run id -> metric -> `steps`, `values` and `measured`, the number of points before thinning.

    Values have five digits, and are None if they are not finite.
    """
    found: dict[str, dict[str, Any]] = {}
    if not ids:
        return found
    listed = ", ".join(f"'{id_}'" for id_ in ids)  # ids are checked names, without quotes
    for row in query(store, _THINNED.format(ids=listed, points=POINTS)).to_pylist():
        found.setdefault(row["run_id"], {})[row["metric"]] = {
            "steps": row["steps"],
            "values": [_shortened(value) for value in row["values"]],
            "measured": row["measured"],
        }
    return found


def _shortened(value: float | None) -> float | None:
    if value is None or not math.isfinite(value):
        return None
    return float(f"{value:.{_DIGITS}g}")
