"""What is taken up next: enough to keep the cluster full, the longest first, within limits."""

from __future__ import annotations

from tests.plan.test_plan import SWEEP, inputs
from w2s_ray.config import Limits, parse_sweep
from w2s_ray.plan import Plan, make_plan
from w2s_ray.scheduling.priority import priorities
from w2s_ray.scheduling.start import at_once, fits_to_start, studies_to_start

SEARCHED = (
    SWEEP
    + """\
  found: {loss: {kind: confidence}, search: {loss.alpha: {uniform: [0, 1]}}}
search: {trials: 8, objective: weak_validation, concurrent_trials: 3}
"""
)


def planned() -> Plan:
    return make_plan(parse_sweep(SEARCHED), inputs())


def started(plan: Plan, *, slots: int, running: int = 0, **limits) -> list[str]:
    studies = list(plan.studies.values())
    found = studies_to_start(
        studies[running:],
        running=studies[:running],
        order=priorities(plan),
        limits=Limits(**limits),
        slots=lambda execution: slots,
    )
    return [study.id for study in found]


def test_enough_studies_start_to_fill_the_cluster_with_trials():
    plan = planned()
    assert len(plan.studies) == 3
    assert [len(started(plan, slots=slots)) for slots in (1, 2, 3, 4, 6)] == [2, 2, 2, 3, 3]
    assert len(started(plan, slots=3, running=2)) == 0


def test_a_limit_on_studies_is_respected():
    plan = planned()
    assert len(started(plan, slots=100, studies_at_once=1)) == 1
    assert len(started(plan, slots=1, studies_at_once=3)) == 3
    assert len(started(plan, slots=100, studies_at_once=2, running=1)) == 1


def test_the_longest_study_begins_first():
    plan = planned()
    pairs = [plan.studies[study].pairs[0] for study in started(plan, slots=2)]
    assert [strong for _, strong in pairs] == ["l", "l"]


def test_trials_at_once_are_bounded_by_recipe_limit_and_cluster():
    study = next(iter(planned().studies.values()))
    limits = (Limits(), Limits(trials_at_once=2), Limits(trials_at_once=9))
    found = [[at_once(study, limits=x, slots=lambda _, n=n: n) for x in limits] for n in (2, 8)]
    assert found == [[2, 2, 3], [3, 2, 3]]


def test_queued_and_running_fits_are_three_times_the_slots():
    plan = planned()
    fits, order = list(plan.fits.values()), priorities(plan)
    found = fits_to_start(fits, running=1, order=order, slots=lambda execution: 2)
    assert [fit.id for fit in found] == sorted(plan.fits, key=lambda fit: order[fit])[:5]
