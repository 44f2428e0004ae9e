"""Priorities: runs that others depend on, and long runs, go first."""

from __future__ import annotations

from tests.plan.test_plan import SWEEP, inputs
from w2s_ray.config import parse_sweep
from w2s_ray.plan import make_plan
from w2s_ray.scheduling.priority import priorities


def test_every_fit_has_a_rank_of_its_own():
    plan = make_plan(parse_sweep(SWEEP), inputs())
    assert sorted(priorities(plan).values()) == list(range(len(plan.fits)))


def test_a_supervisor_goes_before_its_students_and_a_long_fit_before_a_short_one():
    plan = make_plan(parse_sweep(SWEEP), inputs())
    order = priorities(plan)
    for fit in plan.fits.values():
        assert all(order[parent] < order[fit.id] for parent in fit.parents)
    sizes = {model.label: i for i, model in enumerate(plan.sweep.models)}
    leaves = [f for f in plan.fits.values() if "supervisor" not in f.roles]
    by_rank = sorted(leaves, key=lambda fit: order[fit.id])
    placed = [sizes[fit.source.name] for fit in by_rank]
    assert placed == sorted(placed, reverse=True)
