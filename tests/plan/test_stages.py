"""Stages: the chains that a method's stages make, what they share, and what they never see."""

from __future__ import annotations

from collections.abc import Iterable

import pytest

from tests.plan.test_plan import inputs
from w2s_ray.config import parse_sweep
from w2s_ray.plan import Plan, PlannedFit, check_forms, make_plan

SWEEP = """
name: stages
task: {{name: creak, train: 100, validation: 20, test: 20}}
models: [s, m, l, xl]
pairs: [[s, xl]]
seeds: [0]
methods:
  naive: {{}}
  staged: {{{method}}}
search: {{trials: 3, on: [[s, xl]]}}
"""
NAMES = ("s", "m", "l", "xl")


def planned(method: str, **options) -> Plan:
    return make_plan(parse_sweep(SWEEP.format(method=method)), inputs(*NAMES), **options)


def student(plan: Plan, method: str = "staged") -> PlannedFit:
    (cell,) = (cell for cell in plan.cells if cell.method == method)
    assert cell.student is not None
    return plan.fits[cell.student]


def taught_by(plan: Plan, fit: PlannedFit) -> list[PlannedFit]:
    return [plan.fits[id_] for id_ in fit.recipe.labels.runs]


def back_to_truth(plan: Plan, fit: PlannedFit) -> list[PlannedFit]:
    """The fit and its teachers, one of each, up to a supervisor."""
    found = [fit]
    while found[-1].recipe.labels.runs:
        found.append(taught_by(plan, found[-1])[0])
    return found


def names(fits: Iterable[PlannedFit]) -> list[str]:
    return [fit.source.name for fit in fits]


def assert_honest(plan: Plan) -> None:
    """Ground truth of the student's half reaches ceilings alone; parents come first."""
    seen: set[str] = set()
    for fit in plan.fits.values():
        assert set(fit.parents) <= seen
        seen.add(fit.id)
        if fit.recipe.learns_from_ground_truth:
            assert fit.recipe.train_on == (
                "student_half" if "ceiling" in fit.roles else "supervisor_half"
            )
    for cell in plan.cells:
        chain = back_to_truth(plan, plan.fits[cell.student or ""])
        assert all(not fit.recipe.learns_from_ground_truth for fit in chain[:-1])
        assert chain[-1].recipe.train_on == "supervisor_half"


def test_a_method_without_stages_is_the_plain_student():
    plan = planned("loss: {kind: xent}")
    assert student(plan) == student(plan, "naive")
    assert student(plan).methods == ("naive", "staged")


@pytest.mark.parametrize(
    ("stage", "path"),
    [
        ("{kind: bootstrap}", ["xl", "l", "s"]),
        ("{kind: bootstrap, between: 2}", ["xl", "l", "m", "s"]),
        ("{kind: bootstrap, between: 9}", ["xl", "l", "m", "s"]),
        ("{kind: bootstrap, through: [m]}", ["xl", "m", "s"]),
        ("{kind: iterate, times: 2}", ["xl", "xl", "xl", "s"]),
    ],
)
def test_chains_lead_back_to_the_supervisor(stage, path):
    plan = planned(f"stages: [{stage}]")
    chain = back_to_truth(plan, student(plan))
    assert names(chain) == path
    assert [fit.roles for fit in chain[1:-1]] == [("step",)] * (len(path) - 2)
    for teacher in chain[1:]:
        assert teacher.recipe.predicts == ("student_half", "validation", "test")
    assert chain[0].recipe.predicts == ("validation", "test")
    assert plan.cells[1].supervisor == plan.cells[0].supervisor == chain[-1].id
    assert plan.cells[1].ceiling == plan.cells[0].ceiling
    assert_honest(plan)


def test_each_step_of_a_bootstrap_has_fresh_rows_by_default():
    plan = planned("stages: [{kind: bootstrap, between: 2}]")
    *steps, supervisor = back_to_truth(plan, student(plan))
    assert [fit.recipe.train_slice for fit in steps] == [(2, 3), (1, 3), (0, 3)]
    assert supervisor.recipe.train_slice is None
    same = planned("stages: [{kind: bootstrap, between: 2, fresh: false}]")
    chain = back_to_truth(same, student(same))
    assert [fit.recipe.train_slice for fit in chain] == [None] * 4


def test_adjacent_models_have_no_intermediate_models():
    text = SWEEP.format(method="stages: [{kind: bootstrap}]").replace("[[s, xl]]", "[[l, xl]]")
    plan = make_plan(parse_sweep(text), inputs(*NAMES))
    assert student(plan) == student(plan, "naive")


def test_an_ensemble_has_other_models_and_other_seeds():
    plan = planned("stages: [{kind: ensemble, supervisors: [m], seeds: [7]}]")
    teachers = taught_by(plan, student(plan))
    assert [(fit.source.name, fit.recipe.seed) for fit in teachers] == [
        ("s", 0),
        ("m", 0),
        ("s", 7),
    ]
    assert all(fit.recipe.train_on == "supervisor_half" for fit in teachers)
    assert plan.uses["supervisor"] == 1
    assert_honest(plan)


