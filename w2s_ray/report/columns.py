"""Columns of computed tables, each declared once: at a field of the dataclass that is a row.

A field's annotation gives the column's type and `column` its meaning. The schema in SQL, Arrow, CSV
and pandas and the documentation of the table follow from these.
"""

from __future__ import annotations

from dataclasses import field, fields
from functools import cache
from types import NoneType, UnionType
from typing import TYPE_CHECKING, Any, Literal, Union, get_args, get_origin, get_type_hints

if TYPE_CHECKING:
    import pyarrow as pa


def column(meaning: str, *, as_text: bool = False) -> Any:
    """A dataclass field that is a column; `as_text`: its cells are text, whatever its type."""
    return field(metadata={"meaning": meaning, "as_text": as_text})


@cache
def schema_of(row: type) -> pa.Schema:
    """The columns of a dataclass of rows; the metadata `meaning` describes each."""
    import pyarrow as pa

    types = get_type_hints(row)
    return pa.schema(
        pa.field(
            each.name,
            pa.string() if each.metadata["as_text"] else _arrow_type(types[each.name]),
            metadata={"meaning": each.metadata["meaning"]},
        )
        for each in fields(row)
    )


def _arrow_type(annotation: Any) -> pa.DataType:
    import pyarrow as pa

    if get_origin(annotation) in (Union, UnionType):
        (annotation,) = (each for each in get_args(annotation) if each is not NoneType)
    if get_origin(annotation) is Literal:
        return pa.string()
    if get_origin(annotation) is tuple:
        return pa.list_(_arrow_type(get_args(annotation)[0]))
    return {str: pa.string(), float: pa.float64(), int: pa.int64()}[annotation]
