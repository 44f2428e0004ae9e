"""The form `pairs` in a fit: the tokens of both texts, and the probability of the first."""

from __future__ import annotations

from typing import Any

from w2s_ray.fits.forms.classes import Classes
from w2s_ray.fits.labels import SECOND, SplitRows
from w2s_ray.fits.training_data import tokenized
from w2s_ray.learn.forms.classes import ClassData
from w2s_ray.learn.forms.pairs import PairData
from w2s_ray.learn.rows import PairRows
from w2s_ray.plan import PlannedFit


class Pairs(Classes):
    """Pairs of texts, labelled as `classes` are."""

    def data_of(self, rows: SplitRows, **given: Any) -> ClassData:
        return PairData(**given)

    def rows_of(self, fit: PlannedFit, rows: SplitRows, part: str) -> PairRows:
        return PairRows(tokenized(fit, rows, part), tokenized(fit, rows, part, SECOND))
