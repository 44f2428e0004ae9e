"""The base class of extractors: settings, and a function from a text to the answer in it.

Owns the form in which answers are compared. Answers are equal if this form is the same text, in
the metrics of fits, in reports, in votes and in the agreement of two models. An extractor gets a
completion or a right answer, never the row that it is of, and executes nothing that is in it.
"""

from __future__ import annotations

import re

from w2s_ray.errors import InputError
from w2s_ray.frozen import Frozen
from w2s_ray.methods.kinds import kind_of
from w2s_ray.printable import shown

_NUMBER = re.compile(r"[-+]?(?:[0-9]+|[0-9]{1,3}(?:,[0-9]{3})+)?(?:\.[0-9]*)?")


class Extractor(Frozen):
    """How the answer in a text is found. A subclass sets `kind` and overrides `extract`."""

    def extract(self, text: str) -> str | None:
        """The answer in `text`; None = it has none."""
        raise NotImplementedError(f"{type(self).__name__} doesn't override extract")

    def compared(self, text: str) -> str | None:
        """The answer in `text` as it is compared with others; None = it has none.

        White space at both ends is no part of it, and numbers are compared as numbers.

        Raises:
            InputError: `extract` returned another value than a text or None.
        """
        found = self.extract(text)
        if found is not None and not isinstance(found, str):
            raise InputError(
                f"extractor {kind_of(type(self))} returned {shown(found)}; return a text, or None "
                "where there is no answer"
            )
        return plain_number(found.strip()) or None if found is not None else None


def plain_number(answer: str) -> str:
    """A number in one notation: `1,050.0` and `+1050` are `1050`. Other texts are returned as they
    are.
    """
    if not _NUMBER.fullmatch(answer) or not any(sign.isdigit() for sign in answer):
        return answer
    whole, _, part = answer.lstrip("+-").replace(",", "").partition(".")
    fraction = part.rstrip("0")
    number = (whole.lstrip("0") or "0") + (f".{fraction}" if fraction else "")
    return f"-{number}" if answer[0] == "-" and number != "0" else number
