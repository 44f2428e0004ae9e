"""Stages that are a series of fits: which fits, in which order, what they are called and cost."""

from __future__ import annotations

import pytest

from tests.plan.test_plan import inputs
from tests.plan.test_stages import (
    NAMES,
    SWEEP,
    assert_honest,
    back_to_truth,
    names,
    planned,
    student,
    taught_by,
)
from w2s_ray.config import parse_sweep
from w2s_ray.data.input_sizes import InputSizes
from w2s_ray.plan import check_forms, make_plan
from w2s_ray.plan.estimates import estimate_plan

LAYERS = (
    "{kind: ensemble, supervisors: [m, l], seeds: [7]}, {kind: cosupervised, layers: [1, 1, 2]}"
)


def test_each_layer_has_its_supervisors_and_the_student_before():
    plan = planned(f"stages: [{LAYERS}, {{kind: hard}}]")
    last = student(plan)
    chain = [plan.fits[last.recipe.labels.student or ""], last]
    chain.insert(0, plan.fits[chain[0].recipe.labels.student or ""])
    assert [[(t.source.name, t.recipe.seed) for t in taught_by(plan, fit)] for fit in chain] == [
        [("s", 0)],
        [("m", 0)],
        [("l", 0), ("s", 7)],
    ]
    kinds = [[t.kind for t in fit.recipe.labels.transforms] for fit in chain]
    assert kinds == [["hard"], ["specialists", "hard"], ["specialists", "hard"]]
    assert [fit.roles for fit in chain] == [("step",), ("step",), ("student",)]
    assert [fit.description.rpartition(", ")[2] for fit in chain] == [
        "layer 1 of 3",
        "layer 2 of 3",
        "layer 3 of 3",
    ]
    assert set(last.parents) == {*last.recipe.labels.runs, chain[1].id}
    assert chain[0].recipe.predicts == ("student_half", "validation", "test")
    assert_honest(plan)


def test_the_first_layer_is_the_first_student_of_iterate():
    layers = planned(f"stages: [{LAYERS}]")
    iterated = planned("stages: [{kind: iterate}]")
    assert back_to_truth(iterated, student(iterated))[1].id in layers.fits


def test_boosted_supervisors_come_one_after_the_other():
    plan = planned("stages: [{kind: boosting, rounds: 3}]")
    rounds = taught_by(plan, student(plan))
    assert names(rounds) == ["s"] * 3
    assert [fit.recipe.boosted_after for fit in rounds] == [
        (),
        (rounds[0].id,),
        (rounds[0].id, rounds[1].id),
    ]
    assert [fit.parents for fit in rounds] == [fit.recipe.boosted_after for fit in rounds]
    assert rounds[2].description == "supervisor s on creak, seed 0, round 3 of 3"
    for fit in rounds:
        assert fit.recipe.predicts == ("supervisor_half", "student_half", "validation", "test")
        assert fit.recipe.learns_from_ground_truth
    assert student(plan).recipe.labels.weighted_by == "boosting"
    assert plan.cells[0].supervisor == plan.cells[1].supervisor != rounds[0].id
    assert plan.uses["supervisor"] == 1
    assert_honest(plan)


def test_one_round_of_boosting_is_the_plain_student():
    plan = planned("stages: [{kind: boosting, rounds: 1}]")
    assert student(plan) == student(plan, "naive")


def test_a_search_over_rounds_trains_the_longest_series_once():
    method = "stages: [{kind: boosting}], search: {stages.boosting.rounds: {integer: [1, 4]}}"
    plan = planned(method)
    (study,) = plan.studies.values()
    assert len(study.parents) == 4
    assert set(study.parents) <= plan.fits.keys()
    runs = study.parents
    for rounds in (1, 2, 4):
        ((fit,),) = study.trial_chains({"stages.boosting.rounds": rounds})
        assert fit.recipe.labels.runs == runs[:rounds]
        assert (fit.recipe.labels.weighted_by is None) is (rounds == 1)
    after = planned(method, outcomes={study.id: {"stages.boosting.rounds": 2}})
    assert student(after).recipe.labels.runs == runs[:2]


def test_the_second_stage_learns_from_the_supervisors_and_the_first_stage():
    plan = planned(
        "stages: [{kind: two_stage, above: 0.8, student_above: 0.9}, {kind: temperature}, "
        "{kind: ensemble, seeds: [7]}]"
    )
    second = student(plan)
    first = plan.fits[second.recipe.labels.student or ""]
    assert first.recipe.labels.runs == second.recipe.labels.runs
    transforms = [fit.recipe.labels.transforms for fit in (first, second)]
    assert [[t.kind for t in each] for each in transforms] == [
        ["confident", "temperature"],
        ["student_labels", "temperature"],
    ]
    assert transforms[0][0].above == transforms[1][0].above == 0.8
    assert transforms[1][0].student_above == 0.9
    assert second.description.endswith("stage 2 of 2")
    assert_honest(plan)


def test_true_rows_come_last_with_the_weights_of_the_student():
    plan = planned(
        "early_stopping: {patience: 1}, loss: {kind: confidence}, stages: [{kind: true_rows, "
        "one_in: 5, lr: 0.1}, {kind: iterate}]"
    )
    fit = student(plan)
    taught = plan.fits[fit.recipe.head or ""]
    assert fit.recipe.model == f"run:{taught.id}"
    assert fit.parents == (taught.id,)
    assert (taught.recipe.predicts, taught.execution.keep) == ((), "best")
    assert taught.recipe.loss.kind == "confidence"
    assert names(back_to_truth(plan, taught)) == ["xl", "xl", "s"]
    recipe = fit.recipe
    assert recipe.learns_from_ground_truth
    assert recipe.early_stopping is None
    assert (recipe.loss.kind, recipe.one_row_in) == ("xent", 5)
    assert (recipe.training.epochs, recipe.training.lr) == (10, 0.1)
    assert recipe.training.lr_warmup_fraction == 0.05
    assert fit.description.endswith("true labels of 1 row in 5")


