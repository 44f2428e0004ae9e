"""The priority of runs where resources are scarce: the longest remaining path goes first.

Owns the order, by critical path: long runs, and runs that others depend on, start before short runs
without dependents, so that the last processors end together. Durations are guessed from the order
of the sweep's models, weakest first. The order changes no result.
"""

from __future__ import annotations

from graphlib import TopologicalSorter

from w2s_ray.plan import Plan, PlannedFit, PlannedStudy

GROWTH = 2.0
"""How much longer a fit takes than one of the next weaker model, as a guess."""


def priorities(plan: Plan) -> dict[str, int]:
    """Fit or study -> its position in the order, from 0."""
    size = {model.label: GROWTH**i for i, model in enumerate(plan.sweep.models)}

    def duration(run: PlannedFit | PlannedStudy) -> float:
        if isinstance(run, PlannedFit):
            return size.get(run.source.name, 1.0)
        rounds = -(-run.recipe.trials // run.recipe.concurrent_trials)
        return sum(size.get(model, 1.0) for model in run.trial_models) * rounds

    runs = {run.id: run for run in (*plan.fits.values(), *plan.studies.values())}
    after = dict.fromkeys(runs, 0.0)
    """Run -> duration of the longest chain of runs that depend on it."""
    for run_id in _children_first(runs):
        path = after[run_id] + duration(runs[run_id])
        for parent in runs[run_id].parents:
            if parent in after:
                after[parent] = max(after[parent], path)
    position = {run_id: i for i, run_id in enumerate(runs)}
    order = sorted(runs, key=lambda run: (-after[run] - duration(runs[run]), position[run]))
    return {run_id: priority for priority, run_id in enumerate(order)}


def _children_first(runs: dict[str, PlannedFit | PlannedStudy]) -> list[str]:
    """Run ids, each before its parents."""
    known = {run_id: [p for p in run.parents if p in runs] for run_id, run in runs.items()}
    return list(TopologicalSorter(known).static_order())[::-1]
