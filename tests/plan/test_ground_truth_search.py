"""The search of supervisors' and ceilings' settings in the graph: its studies, and what follows."""

from __future__ import annotations

from typing import Any

import pytest

from tests.plan.test_plan import inputs, planned
from tests.status.test_join import status
from w2s_ray.config import parse_sweep
from w2s_ray.fits.outcome import outcome_record
from w2s_ray.plan import Plan, PlannedStudy
from w2s_ray.prepare import cells_of, plan_sweep
from w2s_ray.report.cell import missing_runs
from w2s_ray.store import Store

SWEEP = """
name: grid
task: {name: creak, train: 100, validation: 20, test: 20}
models: [s, m, l]
pairs: [[s, m], [s, l]]
seeds: [0, 1]
methods: {naive: {}}
"""
LR = "search: {training.lr: {choice: [1.0e-3, 1.0e-2]}}"
SEARCH = f"{SWEEP}ground_truth: {{{LR}}}\nsearch: {{trials: 5}}\n"
STUDENTS = SEARCH.replace(
    "{naive: {}}", "{naive: {}, found: {search: {training.epochs: {choice: [1, 2]}}}}"
).replace("trials: 5", "trials: 5, objective: weak_validation")


def with_outcomes(text: str, lr: float = 1e-2) -> Plan:
    """The plan after every study of a supervisor or ceiling chose `lr`."""
    studies = planned(text).studies
    outcomes = {s.id: {"training.lr": lr} for s in studies.values() if s.method is None}
    return planned(text, outcomes=outcomes)


def roles_and_models(studies: Any) -> list[tuple[str, str]]:
    return [(study.subject, study.sources[0].name) for study in studies]


def test_each_model_has_a_study_for_each_role_that_all_pairs_and_seeds_share():
    plan = planned(SEARCH)
    assert roles_and_models(plan.studies.values()) == [
        ("supervisor", "s"),
        ("ceiling", "m"),
        ("ceiling", "l"),
    ]
    assert plan.trials == 3 * 5
    assert plan.fits == {}
    roles = [later.run.roles for later in plan.later_fits.values()]
    assert [roles.count((r,)) for r in ("supervisor", "ceiling", "student")] == [2, 4, 4]
    assert {(c.supervisor, c.ceiling, c.student) for c in plan.cells} == {(None, None, None)}
    (supervisor,) = {cell.supervisor_study for cell in plan.cells}
    assert plan.studies[supervisor or ""].subject == "supervisor"
    assert len({cell.ceiling_study for cell in plan.cells}) == 2


def test_a_trial_trains_on_the_fits_own_half_and_predicts_validation_rows_alone():
    for study in planned(SEARCH).studies.values():
        (fit,) = study.trial_fits({"training.lr": 1e-3})
        half = {"supervisor": "supervisor_half", "ceiling": "student_half"}[study.subject]
        assert (fit.recipe.train_on, fit.recipe.predicts) == (half, ("validation",))
        assert (fit.recipe.labels.source, fit.recipe.seed) == ("ground_truth", 1000)
        assert (fit.roles, fit.weak, fit.methods) == (study.roles, None, ())
        assert fit.recipe.training.lr == 1e-3
        assert study.recipe.objective == "ground_truth"


def test_the_choice_is_refitted_on_the_sweeps_seeds_and_students_keep_their_own_settings():
    plan = with_outcomes(SEARCH)
    assert plan.later_fits == {}
    for fit in plan.fits.values():
        tuned = fit.recipe.learns_from_ground_truth
        assert fit.recipe.training.lr == (1e-2 if tuned else 1e-5), fit.description
        assert fit.recipe.seed in (0, 1)
    for cell in plan.cells:
        assert plan.fits[cell.student or ""].recipe.labels.runs == (cell.supervisor,)


def test_a_fit_with_chosen_settings_is_the_fit_with_declared_ones():
    declared = planned(SWEEP.replace("seeds:", "training: {lr: 0.01}\nseeds:"))
    truth = {id_ for id_, fit in declared.fits.items() if fit.recipe.learns_from_ground_truth}
    assert truth == {
        id_ for id_, f in with_outcomes(SEARCH).fits.items() if f.recipe.learns_from_ground_truth
    }
    plain = planned(SWEEP)
    assert plain.fits.keys() == planned(SWEEP + "ground_truth: {}\n").fits.keys()


def test_with_ceilings_on_the_supervisors_half_a_model_has_one_study():
    text = SEARCH.replace("[[s, m], [s, l]]", "[[s, m], [m, l]]")
    shared = planned(text + "ceiling_on: supervisor_half\n")
    assert roles_and_models(shared.studies.values()) == [
        ("supervisor", "s"),
        ("supervisor and ceiling", "m"),
        ("ceiling", "l"),
    ]
    assert len(planned(text).studies) == 4


