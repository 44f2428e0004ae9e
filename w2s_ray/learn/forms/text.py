"""The form `text`: running text, which is learned and not labelled.

Owns the loss of its parts, which is all that there is to predict. The step is a language model's.
Shapes: M rows of a part.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from w2s_ray.learn.contract import Arrays, Predicted
from w2s_ray.learn.engine import Engine
from w2s_ray.learn.forms.language import SpanData, span_nll
from w2s_ray.learn.rows import SpanRows


@dataclass(frozen=True)
class TextData(SpanData):
    """Running text to learn; there are no labels."""

    train: SpanRows
    validation: SpanRows
    predict: Mapping[str, SpanRows] = field(default_factory=dict)
    """Parts whose loss is wanted, by name."""

    def predictions(self, engine: Engine, part: str, *, batch: int) -> Arrays:
        """`nll` of the tokens of each row, float32 [M]."""
        return {"nll": span_nll(engine, self.part(part), batch=batch)}

    def judge(self, found: Arrays) -> tuple[None, float]:
        """No agreement, and nats a token."""
        return None, self.loss_per_token(found["nll"])

    def predicted(self, found: Arrays, *, part: str) -> Predicted:
        return Predicted(np.zeros(0, np.float32))

    def results(self, found: Mapping[str, Arrays]) -> tuple[dict[str, Predicted], dict[str, float]]:
        losses = {
            part: float(arrays["nll"].sum() / self.part(part).learned.sum())
            for part, arrays in found.items()
        }
        return {}, losses
