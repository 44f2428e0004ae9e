"""Arrow tables as pandas frames whose columns have one type whatever their rows hold.

Owns the types: whole numbers and truths stay what they are where some are missing, and an empty
column has the type of a full one. It knows no table.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pyarrow as pa

if TYPE_CHECKING:
    import pandas as pd


def to_frame(table: pa.Table) -> pd.DataFrame:
    """`table` as a frame: `Int64` and its like, `boolean`, `string`; real numbers as `float64`."""
    import pandas as pd

    types = {
        pa.bool_(): pd.BooleanDtype(),
        pa.string(): pd.StringDtype(),
        **{
            getattr(pa, name.lower())(): getattr(pd, f"{name}Dtype")()
            for name in ("Int8", "Int16", "Int32", "Int64", "UInt8", "UInt16", "UInt32", "UInt64")
        },
    }
    return table.to_pandas(types_mapper=types.get)
