"""The transform of a plugin that isn't loaded: its settings, as in a stored recipe."""

from __future__ import annotations

from typing import NoReturn

from pydantic import ConfigDict

from w2s_ray.methods.kinds import absence
from w2s_ray.methods.transforms.transform import LabelledRows, Transform


class AbsentTransform(Transform):
    """A transform with any settings that can't be applied."""

    model_config = ConfigDict(extra="allow")

    kind: str
    source: str

    def apply(self, rows: LabelledRows) -> NoReturn:
        raise absence(self.kind, self.source)
