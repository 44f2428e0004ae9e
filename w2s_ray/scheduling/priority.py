"""Which run goes first where there is no room for all: the one with the longest work behind it.

Owns the order alone, by critical path: a run that others wait for, and a long one, start before a
short one that nobody waits for, so that the last processors end together. Sizes are guessed from
the order of the sweep's models, weakest first. It changes no result.
"""

from __future__ import annotations

from graphlib import TopologicalSorter

from w2s_ray.plan import Plan, PlannedFit, PlannedStudy

GROWTH = 2.0
"""How much longer a fit takes than one of the next weaker model, as a guess."""


def priorities(plan: Plan) -> dict[str, int]:
    """Fit or study -> its place in the order, from 0."""
    size = {model.label: GROWTH**i for i, model in enumerate(plan.sweep.models)}

    def own(run: PlannedFit | PlannedStudy) -> float:
        if isinstance(run, PlannedFit):
            return size.get(run.source.name, 1.0)
        rounds = -(-run.recipe.trials // run.recipe.concurrent_trials)
        return sum(size.get(model, 1.0) for model in run.trial_models) * rounds

    runs = {run.id: run for run in (*plan.fits.values(), *plan.studies.values())}
    waiting = dict.fromkeys(runs, 0.0)
    for run_id in _children_first(runs):
        behind = waiting[run_id] + own(runs[run_id])
        for parent in runs[run_id].parents:
            if parent in waiting:
                waiting[parent] = max(waiting[parent], behind)
    places = {run_id: place for place, run_id in enumerate(runs)}
    order = sorted(runs, key=lambda run_id: (-waiting[run_id] - own(runs[run_id]), places[run_id]))
    return {run_id: priority for priority, run_id in enumerate(order)}


def _children_first(runs: dict[str, PlannedFit | PlannedStudy]) -> list[str]:
    """Run ids, each before its parents."""
    known = {run_id: [p for p in run.parents if p in runs] for run_id, run in runs.items()}
    return list(TopologicalSorter(known).static_order())[::-1]