def test_generative_finetuning_comes_before_the_student_and_the_same_before_its_ceiling():
    plan = planned("stages: [{kind: generative, epochs: 3, lr: 1.0e-4}]")
    fit, (naive, staged) = student(plan), plan.cells
    ceiling, plain = plan.fits[staged.ceiling], plan.fits[naive.ceiling]
    assert fit.recipe.model == ceiling.recipe.model
    assert ceiling.id != plain.id
    assert ceiling.recipe == plain.recipe.model_copy(update={"model": fit.recipe.model})
    read = plan.fits[fit.recipe.model.removeprefix("run:")]
    assert read.recipe.form == "text"
    assert read.recipe.labels.source == "none"
    assert read.recipe.predicts == ()
    assert (read.recipe.training.epochs, read.recipe.training.lr) == (3, 1e-4)
    assert read.execution.keep == "last"
    assert fit.execution.keep == "none"
    assert set(fit.parents) == {read.id, staged.supervisor}
    assert ceiling.parents == (read.id,)
    assert plan.fits[naive.supervisor].recipe.model == "sha256:s"
    assert_honest(plan)


def test_a_sweep_of_generative_methods_alone_has_no_plain_ceiling():
    text = SWEEP.format(method="stages: [{kind: generative}]").replace("  naive: {}\n", "")
    plan = make_plan(parse_sweep(text), inputs(*NAMES))
    assert [fit.recipe.model[:4] for fit in plan.fits.values() if "ceiling" in fit.roles] == [
        "run:"
    ]


def test_stages_compose():
    plan = planned(
        "loss: {kind: confidence}, stages: [{kind: temperature}, {kind: ensemble, "
        "supervisors: [m]}, {kind: hard}, {kind: generative}, {kind: bootstrap}, {kind: iterate}]"
    )
    fit = student(plan)
    chain = back_to_truth(plan, fit)
    assert names(chain) == ["xl", "xl", "l", "s"]
    assert len(chain[2].recipe.labels.runs) == 2
    for step in chain[:3]:
        kinds = [transform.kind for transform in step.recipe.labels.transforms]
        assert kinds == ["temperature", "hard"]
        assert step.recipe.loss.kind == "confidence"
        assert step.recipe.model.startswith("run:")
    assert chain[0].recipe.model == chain[1].recipe.model != chain[2].recipe.model
    assert [step.recipe.train_slice for step in chain[:3]] == [(1, 2), (1, 2), (0, 2)]
    assert_honest(plan)


def test_a_trial_and_a_refit_train_the_same_chain_for_each_cell():
    method = (
        "stages: [{kind: bootstrap, between: 2}, {kind: temperature}], search: "
        "{stages.temperature.by: {uniform: [0.5, 4]}, stages.bootstrap.between: {integer: [1, 2]}}"
    )
    plan = planned(method)
    (study,) = plan.studies.values()
    (chain,) = study.trial_chains({"stages.temperature.by": 3.0, "stages.bootstrap.between": 1})
    assert names(chain) == ["l", "xl"]
    assert [fit.roles for fit in chain] == [("step",), ("student",)]
    assert all(fit.recipe.labels.transforms[0].by == 3.0 for fit in chain)
    assert chain[1].recipe.labels.runs == (chain[0].id,)
    assert chain[0].recipe.seed == 1000
    assert study.trial_models == ("m", "l", "xl")
    assert plan.trials == 9
    assert study.parents == (plan.cells[0].supervisor,)
    chosen = {"stages.temperature.by": 3.0, "stages.bootstrap.between": 1}
    after = planned(method, outcomes={study.id: chosen})
    refit = back_to_truth(after, student(after))
    assert names(refit) == ["xl", "l", "s"]
    assert refit[0].recipe.labels.transforms[0].by == 3.0
    assert_honest(after)


@pytest.mark.parametrize(
    ("method", "message"),
    [
        ("stages: [{kind: bootstrp}]", "stages"),
        ("stages: [{kind: hard}, {kind: hard}]", "'hard' more than once"),
        ("stages: [{kind: ensemble}]", "has one supervisor; add more"),
        ("stages: [{kind: ensemble, supervisors: [xxl]}]", "unknown model 'xxl'"),
        ("stages: [{kind: bootstrap, through: [xxl]}]", "unknown model 'xxl'"),
        (
            "stages: [{kind: simulated}, {kind: iterate}]",
            "simulated and iterate: .* remove iterate",
        ),
        ("stages: [{kind: simulated}, {kind: bootstrap}]", "remove bootstrap"),
        ("stages: [{kind: prompt}, {kind: simulated}]", "remove prompt"),
        ("stages: [{kind: prompt}, {kind: linear_probe}]", "prompt and linear_probe, .* keep one"),
        ("stages: [{kind: simulated, errors: {kind: longest}}]", "errors.*'longest'"),
        ("search: {stages.temperature.by: {uniform: [1, 2]}}", "add 'temperature' first"),
        (
            "stages: [{kind: temperature}], search: {stages.temperature.of: {uniform: [1, 2]}}",
            "did you mean 'by'|unknown key 'of'",
        ),
        (
            "stages: [{kind: temperature}], search: {stages.temperature.by: {uniform: [-1, 2]}}",
            "greater than 0",
        ),
    ],
)
def test_impossible_stages_are_refused(method, message):
    with pytest.raises(ValueError, match=message):
        planned(method)


