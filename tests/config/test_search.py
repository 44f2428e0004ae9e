"""The `search` section, and the errors for impossible searches."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from w2s_ray.config import (
    Distribution,
    FitSettings,
    OneOf,
    Sweep,
    SweepError,
    TaskPair,
    branches,
    grid_size,
    parse_sweep,
)
from w2s_ray.config.merge import with_settings

BASE = """\
name: kinds
tasks:
  - {name: sciq, train: 100, validation: 20, test: 20}
  - {name: creak, train: 100, validation: 20, test: 20}
models: [s, m, l]
methods:
  any_loss:
    search:
      loss:
        one_of:
          - {kind: xent}
          - {kind: confidence, alpha: {uniform: [0, 0.9]}, warmup_fraction: {uniform: [0, 0.5]}}
          - {kind: product, beta: {choice: [0.5, 1]}}
      training.lr: {loguniform: [1.0e-5, 1.0e-3]}
search: {trials: 8}
"""
TWO = "on: [{task: sciq, pair: [s, m]}, {task: creak, pair: [s, m]}]"


def found(text: str) -> Sweep:
    return parse_sweep(text, name="s")


def test_a_space_of_kinds_has_one_branch_for_each_kind():
    ways = branches(found(BASE).methods["any_loss"].search)
    assert [way.kinds for way in ways] == [
        {"loss": "xent"},
        {"loss": "confidence"},
        {"loss": "product"},
    ]
    assert [set(way.free) for way in ways] == [
        {"training.lr"},
        {"training.lr", "loss.alpha", "loss.warmup_fraction"},
        {"training.lr", "loss.beta"},
    ]


def test_a_fixed_setting_of_a_kind_is_no_choice_and_may_be_a_list():
    tuning = OneOf.model_validate(
        {"one_of": [{"kind": "full"}, {"kind": "lora", "rank": 4, "targets": ["q", "v"]}]}
    )
    space = {"training.tuning": tuning}
    (full, lora) = [point for way in branches(space) for point in way.points()]
    assert grid_size(space) == 2
    assert with_settings(FitSettings(), full, where="x").training.tuning.kind == "full"
    adapted = with_settings(FitSettings(), lora, where="x").training.tuning
    assert (adapted.rank, adapted.targets) == (4, ("q", "v"))


def test_a_chosen_kind_starts_from_its_own_defaults():
    sweep = found(
        BASE.replace("    search:", "    loss: {kind: confidence, alpha: 0.1}\n    search:")
    )
    chosen = {"loss.kind": "confidence", "loss.warmup_fraction": 0.4}
    loss = sweep.student_settings("any_loss", sweep.model("s"), chosen).loss
    assert (loss.alpha, loss.warmup_fraction) == (0.5, 0.4)


@pytest.mark.parametrize(
    ("old", "new", "error"),
    [
        (
            "alpha: {u",
            "alfa: {u",
            "s:12: methods.any_loss.search.loss.one_of.confidence.alfa: unknown key 'alfa'; "
            "did you mean 'alpha'?",
        ),
        (
            "kind: product",
            "kind: produkt",
            "s:9: methods.any_loss.search.loss: unknown kind 'produkt'; did you mean 'product'?",
        ),
        (
            "{kind: xent}",
            "{alpha: 1}",
            "s:9: methods.any_loss.search.loss: entry 1 of one_of has no kind; write {kind: ...}",
        ),
        (
            "{kind: xent}",
            "{kind: product}",
            "s:9: methods.any_loss.search.loss: one_of has the kind 'product' more than once; "
            "keep one entry",
        ),
        (
            "uniform: [0, 0.9]",
            "uniform: [0, 1.9]",
            "s:8: methods.any_loss.search: loss.alpha = 1.9, loss.kind = 'confidence': "
            "loss.alpha: Input should be less than or equal to 1 (got 1.9)",
        ),
        (
            "uniform: [0, 0.9]",
            "unifrom: [0, 0.9]",
            "s:12: methods.any_loss.search.loss.one_of.1.alpha.unifrom: unknown key 'unifrom'; "
            "did you mean 'uniform'?",
        ),
        (
            "training.lr: {",
            "loss.alpha: {",
            "s:14: methods.any_loss.search.loss.alpha can't be searched beside the "
            "one_of of loss; move alpha into the entries of one_of that have it",
        ),
        (
            "training.lr: {loguniform: [1.0e-5, 1.0e-3]}",
            "loss.kind: {choice: [xent]}",
            "s:14: methods.any_loss.search.loss.kind: each kind has its own settings; "
            "write loss: {one_of: [{kind: ...}, ...]}",
        ),
        (
            "      loss:\n",
            "      training:\n",
            "s:9: methods.any_loss.search.training has no kinds; use one_of for settings that "
            "have (loss, training.tuning)",
        ),
        (
            "training.lr: {loguniform: [1.0e-5, 1.0e-3]}\nsearch: {trials: 8",
            "training.epochs: {choice: [1, 2]}\nsearch: {sampler: grid",
            "s:12: methods.any_loss.search.loss.one_of.confidence.alpha: sampler grid needs "
            "choices; use {choice: [...]} or sampler: tpe",
        ),
        (
            "trials: 8",
            "cost: true, scheduler: asha",
            "s:15: search: scheduler is asha, but cost: true adds a second objective, and "
            "schedulers stop trials by one objective; set scheduler: none or cost: false",
        ),
        (
            "trials: 8",
            "sampler: nsga2",
            "s:15: search: sampler nsga2 needs two objectives, and there is one; add cost: true, "
            "or set sampler: tpe",
        ),
        (
            "trials: 8",
            "warm_start: same_task",
            "s:15: search: warm_start: same_task needs a study for each cell, but objective: "
            "transfer has none; set objective: weak_validation or oracle, or warm_start: none",
        ),
        (
            "trials: 8",
            "sampler: tpr",
            "s:15: search.sampler: write 'tpe', 'random', 'grid', 'gp' or 'nsga2' (got 'tpr')",
        ),
        (
            "trials: 8",
            "on: [s, m]",
            "s:15: search: on: ['s', 'm'] is not a list of pairs; write [[small, medium]]",
        ),
        (
            "trials: 8",
            "on: [[s, m], {task: sciq, pair: [s, l]}]",
            "s:15: search: on has pairs with a task and pairs without; give each a task, or none "
            "of them",
        ),
        (
            "trials: 8",
            "on: [{task: skiq, pair: [s, m]}]",
            "s:15: search.on: unknown task 'skiq'; the sweep's tasks are: sciq, creak",
        ),
        (
            "trials: 8",
            "on: [{task: sciq, pair: [s, x]}]",
            "s:15: search.on: unknown model 'x'; the sweep's models are: s, m, l",
        ),
        (
            "training.lr: {loguniform: [1.0e-5, 1.0e-3]}\nsearch: {trials: 8",
            f"training.epochs: {{choice: [1, 2]}}\nsearch: {{scheduler: asha, {TWO}",
            "s:14: methods.any_loss.search.training.epochs changes when a trial is evaluated, "
            "and scheduler: asha with several pairs needs trials with the same evaluations; "
            "search one pair, or set scheduler: none",
        ),
        (
            "trials: 8}",
            "trials: 8}\nlimits: {studies_at_once: 0}",
            "s:16: limits.studies_at_once: Input should be greater than or equal to 1 (got 0)",
        ),
    ],
)
def test_an_error_has_its_line_key_and_remedy(old, new, error):
    assert old in BASE
    with pytest.raises(SweepError) as raised:
        found(BASE.replace(old, new, 1))
    assert str(raised.value) == error


def test_valid_values_must_be_valid_together():
    text = BASE.replace(
        "training.lr: {loguniform: [1.0e-5, 1.0e-3]}",
        "training.epochs: {choice: [1, 2]}\n      early_stopping.patience: {integer: [2, 8]}",
    )
    with pytest.raises(SweepError) as raised:
        found(text)
    assert "early_stopping.patience = 8" in str(raised.value)
    assert "training.epochs = 1" in str(raised.value)
    assert "training evaluates only 4 times" in str(raised.value)
    assert found(text.replace("[2, 8]", "[2, 4]"))


def test_pairs_give_a_study_for_each_task_and_task_pairs_one_for_all():
    alone = found(BASE.replace("trials: 8", "on: [[s, m], [s, l]]"))
    assert alone.searched_cells("creak") == (
        TaskPair(task="creak", pair=("s", "m")),
        TaskPair(task="creak", pair=("s", "l")),
    )
    together = found(BASE.replace("trials: 8", f"scheduler: median, {TWO}"))
    assert together.searched_cells("creak") == together.searched_cells("sciq")
    assert [cell.task for cell in together.searched_cells("sciq")] == ["sciq", "creak"]
    assert found(BASE).searched_cells("sciq") == (TaskPair(task="sciq", pair=("s", "m")),)


def test_limits_have_defaults_and_are_read():
    assert found(BASE).limits.studies_at_once is None
    assert found(BASE).limits.trials_at_once is None
    sweep = found(BASE + "limits: {trials_at_once: 2, lease_s: 5}\nexecution: {stall_s: null}\n")
    assert (sweep.limits.trials_at_once, sweep.limits.lease_s) == (2, 5.0)
    assert sweep.execution.stall_s is None


bounds = st.tuples(st.floats(0.01, 0.4), st.floats(0.5, 0.9))


@given(bounds, st.floats(-1, 2))
def test_a_distribution_contains_the_values_within_its_bounds(bounds, value):
    held = bounds[0] <= value <= bounds[1]
    assert Distribution(uniform=bounds).holds(value) == held
    assert Distribution(loguniform=bounds).holds(value) == held
    assert Distribution(integer=(1, 3)).holds(2)
    assert not Distribution(choice=(0.5, 1)).holds(0.7)


FOR_ALL = """\
name: t
task: {name: sciq, train: 100, validation: 20, test: 20}
models: [s, m, l]
methods:
  naive: {}
  confidence: {loss: {kind: confidence}, search: {loss.alpha: {uniform: [0, 1]}}}
  prompted: {stages: [{kind: prompt}]}
