"""What the driver takes up next of all that is ready; the floor then decides who gets room when.

Owns how many runs are under watch at once: enough to keep the cluster full, few enough for the
driver's machine, since every study and every fit under watch is a process or a thread there. The
longest work goes first. It is a function of values and knows no Ray.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping

from w2s_ray.config import Execution, Limits
from w2s_ray.plan import PlannedFit, PlannedStudy

AHEAD = 2
"""Fits that wait for room while others run, as a multiple of those that there is room for; and
trials of the studies at once."""

Slots = Callable[[Execution], int]
"""How many fits of one execution the cluster holds at once."""


def at_once(study: PlannedStudy, *, limits: Limits, slots: Slots) -> int:
    """Trials of a study that run at once at most."""
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
    """The studies to begin now, besides those `running`."""
    started: list[PlannedStudy] = []
    for study in sorted(ready, key=lambda study: order[study.id]):
        under_way = [*running, *started]
        if limits.studies_at_once is not None:
            full = len(under_way) >= limits.studies_at_once
        else:
            trials = sum(at_once(other, limits=limits, slots=slots) for other in under_way)
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
    """The fits to put in line now, where `running` are in line or under way already."""
    started: list[PlannedFit] = []
    for fit in sorted(ready, key=lambda fit: order[fit.id]):
        if running + len(started) < (1 + AHEAD) * slots(fit.execution):
            started.append(fit)
    return started
