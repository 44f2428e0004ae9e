"""Which ready runs the driver starts next; the worker pool then decides when each gets a worker.

Owns how many runs are monitored at once: enough to keep the cluster busy, few enough for the
driver's machine, where every monitored study is a process and every monitored fit a thread. Runs
with the highest priority go first. All functions depend on values alone.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping

from w2s_ray.config import Execution, Limits
from w2s_ray.plan import PlannedFit, PlannedStudy

AHEAD = 2
"""Queued fits, as a multiple of those that the cluster runs at once; likewise concurrent trials."""

Slots = Callable[[Execution], int]
"""How many fits of one execution the cluster runs at once."""


def at_once(study: PlannedStudy, *, limits: Limits, slots: Slots) -> int:
    """The most concurrent trials of a study."""
    most = limits.trials_at_once or slots(study.executions[0])
    return max(1, min(most, study.recipe.concurrent_trials))


def studies_to_start(
    ready: Iterable[PlannedStudy],
    *,
    running: Collection[PlannedStudy],
    order: Mapping[str, int],
    limits: Limits,
    slots: Slots,
) -> list[PlannedStudy]:
    """The studies to start now, besides those `running`."""
    started: list[PlannedStudy] = []
    for study in sorted(ready, key=lambda study: order[study.id]):
        current = [*running, *started]
        if limits.studies_at_once is not None:
            full = len(current) >= limits.studies_at_once
        else:
            trials = sum(at_once(other, limits=limits, slots=slots) for other in current)
            full = trials >= AHEAD * slots(study.executions[0])
        if full:
            break
        started.append(study)
    return started


def fits_to_start(
    ready: Iterable[PlannedFit],
    *,
    running: int,
    order: Mapping[str, int],
    slots: Slots,
) -> list[PlannedFit]:
    """The fits to queue now, where `running` are queued or running already."""
    started: list[PlannedFit] = []
    for fit in sorted(ready, key=lambda fit: order[fit.id]):
        if running + len(started) < (1 + AHEAD) * slots(fit.execution):
            started.append(fit)
    return started
