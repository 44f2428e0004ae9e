"""What a regular expression finds in a completion is the answer.

Owns the check that no completion makes the search take forever: repeats within repeats are refused,
and only the end of a text is searched.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from importlib import import_module
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field

from w2s_ray.errors import InputError
from w2s_ray.methods.extractors.extractor import Extractor
from w2s_ray.printable import shown

MOST_CHARACTERS = 500
"""Characters at the end of a text that are searched."""
_MOST_TIMES = 9
"""Largest number of times that alternatives and repeats may be repeated."""


def _checked(pattern: str) -> str:
    try:
        groups = re.compile(pattern).groups
    except (re.error, OverflowError, RecursionError) as error:
        why = " ".join(str(error).split())
        raise InputError(f"{shown(pattern)} is no regular expression: {why}; correct it") from None
    if groups != 1:
        raise InputError(
            f"{shown(pattern)} has {groups} groups, and the answer is what one group matches; "
            "write one (...), and (?:...) for the others"
        )
    if any(_varying(import_module("re._parser").parse(pattern), repeated=False)):
        raise InputError(
            f"{shown(pattern)} repeats a repeat or alternatives, for which some completions take "
            "forever; write one set of characters in its place, such as [0-9,]+"
        )
    return pattern


def _varying(parsed: Any, *, repeated: bool) -> Iterator[bool]:
    """For each part of a parsed pattern, whether it is within a repeat and varies.

    A parsed pattern is a sequence of (operator, arguments), and arguments may have such sequences.
    """
    if not (hasattr(parsed, "state") or isinstance(parsed, list | tuple)):
        return
    for part in parsed:
        name = getattr(part[0], "name", "") if isinstance(part, tuple) and part else ""
        if name.endswith("_REPEAT"):
            least, most, inner = part[1]
            yield repeated and least != most
            yield from _varying(inner, repeated=repeated or most > _MOST_TIMES)
        else:
            yield repeated and name == "BRANCH"
            yield from _varying(part, repeated=repeated)


class Regex(Extractor):
    """What the group of a regular expression matches in the text, at its last match.

    Only the last 500 characters of a text are searched.
    """

    kind: Literal["regex"] = "regex"
    pattern: Annotated[str, Field(min_length=1, max_length=500), AfterValidator(_checked)]
    """A regular expression of Python with one group, such as `#### ([0-9,.-]+)`. Repeats and
    alternatives within a repeat are refused, because some texts would take forever."""

    def extract(self, text: str) -> str | None:
        found = re.findall(self.pattern, text[-MOST_CHARACTERS:])
        return found[-1] if found else None