@pytest.mark.parametrize(("tasks", "studies", "fits"), [("separate", 6, 1), ("together", 3, 2)])
def test_a_study_is_for_each_task_or_for_all_tasks_together(tasks, studies, fits):
    two = SEARCH.replace(
        "task: {name: creak, train: 100, validation: 20, test: 20}",
        "tasks: [{name: creak, train: 100, validation: 20, test: 20}, "
        "{name: sciq, train: 100, validation: 20, test: 20}]",
    ).replace("ground_truth: {", f"ground_truth: {{tasks: {tasks}, trials: 4, ")
    plan = planned(two)
    assert len(plan.studies) == studies
    for study in plan.studies.values():
        assert len(study.trial_fits({})) == fits
        assert study.recipe.trials == 4
        assert len(set(study.tasks)) == fits
    done = with_outcomes(two)
    assert (done.waiting, len(done.fits)) == (0, 2 * len(with_outcomes(SEARCH).fits))


def test_a_ceiling_that_starts_from_a_language_model_is_searched_from_one():
    plan = planned(SEARCH.replace("{naive: {}}", "{read: {stages: [{kind: generative}]}}"))
    models = {f"run:{id_}" for id_, fit in plan.fits.items() if not fit.recipe.has_labels}
    ceilings = [s for s in plan.studies.values() if s.subject == "ceiling"]
    assert len(ceilings) == 2
    for study in ceilings:
        (cell,) = study.recipe.cells
        assert cell.model in models
        assert study.parents == (cell.initial_run,)


def test_other_supervisors_of_an_ensemble_are_searched_too():
    text = SEARCH.replace(
        "{naive: {}}", "{all: {stages: [{kind: ensemble, supervisors: [m], seeds: [7]}]}}"
    )
    assert ("supervisor", "m") in roles_and_models(planned(text).studies.values())
    plan = with_outcomes(text)
    cell = plan.cells[0]
    labellers = plan.fits[cell.student or ""].recipe.labels.runs
    assert [plan.fits[id_].recipe.training.lr for id_ in labellers] == [1e-2] * 3


def test_a_method_is_searched_after_its_supervisors():
    first = planned(STUDENTS)
    assert len(first.later_studies) == 2
    assert {cell.study for cell in first.cells} == {None}
    assert {cell.objective for cell in first.cells} == {"none", "weak_validation"}
    assert first.trials == (3 + 2) * 5
    assert first.waiting == 2 + 4 + 4 + 4
    second = with_outcomes(STUDENTS)
    assert second.later_studies == {}
    assert second.trials == first.trials
    assert second.waiting == 4
    found = [cell.study for cell in second.cells if cell.method == "found"]
    assert set(found) == {s.id for s in second.studies.values() if s.method == "found"}


def ended(study: PlannedStudy, **settings: Any):
    return outcome_record(study, status="done", about={"settings": settings})


def test_a_plan_has_all_that_finished_studies_lead_to(tmp_path):
    sweep, store = parse_sweep(STUDENTS), Store.open(tmp_path)
    first = plan_sweep(sweep, store=store, inputs=inputs())
    for study in first.studies.values():
        store.write_run(ended(study, **{"training.lr": 1e-2}))
    second = plan_sweep(sweep, store=store, inputs=inputs())
    assert second.waiting == 4
    for study in second.studies.values():
        if study.method is not None:
            store.write_run(ended(study, **{"training.epochs": 2}))
    last = plan_sweep(sweep, store=store, inputs=inputs())
    assert last.waiting == 0
    (student, *_) = (c.student for c in last.cells if c.method == "found")
    assert last.fits[student or ""].recipe.training.epochs == 2


def test_status_names_what_waits_for_a_study_and_a_failed_one_blocks_it():
    plan = planned(STUDENTS)
    found = status(plan=plan)
    assert found.total == len(plan.studies) + plan.waiting + len(plan.later_studies)
    later = [run for run in found.waiting if run.run is None]
    assert {run.reason for run in later} == {f"the {s.description}" for s in plan.studies.values()}
    assert "supervisor s on creak, seed 0" in {run.description for run in later}
    studies = {run.description for run in later if run.description.startswith("study")}
    assert studies == {"study of found on creak (s → m)", "study of found on creak (s → l)"}
    supervisor = next(s for s in plan.studies.values() if s.subject == "supervisor")
    failure = outcome_record(supervisor, status="failed", cause="error", reason="no trial")
    blocked = status(plan=plan, attempts={supervisor.id: (failure,)}).blocked
    assert "study of found on creak (s → m)" in {run.description for run in blocked}
    assert {run.by for run in blocked} == {supervisor.id}
    assert len(blocked) == 2 + 2 + 4 + 4  # studies, supervisors, students, refits


def test_the_table_says_which_study_a_missing_run_waits_for():
    plan = planned(SEARCH)
    cell = cells_of(plan)[0]
    assert missing_runs(cell, {}) == (
        f"supervisor blocked by study {cell.supervisor_study} (not run); "
        f"student blocked by its supervisor (blocked by study {cell.supervisor_study} (not run)); "
        f"ceiling blocked by study {cell.ceiling_study} (not run)"
    )
