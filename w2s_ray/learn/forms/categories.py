"""The form `categories`: a text of one of several classes.

Owns the head with an output for each class, and predictions as distributions. The optimizer step is
that of `classes`. Shapes: M rows of a part, C classes.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from w2s_ray.learn.contract import Arrays, Predicted
from w2s_ray.learn.engine import Engine
from w2s_ray.learn.evaluate import against_labels, of_classes, predict_logits
from w2s_ray.learn.forms.classes import ClassData, TwoClass

LOGITS = "logits"


class SeveralClasses(TwoClass):
    """Backbone, and a head with one output for each class."""

    outputs = None


@dataclass(frozen=True)
class CategoryData(ClassData):
    """Texts and labels of one fit. Labels are distributions over C classes."""

    names: tuple[str, ...] = field(kw_only=True)
    """Names of the C classes, in the order of labels and logits."""

    @property
    def classes(self) -> int:
        return len(self.names)

    def predictions(self, engine: Engine, part: str, *, batch: int) -> Arrays:
        """`logits` of the rows of a part, float32 [M, C]."""
        rows = self.part(part)
        return {LOGITS: predict_logits(engine, rows, classes=self.classes, batch=batch)}

    def judge(self, found: Arrays) -> tuple[float, float]:
        return against_labels(found[LOGITS], self.validation_targets_MC)

    def predicted(self, found: Arrays, *, part: str) -> Predicted:
        return of_classes(found[LOGITS], self.names)