search:
  for: all
  trials: 6
  shared: {training.epochs: {choice: [1, 2]}, early_stopping.patience: {choice: [1, 2]}}
"""


def test_for_all_every_trained_method_searches_the_shared_settings():
    sweep = found(FOR_ALL)
    spaces = {name: set(method.search) for name, method in sweep.methods.items()}
    shared = {"training.epochs", "early_stopping.patience"}
    assert spaces == {"naive": shared, "confidence": {*shared, "loss.alpha"}, "prompted": set()}
    assert Sweep.model_validate(sweep.model_dump()) == sweep


@pytest.mark.parametrize(
    ("old", "new", "problem"),
    [
        ("  for: all\n", "", "search: shared is for all methods; add for: all"),
        ("  shared: {training", "  # {training", "search: for: all needs the settings"),
        ("training.epochs", "training.epoch", "search.shared: training.epoch is not a setting"),
        ("training.epochs", "loss.alpha", "confidence.search.loss.alpha is also in search.shared"),
        ("training.epochs", "stages.hard", "search: shared.stages.hard is not a setting of every"),
        (
            "choice: [1, 2]}, early",
            "choice: [1, x]}, early",
            "search.shared: training.epochs = 'x'",
        ),
        ("for: all", "for: some", "search.for: write 'own' or 'all'"),
        ("for: all", "of_methods: 3", "search.of_methods: write 'own' or 'all'"),
    ],
)
def test_shared_settings_that_cannot_be_searched_are_refused(old, new, problem):
    with pytest.raises(SweepError) as error:
        found(FOR_ALL.replace(old, new))
    assert problem in str(error.value)
