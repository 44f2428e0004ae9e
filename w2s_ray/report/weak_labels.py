"""The weak labels of each supervisor: how far apart they lie.

Owns the figures per task and supervisor, over its done seeds, from records and predictions. They
need no ground truth.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from statistics import fmean

import numpy as np

from w2s_ray.fits.contrast import low_contrast, mean_contrast
from w2s_ray.store import Cell, Record, Store
from w2s_ray.store.damage import none_if_damaged

_PART = "student_half"


@dataclass(frozen=True)
class WeakLabels:
    """The labels that a model gives the student's half of a task, as means over its done seeds."""

    task: str
    model: str
    fits: int
    """Done supervisors, one for each seed."""
    class_1: float | None
    """Share of rows with a probability of class 1 above 0.5."""
    spread: float | None
    """Standard deviation of the probability of class 1."""
    distance: float | None
    """Mean distance of the probability from 0.5; None where predictions are damaged."""
    low_contrast: str | None
    """Set where the labels lie close together, with the figures."""


def weak_labels(cells: Iterable[Cell], store: Store) -> list[WeakLabels]:
    """The weak labels of every supervisor of two classes that is done, in the cells' order."""
    places: dict[tuple[str, str], dict[str, None]] = {}
    for cell in cells:
        if cell.supervisor is not None:
            places.setdefault((cell.task, cell.weak), {})[cell.supervisor] = None
    ids = {id_ for fits in places.values() for id_ in fits}
    done = {record.id: record for record in store.records(store.done(ids))} if ids else {}
    found = (
        _weak_labels(task, model, [done[id_] for id_ in fits if id_ in done], store)
        for (task, model), fits in places.items()
    )
    return [labels for labels in found if labels is not None]


def _weak_labels(task: str, model: str, fits: list[Record], store: Store) -> WeakLabels | None:
    spread, class_1 = mean_contrast([fit.summary for fit in fits])
    if spread is None:  # no fit is done, or the task hasn't two classes
        return None
    distances = [_distance(fit.id, store) for fit in fits]
    known = [distance for distance in distances if distance is not None]
    return WeakLabels(
        task=task,
        model=model,
        fits=len(fits),
        class_1=class_1,
        spread=spread,
        distance=fmean(known) if len(known) == len(fits) else None,
        low_contrast=low_contrast(spread, class_1),
    )


def _distance(run: str, store: Store) -> float | None:
    table = none_if_damaged(lambda: store.predictions(run, _PART))
    if table is None or not len(table):
        return None
    p_N = np.asarray(table.column("probability").to_pylist(), np.float64)
    return float(np.abs(p_N - 0.5).mean())
