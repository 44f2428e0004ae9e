"""A split's rows as a fit reads them from the store, checked against their fingerprint.

Owns the check alone: a run's id contains the fingerprint of its rows, so other rows under that name
would train under a false id. It repairs nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from w2s_ray.data.split import are_rows_of
from w2s_ray.errors import InputError
from w2s_ray.store import Store

if TYPE_CHECKING:
    import pyarrow as pa


def stored_split(store: Store, fingerprint: str, *, sealed: bool = False) -> pa.Table:
    """The rows of a split.

    If `sealed`, they have no test labels, which the fingerprint includes, so they can't be checked
    here. The driver writes them from checked rows at each start of a sweep.

    Raises:
        StoreError: the file is damaged.
        InputError: its rows have another fingerprint.
    """
    if sealed:
        return store.splits.rows(fingerprint, sealed=True)
    rows = store.splits.rows(fingerprint)
    check_rows(rows, store, fingerprint)
    return rows


def check_rows(rows: pa.Table, store: Store, fingerprint: str) -> None:
    """Refuse rows of `store` that don't match the split's fingerprint.

    Raises:
        InputError: they have another fingerprint.
    """
    try:
        whole = are_rows_of(rows, expected=fingerprint)
    except (ValueError, KeyError):  # values that no split has
        whole = False
    if not whole:
        where = f"{store.uri}/splits/{fingerprint}/rows.parquet"
        raise InputError(
            f"{where} has other rows than the split {fingerprint}: it was damaged or changed; move "
            "the folder away and run the sweep again, which writes the split again from the task's "
            "data"
        )