def test_true_rows_of_a_frozen_model_need_its_head_alone():
    plan = planned("training: {tuning: {kind: probe}}, stages: [{kind: true_rows}]")
    fit = student(plan)
    assert fit.recipe.model == "sha256:xl"
    assert fit.parents == (fit.recipe.head,)


@pytest.mark.parametrize(
    ("stage", "setting", "fits"),
    [
        (LAYERS, "stages.cosupervised.top: {choice: [1, 3, null]}", 3),
        ("{kind: two_stage}", "stages.two_stage.above: {uniform: [0.5, 0.9]}", 2),
        ("{kind: true_rows}", "stages.true_rows.one_in: {choice: [5, 10]}", 2),
        ("{kind: boosting}", "stages.boosting.rounds: {choice: [1, 3]}", 1),
    ],
)
def test_a_trial_trains_the_series_and_the_estimate_counts_it(stage, setting, fits):
    plan = planned(f"stages: [{stage}], search: {{{setting}}}")
    (study,) = plan.studies.values()
    assert study.trial_models == ("xl",) * fits
    assert plan.trials == 3 * fits
    groups = estimate_plan(plan, InputSizes(plan.inputs)).groups
    assert sum(g.runs for g in groups if g.role == "trial staged") == 3 * fits
    others = sum(g.runs for g in groups if not g.role.startswith(("trial", "refit")))
    assert others == len(plan.fits) + sum(not f.searched for f in plan.later_fits.values())


@pytest.mark.parametrize(
    ("method", "message"),
    [
        ("stages: [{kind: cosupervised}]", r"layers is \[1, 2\] and needs 3 supervisors, .* are 1"),
        (
            "stages: [{kind: cosupervised, layers: [1, 1]}, {kind: ensemble, seeds: [7, 8]}]",
            "needs 2 supervisors, but there are 3",
        ),
        ("stages: [{kind: cosupervised, layers: [2, 1]}]", "begin with 1"),
        (
            "stages: [{kind: cosupervised, layers: [1, 1]}, {kind: ensemble, supervisors: [s]}]",
            r"need 2 supervisors, and pair \[s, xl\] has 1 with seed 0, .* name another",
        ),
        (f"stages: [{LAYERS}, {{kind: consensus}}]", "one model labels; remove cosupervised"),
        (f"stages: [{LAYERS}], loss: {{kind: mixture}}", "one model labels; remove cosupervised"),
        (f"stages: [{LAYERS}, {{kind: iterate}}]", "each is a series of students; keep one"),
        (f"stages: [{LAYERS}, {{kind: bootstrap}}]", "with bootstrap one model labels; keep one"),
        (f"stages: [{LAYERS}, {{kind: elicit}}]", "with elicit one model labels; keep one"),
        (f"stages: [{LAYERS}, {{kind: simulated}}]", "one trained student; remove cosupervised"),
        (f"stages: [{LAYERS}, {{kind: boosting}}]", "each chooses the supervisors; keep one"),
        (
            "stages: [{kind: ensemble, seeds: [7]}, {kind: boosting}]",
            "ensemble and boosting, and each chooses the supervisors; keep one",
        ),
        ("stages: [{kind: boosting}, {kind: consensus}]", "consensus needs several supervisors"),
        ("stages: [{kind: boosting, rounds: 0}]", "greater than or equal to 1"),
        ("stages: [{kind: two_stage}, {kind: prompt}]", "a prompted model is not trained"),
        ("stages: [{kind: two_stage}, {kind: simulated}]", "remove two_stage"),
        (
            "stages: [{kind: true_rows}, {kind: linear_probe}]",
            "linear_probe and true_rows, and each replaces the reported student; keep one",
        ),
        ("stages: [{kind: true_rows}, {kind: truth}]", "truth uses no weak labels"),
        ("stages: [{kind: specialists}]", "unknown kind 'specialists'"),
        (
            f"stages: [{LAYERS}], search: {{stages.cosupervised.layers: {{choice: [[1, 2]]}}}}",
            "needs 3 supervisors, but there are 4",
        ),
    ],
)
def test_impossible_series_are_refused(method, message):
    with pytest.raises(ValueError, match=message):
        planned(method)


def test_a_search_can_divide_the_supervisors_into_other_layers():
    plan = planned(
        f"stages: [{LAYERS}], search: {{stages.cosupervised.layers: {{choice: [[1, 3]]}}}}"
    )
    (study,) = plan.studies.values()
    ((first, last),) = study.trial_chains({"stages.cosupervised.layers": (1, 3)})
    assert last.recipe.labels.student == first.id
    assert len(last.recipe.labels.runs) == 3


@pytest.mark.parametrize("stage", ["boosting", "cosupervised", "two_stage", "true_rows"])
@pytest.mark.parametrize("form", ["classes", "pairs", "features", "answers", "choices"])
def test_series_need_classes(form, stage):
    others = "{kind: ensemble, seeds: [7, 8]}, " if stage == "cosupervised" else ""
    sweep = parse_sweep(SWEEP.format(method=f"stages: [{others}{{kind: {stage}}}]"))
    impossible = form == "answers" or (form == "choices" and stage != "true_rows")
    if not impossible:
        check_forms(sweep, {"creak": form})
        assert make_plan(sweep, inputs(*NAMES)).cells
        return
    with pytest.raises(ValueError, match=f"staged.stages has ({stage}|ensemble), which"):
        check_forms(sweep, {"creak": form})