def test_a_probe_is_chosen_by_kind():
    plan = planned(
        "stages: [{kind: filter}], search: {stages.filter.by: {one_of: "
        "[{kind: knn, k: {integer: [5, 50]}}, {kind: logistic}]}, "
        "stages.filter.share: {uniform: [0, 0.5]}}"
    )
    (study,) = plan.studies.values()
    settings = {"stages.filter.by.kind": "knn", "stages.filter.by.k": 7, "stages.filter.share": 0.3}
    ((fit,),) = study.trial_chains(settings)
    (transform,) = fit.recipe.labels.transforms
    assert (transform.by.kind, transform.by.k, transform.share) == ("knn", 7, 0.3)


def test_a_prompt_uses_weak_labels_by_default():
    plan = planned("stages: [{kind: prompt, shots: 5}]")
    fit = student(plan)
    assert fit.recipe.prompt is not None
    assert fit.recipe.prompt.shots == 5
    assert [teacher.roles for teacher in taught_by(plan, fit)] == [("supervisor",)]
    assert_honest(plan)
    truth = planned("stages: [{kind: prompt, shots: 5, labels: ground_truth}]")
    assert student(truth).recipe.learns_from_ground_truth
    assert student(truth).parents == ()
    assert student(plan).id != student(truth).id


def test_a_linear_probe_replaces_the_student_and_is_trained_on_ground_truth():
    plan = planned("stages: [{kind: linear_probe, lr: 0.1, epochs: 7}]")
    fit = student(plan)
    taught = plan.fits[fit.recipe.initial_run or ""]
    naive = student(plan, "naive")
    assert taught.recipe == naive.recipe.model_copy(update={"predicts": ()})
    assert (taught.roles, taught.execution.keep) == (("step",), "last")
    assert fit.recipe.labels.source == "ground_truth"
    assert fit.recipe.train_on == "student_half"
    assert fit.recipe.training.tuning.kind == "probe"
    assert (fit.recipe.training.lr, fit.recipe.training.epochs) == (0.1, 7)
    assert fit.recipe.predicts == ("validation", "test")
    assert fit.parents == (taught.id,)


def test_a_linear_probe_of_the_pretrained_model_needs_no_student():
    plan = planned("stages: [{kind: linear_probe, of: pretrained}]")
    assert student(plan).parents == ()
    assert student(plan).recipe.model == "sha256:xl"
    read = planned("stages: [{kind: linear_probe, of: pretrained}, {kind: generative}]")
    (parent,) = student(read).parents
    assert read.fits[parent].recipe.form == "text"


def test_a_linear_probe_comes_after_all_other_stages():
    plan = planned(
        "early_stopping: {patience: 1, oracle: true}, stages: [{kind: linear_probe}, "
        "{kind: bootstrap}, {kind: iterate}]"
    )
    fit = student(plan)
    taught = plan.fits[fit.recipe.initial_run or ""]
    assert fit.recipe.train_slice is None
    assert fit.recipe.early_stopping is not None
    assert not fit.recipe.early_stopping.oracle
    assert taught.execution.keep == "best"
    assert names(back_to_truth(plan, taught)) == ["xl", "xl", "l", "s"]


def test_generative_finetuning_of_a_probes_student_trains_every_weight():
    plan = planned("training: {tuning: {kind: probe}}, stages: [{kind: generative}]")
    fit = student(plan)
    read = plan.fits[fit.recipe.initial_run or ""]
    assert read.recipe.training.tuning.kind == "full"
    assert fit.recipe.training.tuning.kind == "probe"


@pytest.mark.parametrize(
    ("form", "method", "message"),
    [
        (
            "answers",
            "stages: [{kind: simulated}]",
            "has simulated, which changes labels of classes",
        ),
        ("answers", "stages: [{kind: hard}]", "staged.stages has hard"),
        (
            "features",
            "stages: [{kind: linear_probe}]",
            "linear_probe, .* has no text",
        ),
        (
            "features",
            "stages: [{kind: simulated, errors: {kind: length}}]",
            "errors is length, but task creak has no text",
        ),
        (
            "features",
            "stages: [{kind: simulated}], search: "
            "{stages.simulated.errors: {one_of: [{kind: uniform}, {kind: length}]}}",
            "errors is length",
        ),
    ],
)
def test_stages_that_a_form_excludes_are_refused(form, method, message):
    with pytest.raises(ValueError, match=message):
        check_forms(parse_sweep(SWEEP.format(method=method)), {"creak": form})
