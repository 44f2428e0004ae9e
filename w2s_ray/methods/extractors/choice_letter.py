"""A capital letter of a completion is the answer."""

from __future__ import annotations

import re
from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from w2s_ray.errors import InputError
from w2s_ray.methods.extractors.extractor import Extractor
from w2s_ray.printable import shown


def _checked(letters: str) -> str:
    if not re.fullmatch("[A-Z]+", letters):
        raise InputError(f"{shown(letters)} has other signs than capital letters; write ABCD")
    return letters


class ChoiceLetter(Extractor):
    """The letter of a choice, such as B in `The answer is (B).`

    It is the last letter after the word `answer`; else the letter with which the text begins, if a
    bracket, a dot, a comma, a colon or the text's end follows; else the last letter that stands
    alone. Lower-case letters are no choices.
    """

    kind: Literal["choice_letter"] = "choice_letter"
    letters: Annotated[str, Field(min_length=2, max_length=26), AfterValidator(_checked)] = "ABCDE"
    """The letters of the choices."""

    def extract(self, text: str) -> str | None:
        one = f"([{self.letters}])"
        said = re.findall(rf"(?i:answer)(?:\s+(?i:is))?\s*:?\s*\(?{one}(?![A-Za-z'])", text)
        begins = re.findall(rf"\A\s*\(?{one}(?:[).,:]|\s*\Z)", text)
        alone = re.findall(rf"(?<![A-Za-z']){one}(?![A-Za-z'])", text)
        found = said or begins or alone
        return found[-1] if found else None
