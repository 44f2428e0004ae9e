"""Field types that several sections of a sweep file share: names, paths, seeds, row counts.

Owns their bounds and error messages. It opens no files: the readers check whether a path exists.
"""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator, Field

from w2s_ray.errors import InputError
from w2s_ray.paths import checked_folder_or_uri, checked_path
from w2s_ray.printable import is_printable, shown

LONGEST_NAME = 120


def _name(text: str) -> str:
    if not is_printable(text) or not text.strip():
        raise InputError(f"{shown(text)} is not a name; use letters, digits or other visible signs")
    return text


def _words(words: tuple[str, ...]) -> tuple[str, ...]:
    plain = {word.strip() for word in words}
    if "" in plain or len(plain) < max(2, len(words)):
        raise InputError(
            f"write two or more different words, one for each class (got {list(words)})"
        )
    return words


Name = Annotated[str, Field(min_length=1, max_length=LONGEST_NAME), AfterValidator(_name)]
"""A name that tables show."""
Line = Annotated[str, Field(max_length=300)]
"""A column, a revision, or another short text."""
Words = Annotated[
    tuple[Line, ...],
    Field(max_length=1000, json_schema_extra={"minItems": 2}),
    AfterValidator(_words),
]
"""The words that a prompted model chooses between, one for each class."""
LocalPath = Annotated[str, AfterValidator(checked_path)]
"""A file or folder on this machine."""
FolderOrUri = Annotated[str, AfterValidator(checked_folder_or_uri)]
"""A folder on this machine, or the URI of a folder in an object store."""
Seed = Annotated[int, Field(ge=0, le=2**63 - 1)]
RowCount = Annotated[int, Field(ge=2, le=1_000_000_000)]
"""A number of rows of a task."""
