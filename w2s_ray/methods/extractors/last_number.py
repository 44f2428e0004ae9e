"""The last number of a completion is the answer."""

from __future__ import annotations

import re
from typing import Literal

from w2s_ray.methods.extractors.extractor import Extractor

_EACH = re.compile(
    r"(?:(?<![\w.])-)?(?:[0-9]{1,3}(?:,[0-9]{3})+(?![0-9])|[0-9]+)(?:\.[0-9]+)?"
    r"|(?:(?<![\w.])-)?(?<!\w)\.[0-9]+"
)


class LastNumber(Extractor):
    """The last number of the text, such as 1050.5 in `It costs $1,050.50 in all.`

    A comma is part of a number only between groups of three digits. A minus right after a letter or
    a digit (`5-3`) is no sign.
    """

    kind: Literal["last_number"] = "last_number"

    def extract(self, text: str) -> str | None:
        found = _EACH.findall(text.replace("\N{MINUS SIGN}", "-"))
        return found[-1] if found else None
