"""The model that a fit begins with: pretrained, new, or the kept weights of another fit.

Owns where its files are on this machine, and the error for weights that were not kept. It loads no
model.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from w2s_ray.config import ModelSource, PretrainArchitecture
from w2s_ray.data.cache import cache_folder
from w2s_ray.data.fetch import fetch_model
from w2s_ray.data.models import check_unchanged
from w2s_ray.errors import InputError
from w2s_ray.fits.labels import SplitRows
from w2s_ray.identity import ID_LENGTH, digest
from w2s_ray.plan import PlannedFit
from w2s_ray.store import Store

if TYPE_CHECKING:
    from w2s_ray.fits.train_fit import Reporter

BEGINS = "which this one begins with"


def initial_source(
    fit: PlannedFit, rows: SplitRows, store: Store, *, control: Reporter | None = None
) -> ModelSource:
    """The model that the training of `fit` begins with, with its files on this machine.

    Where another fit has trained the head, it is that fit's.

    Raises:
        InputError: a model that changed since it was planned, or weights that were not kept.
    """
    source, head = _backbone(fit, rows, store, control=control), fit.recipe.head
    if head is None:
        return source
    folder = kept_weights(store, head, use=BEGINS)
    return source.model_copy(update={"head": str(folder)})


def _backbone(
    fit: PlannedFit, rows: SplitRows, store: Store, *, control: Reporter | None
) -> ModelSource:
    begun, recipe = fit.recipe.initial_run, fit.recipe
    if recipe.architecture is not None:
        return _fresh(fit, recipe.architecture, rows)
    if begun is None:
        check_unchanged(fit.source)
        return fetch_model(fit.source, progress=control.fetching if control is not None else None)
    folder = kept_weights(store, begun, use=BEGINS)
    _, _, step = recipe.model.partition("@")
    folder = folder / f"step-{step}" if step else folder
    return fit.source.model_copy(update={"location": str(folder), "revision": None})


def kept_weights(store: Store, run: str, *, use: str) -> Path:
    """The folder with the weights of a done run, on this machine; `use` is a clause for the error.

    Raises:
        InputError: the run left no weights.
    """
    folder = store.fetch_weights(run, cache_folder() / "weights")
    if folder is None:
        raise InputError(
            f"run {run}, {use}, left no weights; delete its folder in {store.uri} and run again"
        )
    return folder


def _fresh(fit: PlannedFit, architecture: PretrainArchitecture, rows: SplitRows) -> ModelSource:
    """A model of first weights, whose tokenizer is made of the texts that are trained on."""
    from w2s_ray.learn.fresh import fresh_model

    recipe = fit.recipe
    made = digest([recipe.split, architecture.model_dump(), recipe.seed])[:ID_LENGTH]
    folder = fresh_model(
        architecture,
        rows.texts[recipe.train_on],
        seed=recipe.seed,
        folder=cache_folder() / "fresh" / made,
    )
    return fit.source.model_copy(update={"location": str(folder)})
