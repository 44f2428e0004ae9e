"""The runs of a sweep are those that the plan and the cost count; reused ones are known."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.store.builders import LATE, a_record
from w2s_ray.config import parse_sweep
from w2s_ray.plan import Plan
from w2s_ray.prepare import plan_sweep, write_manifest
from w2s_ray.report.sweep_runs import sweep_runs
from w2s_ray.status.spending import SpendingReader
from w2s_ray.store import Store, utc_now

SWEEP = """
name: steps
task: {name: embedded, train: 200, validation: 20, test: 20}
models: ["embedded:xs", "embedded:s", "embedded:m"]
pairs: [["embedded:xs", "embedded:m"]]
methods:
  naive: {}
  generative: {stages: [{kind: generative}]}
  ensemble: {stages: [{kind: ensemble, supervisors: ["embedded:s"], seeds: [7]}]}
  bootstrap: {stages: [{kind: bootstrap, between: 1}]}
  searched: {loss: {kind: confidence}, search: {loss.alpha: {uniform: [0, 1]}}}
search: {trials: 2}
"""


@pytest.fixture(scope="module")
def plan(tmp_path_factory) -> Plan:
    store = Store.open(tmp_path_factory.mktemp("nothing"))
    return plan_sweep(parse_sweep(SWEEP), store=store)


def put(store: Store, plan: Plan, *, ended_at: str) -> None:
    """A record of every fit of the plan, and one trial of its study."""
    for fit in plan.fits.values():
        store.write_run(
            a_record(
                id=fit.id,
                recipe=fit.recipe.model_dump(mode="json"),
                parents=fit.parents,
                about={"roles": list(fit.roles), "task": fit.task, "model": fit.source.name},
                device_seconds=7.0,
                ended_at=ended_at,
            )
        )
    (study,) = plan.studies
    trial = {"settings": {}, "state": "complete", "value": 0.5, "intermediate": []}
    store.write_trial(study, 0, {**trial, "fits": ["trial"]})
    store.write_run(a_record(id="trial", device_seconds=3.0, ended_at=ended_at))


def test_every_fit_of_the_plan_is_counted_at_the_cost_that_w2s_cost_shows(plan, tmp_path):
    store = Store.open(tmp_path)
    put(store, plan, ended_at=LATE)
    write_manifest(plan, store, SWEEP)
    runs = sweep_runs(store, "steps")
    assert {"step"} <= {role for fit in plan.fits.values() for role in fit.roles}
    assert runs.fits.keys() == {*plan.fits, "trial"}
    assert runs.studies.keys() == plan.studies.keys()
    reader = SpendingReader(store)
    spent = reader.of(runs.fits, runs.studies).device_seconds
    assert spent == reader.of_plan(plan).device_seconds == 7 * len(plan.fits) + 3


def test_fits_that_were_never_tried_are_counted_too(plan, tmp_path):
    store = Store.open(tmp_path)
    write_manifest(plan, store, SWEEP)
    assert sweep_runs(store, "steps").fits.keys() == plan.fits.keys()


def test_fits_of_an_earlier_versions_manifest_are_found_by_their_students(plan, tmp_path):
    store = Store.open(tmp_path)
    put(store, plan, ended_at=LATE)
    write_manifest(plan, store, SWEEP)
    earlier = store.manifests.latest("steps").model_copy(update={"steps": None})
    store.manifests.write(earlier.model_copy(update={"created_at": utc_now()}))
    assert store.manifests.latest("steps").steps is None
    runs = sweep_runs(store, "steps")
    assert runs.fits.keys() == {*plan.fits, "trial"}
    assert "step" in {role for roles in runs.roles.values() for role in roles}


def test_a_run_is_reused_if_it_was_done_before_the_first_start(plan, tmp_path):
    store = Store.open(tmp_path)
    put(store, plan, ended_at=LATE)
    write_manifest(plan, store, SWEEP)
    runs = sweep_runs(store, "steps")
    assert all(map(runs.is_reused, runs.fits))
    assert not any(map(replace(runs, started_at=LATE).is_reused, runs.roles))
