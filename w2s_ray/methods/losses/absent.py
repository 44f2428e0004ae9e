"""The loss of a plugin that isn't loaded: its settings, as in a stored recipe."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NoReturn

from pydantic import ConfigDict

from w2s_ray.methods.kinds import absence
from w2s_ray.methods.losses.loss import Loss

if TYPE_CHECKING:
    import numpy as np


class AbsentLoss(Loss):
    """A loss with any settings that can't be trained with."""

    model_config = ConfigDict(extra="allow")

    kind: str
    source: str

    def prepared(self, labels_NC: np.ndarray) -> NoReturn:
        raise absence(self.kind, self.source)

    def each(self, *_: Any, **__: Any) -> NoReturn:
        raise absence(self.kind, self.source)
