"""The base class of the pydantic models for sweep files, recipes and methods.

Owns the error of a value made in Python: an `InputError` with the lines that a sweep file gives.
`model_validate` raises pydantic's own error; the readers of files add places to its lines.
"""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError

from w2s_ray.errors import InputError
from w2s_ray.validation import problems_of


class Frozen(BaseModel):
    """An immutable pydantic model that refuses unknown keys, NaN and infinity."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    def __init__(self, /, **values: Any) -> None:
        """The model with these values.

        Raises:
            InputError: an unknown key, or an invalid or missing value; one line for each.
        """
        __tracebackhide__ = True
        try:
            super().__init__(**values)
        except ValidationError as error:
            found = problems_of(error, type(self), values)
            raise InputError(*(f"{type(self).__name__}: {one.line}" for one in found)) from None

    # As in BaseModel: values within another model are validated without this method.
    __init__.__pydantic_base_init__ = True  # pyright: ignore[reportFunctionMemberAccess]
