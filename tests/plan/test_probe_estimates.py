"""Estimates of probes: the pass over a frozen model, which all fits of a store share."""

from __future__ import annotations

import pytest

from w2s_ray.config import Execution, ProbeTuning, parse_sweep
from w2s_ray.data.input_sizes import InputSizes
from w2s_ray.plan.estimates import Estimator, estimate_plan
from w2s_ray.prepare import plan_sweep

PROBES = """
name: probes
task: {name: embedded, train: 128, validation: 32, test: 32}
models: ["embedded:xs", "embedded:s"]
seeds: [0, 1]
training: {epochs: 5}
methods:
  probe:
    training: {tuning: {kind: probe}}
    search: {training.lr: {choice: [0.001, 0.01]}}
search: {trials: 16}
"""


def test_a_frozen_models_pass_counts_once_for_all_probes(tmp_path, monkeypatch):
    monkeypatch.setenv("W2S_CACHE", str(tmp_path))
    plan = plan_sweep(parse_sweep(PROBES))
    sizes = InputSizes(plan.inputs)
    study = next(iter(plan.studies.values()))
    recipe, source = study.recipe.cells[0], study.sources[0]
    one = Estimator(sizes).fit(recipe, source, study.executions[0])
    assert not isinstance(one, str)
    assert set(one.stored) == {"student_half", "validation", "test"}
    trials, refits = (
        next(k for k in estimate_plan(plan, sizes).groups if k.role.startswith(role))
        for role in ("trial", "refit")
    )
    assert (trials.runs, refits.runs) == (16, 2)
    assert trials.flops.evaluation == pytest.approx(sum(one.stored.values()))
    assert refits.flops.evaluation == 0
    assert trials.flops.total < 2 * sum(one.stored.values())
    assert trials.flops_left == pytest.approx(trials.flops.total)
    done = next(k for k in estimate_plan(plan, sizes, done={study.id}).groups if k.runs == 16)
    assert done.flops_left == 0


def test_an_estimated_pass_is_what_computing_activations_takes():
    from benchmarks import estimates
    from w2s_ray.learn.activations import activations

    few = {"student_half": 128, "validation": 16, "test": 32}
    rows = estimates.rows_of("embedded:s", sizes=few)
    training = {"tuning": ProbeTuning(), "epochs": 3}
    recipe = estimates.recipe_of(rows, training, confidence=False)
    execution = Execution(gpus_per_worker=0)
    with estimates.counter() as counted:
        parts = {part: rows.tokens[part] for part in few}
        given = {"source": rows.source, "training": recipe.training, "execution": execution}
        made = dict(activations(parts, **given))
    exact = estimates.estimated(rows, recipe, execution, exact=True)
    assert sum(exact.stored.values()) == pytest.approx(counted.get_total_flops(), rel=0.03)
    assert exact.parameters == made["test"].parameters + 2 * made["test"].values_ND.shape[1]
