"""The kinds of text and numbers that fields of a sweep file share: names, places, seeds.

Owns their bounds and what is said where a value is out of them. It reads no file: whether something
lies at a place is checked where it is read.
"""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator, Field

from w2s_ray.errors import InputError
from w2s_ray.places import checked_path, checked_place
from w2s_ray.printable import is_printable, shown

LONGEST_NAME = 120


def _name(text: str) -> str:
    if not is_printable(text) or not text.strip():
        raise InputError(f"{shown(text)} is no name; use letters, digits and other visible signs")
    return text


Name = Annotated[str, Field(min_length=1, max_length=LONGEST_NAME), AfterValidator(_name)]
"""What something is called in tables."""
Line = Annotated[str, Field(max_length=300)]
"""A column, a revision, or another short text."""
LocalPath = Annotated[str, AfterValidator(checked_path)]
"""A file or folder on this machine."""
Place = Annotated[str, AfterValidator(checked_place)]
"""A folder, or the URI of one in an object store."""
Seed = Annotated[int, Field(ge=0, le=2**63 - 1)]
Rows = Annotated[int, Field(ge=2, le=1_000_000_000)]
"""A number of rows of a task."""
