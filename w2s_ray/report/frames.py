"""Arrow tables as pandas frames; the type of a column does not depend on its values.

Owns the types: integers and booleans keep their types where values are missing, and empty columns
have the types of full ones. It is the same for all tables.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pyarrow as pa

if TYPE_CHECKING:
    import pandas as pd


def to_frame(table: pa.Table) -> pd.DataFrame:
    """`table` as a frame: nullable integers (`Int64`), `boolean`, `string`, and `float64`."""
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
