"""The form `categories` in a fit: tokens or activations, and distributions over the classes."""

from __future__ import annotations

from typing import Any

from w2s_ray.fits.forms.classes import Classes
from w2s_ray.fits.labels import SplitRows
from w2s_ray.fits.training_data import weak_distributions
from w2s_ray.learn.forms.categories import CategoryData


class Categories(Classes):
    """Texts of several classes, which are the classes of all parts together."""

    column = "probabilities"
    weak = staticmethod(weak_distributions)

    def data_of(self, rows: SplitRows, **given: Any) -> CategoryData:
        return CategoryData(**given, names=rows.classes)
