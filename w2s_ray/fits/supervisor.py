"""What transforms of labels read of a fit's supervisor: its last hidden states and its labels.

Owns where they come from. A supervisor that trained only a head left its frozen model's activations
in the store. Of another one the kept weights are read, as the model `run:ID`. Its labels of rows
that it did not predict follow from the kept head. Shapes: N rows, D width, C classes.
"""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from w2s_ray.config import FORMS, FullTuning, Part
from w2s_ray.fits.initial_model import initial_source, kept_weights
from w2s_ray.fits.labels import SplitRows, Supervisor
from w2s_ray.plan import PlannedFit
from w2s_ray.store import Store

if TYPE_CHECKING:
    from w2s_ray.fits.forms.form import FitForm
    from w2s_ray.fits.train_fit import Reporter


def supervisor_of(
    form: FitForm,
    fit: PlannedFit,
    rows: SplitRows,
    store: Store,
    *,
    control: Reporter | None = None,
) -> Supervisor | None:
    """The supervisor of `fit`, read when a transform first needs it; None where none does."""
    teacher = fit.teacher
    if teacher is None:
        return None
    recipe = teacher.recipe
    is_frozen = recipe.training.tuning.kind == "probe" or not FORMS[recipe.form].has_texts

    @cache
    def weights() -> Path:
        return kept_weights(store, teacher.id, use="whose hidden states this one reads")

    @cache
    def read() -> PlannedFit:
        """A fit that begins with the model whose hidden states are read."""
        if is_frozen:
            source, read = initial_source(teacher, rows, store, control=control), recipe
        else:
            trained = {"location": str(weights()), "revision": None}
            source = teacher.source.model_copy(update=trained)
            training = recipe.training.model_copy(update={"tuning": FullTuning()})
            read = recipe.model_copy(update={"model": f"run:{teacher.id}", "training": training})
        return replace(teacher, recipe=read, source=source, execution=fit.execution)

    def activate(part: Part, rows_N: np.ndarray) -> np.ndarray:
        whole = is_frozen or part == fit.recipe.train_on
        return form.activations(read(), rows, store, part, rows_N, whole=whole, control=control)

    def label(part: Part, rows_N: np.ndarray) -> np.ndarray:
        from w2s_ray.learn.heads import head_probabilities

        return head_probabilities(weights(), activate(part, rows_N))

    return Supervisor(activate, label)
