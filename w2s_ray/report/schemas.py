"""Arrow schemas of the PGR table's parts and of savings: their columns in SQL, CSV and pandas.

Owns names and types alone; the meaning of a column stands at the field of the same name in
`report.rows` and `report.savings`.
"""

from __future__ import annotations

from collections.abc import Mapping

import pyarrow as pa

from w2s_ray.store.tables import schema

_TEXT, _REAL, _WHOLE = pa.string(), pa.float64(), pa.int64()


_PLACE = ("sweep task weak strong method", _TEXT)
_FIGURES = ("weak_accuracy student_accuracy ceiling_accuracy pgr", _REAL)
_STOPPED = ("oracle_stopped_student oracle_stopped_pgr", _REAL)

SCHEMAS: Mapping[str, pa.Schema] = {
    "rows": schema(
        _PLACE,
        ("objective", _TEXT),
        _FIGURES,
        ("weak_low weak_high student_low student_high ceiling_low ceiling_high", _REAL),
        ("gap_low gap_high pgr_low pgr_high", _REAL),
        ("intervals_over no_intervals", _TEXT),
        _STOPPED,
        ("reason", _TEXT),
        ("seeds of_seeds", _WHOLE),
        ("student_sd pgr_sd", _REAL),
        ("missing", _TEXT),
        ("runs", pa.list_(_TEXT)),
    ),
    "by_seed": schema(
        _PLACE,
        ("seed", _WHOLE),
        ("objective", _TEXT),
        _FIGURES,
        ("student_low student_high pgr_low pgr_high", _REAL),
        _STOPPED,
        ("reason no_intervals supervisor student ceiling", _TEXT),
    ),
    "by_method": schema(
        ("sweep method objective", _TEXT),
        ("median_pgr median_low median_high", _REAL),
        ("cells undefined missing left_out", _WHOLE),
    ),
    "savings": schema(
        ("sweep", _TEXT),
        ("early_stopping", _REAL),
        ("stopping_fits", _WHOLE),
        ("pruning", _REAL),
        ("pruning_studies pruned_trials trials unpriced_trials", _WHOLE),
    ),
}
