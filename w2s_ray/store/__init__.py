"""Results that outlive the process: records, Parquet files, manifests, and SQL over them.

Owns the layout on disk and everything that is read from it. It imports neither torch nor Ray, and
computes no PGR.
"""

from w2s_ray.store.errors import StoreError, StoreUnavailable
from w2s_ray.store.records import Cell, Manifest, Objective, Record, Status, utc_now
from w2s_ray.store.store import Store

__all__ = [
    "Cell",
    "Manifest",
    "Objective",
    "Record",
    "Status",
    "Store",
    "StoreError",
    "StoreUnavailable",
    "utc_now",
]
