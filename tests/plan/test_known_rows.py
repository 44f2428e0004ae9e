"""Methods that read a supervisor or a slice of ground truth: what is kept, planned and refused."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from tests.plan.test_stages import planned, student
from w2s_ray.config import Method

TRUST = "{kind: trust, truth: {rows: 10}}"
SEARCH = "search: {stages.trust.share: {uniform: [0.2, 0.8]}}"


def test_a_supervisor_whose_states_are_read_keeps_its_weights_under_the_same_id():
    plain, read = planned("loss: {kind: kl}"), planned(f"stages: [{TRUST}]")
    (supervisor,) = (cell.supervisor for cell in plain.cells if cell.method == "staged")
    assert supervisor is not None
    assert plain.fits[supervisor].execution.keep == "none"
    fit = read.fits[supervisor]
    assert fit.execution.keep == "last"
    assert student(read).teacher == fit
    assert student(read, "naive").teacher is None
    kept = [fit for fit in read.fits.values() if fit.execution.keep != "none"]
    assert kept == [fit]


def test_each_student_of_a_chain_is_read_by_the_next_one():
    stages = f"[{{kind: bootstrap, between: 2}}, {{kind: iterate}}, {TRUST}]"
    plan = planned(f"stages: {stages}, early_stopping: {{patience: 1}}")
    fit, names = student(plan), list[str]()
    while fit.teacher is not None:
        assert fit.recipe.labels.runs == (fit.teacher.id,)
        fit = fit.teacher
        keep = "last" if fit.recipe.early_stopping is None else "best"
        assert (plan.fits[fit.id].execution.keep, fit.execution.keep) == (keep, keep)
        names.append(fit.source.name)
    assert names == ["xl", "l", "m", "s"]


def test_the_fits_of_a_trial_read_the_same_supervisors():
    plan = planned(f"stages: [{{kind: iterate}}, {TRUST}], {SEARCH}")
    (study,) = plan.studies.values()
    ((first, second),) = study.trial_chains({"stages.trust.share": 0.3})
    supervisor = plan.fits[plan.cells[0].supervisor or ""]
    assert (first.teacher, second.teacher) == (supervisor, first)
    assert (supervisor.execution.keep, first.execution.keep) == ("last", "last")
    assert second.execution.keep == "none"


def test_a_slice_of_more_rows_than_its_part_is_refused():
    what = r"task creak: stages.trust.truth.rows is 64, but supervisor_half has 50 rows; lower it"
    for more in ("", f", {SEARCH}"):
        with pytest.raises(ValueError, match=what):
            planned(f"stages: [{{kind: trust}}]{more}")


def test_a_search_chooses_the_rows_of_a_slice_and_not_their_part():
    plan = planned(f"stages: [{TRUST}], search: {{stages.trust.truth.rows: {{choice: [8, 16]}}}}")
    (study,) = plan.studies.values()
    ((fit,),) = study.trial_chains({"stages.trust.truth.rows": 16})
    (trust,) = fit.recipe.labels.transforms
    assert trust.truth_slice is not None
    assert (trust.truth_slice.rows, trust.truth_slice.of) == (16, "supervisor_half")
    parts = "{choice: [supervisor_half, student_half]}"
    with pytest.raises(ValueError, match="a search may not choose whose ground truth is used"):
        planned(f"stages: [{TRUST}], search: {{stages.trust.truth.of: {parts}}}")


def test_the_strong_models_own_answers_stand_beside_the_supervisors():
    stage = "{kind: selective, truth: {rows: 10, of: %s}}"
    for part, more in (("supervisor_half", ("supervisor_half",)), ("validation", ())):
        plan = planned(f"stages: [{{kind: elicit, beside: true}}, {stage % part}]")
        fit = student(plan)
        supervisor, own = fit.parents
        assert fit.recipe.labels.runs == (supervisor,) == (plan.cells[1].supervisor,)
        assert fit.recipe.labels.own_answers == own
        answers = plan.fits[own]
        assert (answers.roles, answers.source.name) == (("step",), "xl")
        assert answers.recipe.prompt is not None
        assert answers.recipe.predicts == (*more, "student_half", "validation", "test")
        assert list(plan.fits).index(own) < list(plan.fits).index(fit.id)


OWN = {"kind": "elicit", "beside": True}


@pytest.mark.parametrize(
    ("stages", "line"),
    [
        ([{"kind": "ensemble", "seeds": [7]}, {"kind": "trust"}], "several label with ensemble"),
        ([{"kind": "elicit"}, {"kind": "trust"}], "a prompted model labels with elicit"),
        ([{"kind": "simulated"}, {"kind": "trust"}], "the labels are simulated with simulated"),
        ([{"kind": "prompt"}, {"kind": "trust"}], "no student is trained with prompt"),
        ([{"kind": "strata"}], "strata needs several supervisors; add the stage ensemble"),
        ([{"kind": "selective"}], "needs the strong model's own answers; add the stage elicit"),
        ([{"kind": "elicit"}, {"kind": "selective"}], "add the stage elicit with beside: true"),
        ([OWN], "elicit has beside: true, but no stage uses its answers"),
        ([OWN, {"kind": "selective"}, {"kind": "bootstrap"}], "bootstrap has another student"),
    ],
)
def test_what_lacks_its_supervisor_is_refused(stages: list[dict[str, Any]], line: str):
    with pytest.raises(ValidationError, match=line):
        Method.model_validate({"stages": stages})


def test_trust_stands_beside_the_models_own_answers():
    stages = [OWN, {"kind": "selective"}, {"kind": "trust"}, {"kind": "iterate"}]
    assert Method.model_validate({"stages": stages}).stages
