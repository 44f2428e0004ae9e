"""Adds runs to a plan: to its graph, or to its later runs if they depend on an unmade choice.

Owns which runs are later ones: those whose settings a study chooses that has not ended, and all
that depend on them. Their ids are provisional, so that no later run is taken for a planned one. It
makes no recipes.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

from w2s_ray.config import FitRecipe, Model
from w2s_ray.identity import ID_LENGTH, digest
from w2s_ray.plan.graph import (
    ROLES,
    Later,
    Plan,
    PlannedFit,
    PlannedStudy,
    Role,
    with_kept_weights,
)

Outcomes = Mapping[str, Mapping[str, Any]]
"""Study id -> the dotted settings that it chose."""


class GraphBuilder:
    """Adds fits and studies to a plan; `outcomes` are the choices of studies that have ended."""

    def __init__(self, plan: Plan, outcomes: Outcomes) -> None:
        self.plan = plan
        self.outcomes = outcomes
        self.later: dict[str, str] = {}
        """Provisional id of a later run -> the planned study that it waits for."""
        self.read: set[str] = set()
        """Ids of fits whose hidden states transforms of other fits read."""

    def known(self, run: str | None) -> str | None:
        """The id of a planned run; None for a later one."""
        return None if run in self.later else run

    def chosen(self, study: str | None) -> dict[str, Any]:
        """The settings that a study chose; empty until it has ended."""
        return dict(self.outcomes.get(study or "", {}))

    def add_study(self, study: PlannedStudy) -> str:
        """Add a study to the plan, or to its later runs; returns its id."""
        waits_for = self._waits_for(study.parents)
        if waits_for is None:
            self.plan.studies.setdefault(study.id, study)
        else:
            self.later[study.id] = waits_for
            self.plan.later_studies.setdefault(study.id, Later(study, waits_for))
        return study.id

    def add_fit(
        self,
        recipe: FitRecipe,
        model: Model,
        role: Role,
        *,
        task: str,
        counted: bool = True,
        weak: str | None = None,
        method: str | None = None,
        study: str | None = None,
        note: str = "",
    ) -> str:
        """Add a fit, whose settings `study` chooses, to the plan or to its later runs; its id."""
        run_id, waits_for = recipe.run_id, self._waits_for(recipe.parents)
        searched = study is not None and study not in self.outcomes
        if study is not None and searched:  # the plan may also have a fit with declared settings
            run_id, waits_for = digest([study, run_id])[:ID_LENGTH], self.later.get(study, study)
        later = self.plan.later_fits.get(run_id)
        known = later.run if later is not None else self.plan.fits.get(run_id)
        roles = known.roles if known else ()
        fit = PlannedFit(
            id=run_id,
            recipe=recipe,
            source=self.plan.inputs.models[model.label],
            execution=with_kept_weights(
                self.plan.sweep.execution_of(model), recipe, read=run_id in self.read
            ),
            task=task,
            roles=tuple(r for r in ROLES if r == role or r in roles),
            weak=weak or (known.weak if known else None),
            sealed=self.plan.sweep.seal,
            teacher=self.teacher(recipe.read_runs),
            methods=tuple(
                dict.fromkeys((*(known.methods if known else ()), *([method] if method else ())))
            ),
            notes=tuple(
                dict.fromkeys((*(known.notes if known else ()), *([note] if note else ())))
            ),
        )
        if waits_for is not None:
            self.later[run_id] = waits_for
            self.plan.later_fits[run_id] = Later(fit, waits_for, searched)
        else:
            self.plan.uses[role] += counted
            self.plan.fits[run_id] = fit
        return run_id

    def teacher(self, runs: Iterable[str]) -> PlannedFit | None:
        """The planned fit of the first of `runs`, whose hidden states another fit reads; it keeps
        its weights. None without runs, and in a chain that a study's choice will change.
        """
        for run in runs:
            self.read.add(run)
            later = self.plan.later_fits.get(run)
            fit = later.run if later is not None else self.plan.fits.get(run)
            if fit is None:
                return None
            execution = with_kept_weights(fit.execution, fit.recipe, read=True)
            fit = replace(fit, execution=execution)
            if later is not None:
                self.plan.later_fits[run] = replace(later, run=fit)
            else:
                self.plan.fits[run] = fit
            return fit
        return None

    def _waits_for(self, runs: Iterable[str]) -> str | None:
        """The planned study that the first later one of `runs` waits for; None if none is later."""
        return next((self.later[run] for run in runs if run in self.later), None)
