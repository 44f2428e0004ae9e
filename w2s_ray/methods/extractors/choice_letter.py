"""A capital letter of a completion is the answer."""

from __future__ import annotations

import re
from typing import Annotated, Literal

from pydantic import Field

from w2s_ray.methods.extractors.extractor import Extractor


class ChoiceLetter(Extractor):
    """The letter of a choice, such as B in `The answer is (B).`

    It is the last letter after the word `answer`; else the letter with which the text begins, if a
    bracket, a dot, a comma, a colon or the text's end follows; else the last letter that stands
    alone. Lower-case letters are no choices.
    """

    kind: Literal["choice_letter"] = "choice_letter"
    letters: Annotated[str, Field(pattern="^[A-Z]{2,26}$")] = "ABCDE"
    """The letters of the choices."""

    def extract(self, text: str) -> str | None:
        one = f"([{self.letters}])"
        said = re.findall(rf"(?i:answer)(?:\s+(?i:is))?\s*:?\s*\(?{one}(?![A-Za-z'])", text)
        begins = re.findall(rf"\A\s*\(?{one}(?:[).,:]|\s*\Z)", text)
        alone = re.findall(rf"(?<![A-Za-z']){one}(?![A-Za-z'])", text)
        found = said or begins or alone
        return found[-1] if found else None
