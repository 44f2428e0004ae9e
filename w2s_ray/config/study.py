"""The recipe of a study: the hashed description of a search over the settings of some fits.

Owns the fits of a trial: for each cell, the chain of fits under the method's stages and the trial's
settings. A cell on ground truth is a supervisor or ceiling, a chain of one fit. It proposes no
settings and holds no results.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any, Literal

from pydantic import Field, SerializerFunctionWrapHandler, model_serializer

from w2s_ray.config.chain import Link, chain
from w2s_ray.config.merge import kinds_at, with_settings
from w2s_ray.config.recipe import FitRecipe
from w2s_ray.config.settings import FitSettings
from w2s_ray.config.space import Choices, OneOf
from w2s_ray.config.stages import Stage
from w2s_ray.frozen import Frozen
from w2s_ray.identity import run_id
from w2s_ray.methods.kinds import SOURCE, find_loaded
from w2s_ray.methods.losses import AbsentLoss, Loss


class StudyRecipe(Frozen):
    """The search of the settings of a method's students, or of a supervisor or ceiling.

    A trial trains one chain of fits for each cell, and each fit has an id. The study's result is
    the settings of the best trial.
    """

    cells: tuple[FitRecipe, ...] = Field(min_length=1)
    """The students, supervisors or ceilings of a trial, before stages and the trial's settings are
    applied."""
    between: tuple[tuple[FitRecipe, ...], ...] = ()
    """For each cell the recipes of the intermediate models; empty if no stage has any."""
    stages: tuple[Stage, ...] = ()
    """The method's stages, before the trial's settings are applied."""
    space: dict[str, Choices]
    """Dotted setting -> values to try."""
    trials: int
    objective: Literal["transfer", "weak_validation", "oracle", "ground_truth"]
    """As in the sweep file; `ground_truth` for supervisors and ceilings, whose own labels it is."""
    metric: Literal["accuracy", "log_loss"]
    cost: bool = False
    """Whether a trial's training FLOPs are a second objective."""
    sampler: Literal["tpe", "random", "grid", "gp", "nsga2"]
    scheduler: Literal["none", "asha", "median"]
    grace_evaluations: int
    reduction_factor: float
    concurrent_trials: int
    seed: int
    warm_start: tuple[str, ...] = ()
    """Ids of the studies whose best settings are tried first, in this order."""

    @property
    def run_id(self) -> str:
        return run_id(kind="study", recipe=self.model_dump(mode="json"))

    @model_serializer(mode="wrap")
    def _with_bucket_batches(self, dump: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Cells whose trials may need another `bucket_batches` than their own loss keep null."""
        data = dump(self)
        searched = self.space.get("loss")
        losses = _losses(searched) if isinstance(searched, OneOf) else ()
        tried = {loss.needs_whole_batch for loss in losses}
        fits = (*self.cells, *itertools.chain.from_iterable(self.between))
        dumped = (*data["cells"], *itertools.chain.from_iterable(data["between"]))
        for fit, its_data in zip(fits, dumped, strict=True):
            if not tried <= {fit.loss.needs_whole_batch}:
                its_data["training"]["bucket_batches"] = fit.training.bucket_batches
        return data

    def trial_chains(self, settings: dict[str, Any]) -> tuple[tuple[Link, ...], ...]:
        """Each cell's fits of the trial with `settings` (dotted), the student last."""
        return tuple(
            self._chain(cell, between, settings)
            for cell, between in zip(
                self.cells, self.between or ((),) * len(self.cells), strict=True
            )
        )

    def trial_fits(self, settings: dict[str, Any]) -> tuple[FitRecipe, ...]:
        """All fits of the trial with `settings` (dotted), cell after cell."""
        return tuple(link.recipe for links in self.trial_chains(settings) for link in links)

    def _chain(
        self, cell: FitRecipe, between: Sequence[FitRecipe], settings: dict[str, Any]
    ) -> tuple[Link, ...]:
        student, stages = self._with_trial_settings(cell, settings)
        others = [self._with_trial_settings(fit, settings)[0] for fit in between]
        return chain(student, between=others, stages=stages)

    def _with_trial_settings(
        self, fit: FitRecipe, settings: dict[str, Any]
    ) -> tuple[FitRecipe, tuple[Stage, ...]]:
        """`fit` under the trial's settings, and the stages under the same settings."""
        base = fit.settings.model_copy(update={"stages": self.stages})
        trial = with_settings(base, settings, where="search")
        return fit.with_settings(trial), trial.stages


def _losses(tried: OneOf) -> list[type[Loss]]:
    """The losses that a search tries; those of plugins are found by their source."""
    known, found = kinds_at(FitSettings, "loss"), list[Any]()
    for kind in tried.kinds():
        source = str(tried.entry(kind).get(SOURCE))
        found.append(known.get(kind) or find_loaded(kind, source) or AbsentLoss)
    return found
