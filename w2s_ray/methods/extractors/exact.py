"""The whole completion is the answer."""

from __future__ import annotations

from typing import Literal

from w2s_ray.methods.extractors.extractor import Extractor


class Exact(Extractor):
    """The whole text, without white space at its ends. Numbers are compared as texts."""

    kind: Literal["exact"] = "exact"

    def extract(self, text: str) -> str:
        return text.strip()

    def compared(self, text: str) -> str:
        return self.extract(text)
