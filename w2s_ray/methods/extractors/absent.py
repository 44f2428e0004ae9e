"""The extractor of a plugin that isn't loaded: its settings, as in a stored recipe."""

from __future__ import annotations

from typing import NoReturn

from pydantic import ConfigDict

from w2s_ray.methods.extractors.extractor import Extractor
from w2s_ray.methods.kinds import absence


class AbsentExtractor(Extractor):
    """An extractor with any settings that can't be applied."""

    model_config = ConfigDict(extra="allow")

    kind: str
    source: str

    def extract(self, text: str) -> NoReturn:
        raise absence(self.kind, self.source)
